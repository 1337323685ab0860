#!/usr/bin/env bash
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs every test of the repository. Needs only Go: the control plane that the
# API server tests and the end-to-end test use is built from Go modules once
# and cached by content (hack/cluster/build.sh). The tests of network policies
# also need root, nftables and iproute2, and those of the connector as a Windows
# program Wine (packages wine64 and gcc-mingw-w64-x86-64); they say so where they
# are left out.
#
#   KUBEBUILDER_ASSETS  a directory with etcd and kube-apiserver to use for the
#                       API server tests instead of the built ones
#   REQUIRE_ISOLATION=1 fail where the tests of network policies cannot run
#   REQUIRE_WINE=1  fail where Windows programs cannot run
#   SKIP_CLUSTER=1      leave out the tests that need a control plane
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n==> %s\n' "$*" >&2; }

if [ "${SKIP_CLUSTER:-0}" = 1 ]; then
  unset KUBEBUILDER_ASSETS KUBECLUSTER_BIN || true
  step "unit tests (no control plane: API server and end-to-end tests are skipped)"
  go test -race -shuffle=on ./...
  (cd hack/helm && go test ./...)
  (cd hack/images && go test ./...)
  exit
fi

step "the control plane for API server and end-to-end tests"
cluster=$(hack/cluster/build.sh)
export KUBECLUSTER_BIN="$cluster/kubecluster"
export KUBEBUILDER_ASSETS="${KUBEBUILDER_ASSETS:-$cluster}"
# From here on a missing control plane is a failure, not a reason to skip.
export REQUIRE_CLUSTER=1

step "unit, wire vector, fuzz seed and API server tests, with the race detector"
# The end-to-end package starts a whole cluster, and the interoperability tests
# many processes; they run by themselves afterwards so that nothing competes
# with them for the processor.
mapfile -t packages < <(go list ./... | grep -vE '/hack/(e2e|e2e/egress|interop)$')
go test -race -shuffle=on -timeout 40m "${packages[@]}"

step "the connector's tests again, as Windows programs under Wine"
hack/wine/test.sh

step "connector processes against the tenant: every path, and faults at every moment"
# The scenes mostly wait for back-offs: many at a time.
go test -timeout 20m -parallel 24 ./hack/interop

step "the test cluster's own tests"
(cd hack/cluster && go test -timeout 20m ./...)

step "the Helm chart, rendered with the pinned Helm and checked by the API server"
(cd hack/helm && go test -timeout 20m ./... && ./build.sh >/dev/null)

step "the container images, pushed to and pulled from a registry on loopback"
(cd hack/images && go test -timeout 20m ./...)

step "end to end: apply a PassthroughConnector, sign users in, break things, and run connector.exe"
go test -timeout 30m -v ./hack/e2e

step "end to end in a network namespace: what network policies let out (needs root)"
go test -timeout 30m -v ./hack/e2e/egress
