#!/bin/sh
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Builds the pinned Helm from source unless it was built before, and prints where
# it is. It is kept in the cache under the hash of its pins, outside the clone.
# Nothing else is printed on standard output.
set -eu
cd "$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)"

cache="${XDG_CACHE_HOME:-$HOME/.cache}/passthrough-connector-operator/tools"
key=$({ cat go.mod go.sum; go version; go env GOOS GOARCH; } | sha256sum | cut -c1-16)
helm="$cache/helm-$key"
if [ ! -x "$helm" ]; then
	echo "building helm (once; a few minutes)" >&2
	mkdir -p "$cache"
	version=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
	# Without -trimpath, so that what the tests of this folder compiled is used again.
	go build -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" \
		-o "$helm.tmp.$$" helm.sh/helm/v4/cmd/helm >&2
	mv "$helm.tmp.$$" "$helm"
fi
printf '%s\n' "$helm"
