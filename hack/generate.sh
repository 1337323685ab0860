#!/usr/bin/env bash
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Writes every generated file: deep copies and apply configurations of the API
# types, the CRD, the operator's RBAC role, the firewall list, and what the Helm
# chart takes over. All of them are committed.
# The generator is built from hack/tools once and kept in the cache under the
# hash of its pins.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/passthrough-connector-operator/tools"
key=$(cat hack/tools/go.mod hack/tools/go.sum <(go version) | sha256sum | cut -c1-16)
generator="$cache/controller-gen-$key"
if [ ! -x "$generator" ]; then
  echo "building controller-gen (once)" >&2
  mkdir -p "$cache"
  (cd hack/tools && go build -o "$generator.tmp.$$" sigs.k8s.io/controller-tools/cmd/controller-gen)
  mv "$generator.tmp.$$" "$generator"
fi

header=hack/boilerplate.go.txt
"$generator" "object:headerFile=$header" paths=./api/...
"$generator" crd:maxDescLen=2000 paths=./api/... output:crd:artifacts:config=config/crd/bases
"$generator" "applyconfiguration:headerFile=$header" paths=./api/...
"$generator" rbac:roleName=passthrough-connector-operator paths=./controllers output:rbac:artifacts:config=config/rbac
"$generator" rbac:roleName=passthrough-connector-operator-egress-policies paths=./controllers/internal/desired output:rbac:artifacts:config=config/egress-policies
go test ./connector/internal/firewall -run Docs -update >/dev/null

# What the Helm chart takes over.
go run ./hack/chartfiles
