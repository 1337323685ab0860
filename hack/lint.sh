#!/usr/bin/env bash
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the pinned golangci-lint over the repository, and once more over the
# connector as it is built for Windows. The linter is built from hack/tools once
# and kept in the cache under the hash of its pins.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/passthrough-connector-operator/tools"
key=$(cat hack/tools/go.mod hack/tools/go.sum <(go version) | sha256sum | cut -c1-16)
linter="$cache/golangci-lint-$key"
if [ ! -x "$linter" ]; then
  echo "building golangci-lint (once; a few minutes)" >&2
  mkdir -p "$cache"
  (cd hack/tools && go build -o "$linter.tmp" github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
  mv "$linter.tmp" "$linter"
fi

"$linter" run ./...
GOOS=windows CGO_ENABLED=0 "$linter" run ./connector/...
(cd hack/cluster && "$linter" run --config ../../.golangci.yml ./internal/...)
(cd hack/helm && "$linter" run --config ../../.golangci.yml ./...)
(cd hack/images && "$linter" run --config ../../.golangci.yml ./...)
