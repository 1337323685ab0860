#!/usr/bin/env bash
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Checks all that can be checked without running the programs: generated files
# are what the generators write, modules are tidy, the code is formatted and
# clean under vet and golangci-lint, the import walls stand, and the connector
# builds for Windows. Works on a dirty tree: it compares with the files as they
# are, not with the last commit.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
step() { printf '==> %s\n' "$*" >&2; }
complain() { printf 'verify: %s\n' "$*" >&2; failed=1; }

step "gofmt"
unformatted=$(git ls-files -co --exclude-standard -- '*.go' | xargs gofmt -l)
[ -z "$unformatted" ] || complain "not formatted, run gofmt -w on: $unformatted"

step "go.mod and go.sum are tidy"
for module in . hack/cluster hack/helm hack/images hack/tools hack/tools/actionlint; do
  (cd "$module" && go mod tidy -diff >/dev/null) || complain "$module: run go mod tidy"
done

step "generated files"
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
generated=(api config controllers charts docs)
for d in "${generated[@]}"; do [ -e "$d" ] && cp -a "$d" "$before/"; done
hack/generate.sh
for d in "${generated[@]}"; do
  [ -e "$d" ] || continue
  diff -r "$before/$d" "$d" >/dev/null || complain "$d: generated files were out of date; they are regenerated now: commit them"
done

step "go vet"
go vet ./...
GOOS=windows CGO_ENABLED=0 go vet ./connector/...

step "the connector builds for Windows"
GOOS=windows CGO_ENABLED=0 go build -o /dev/null ./connector

step "import walls, headers and package names"
go test ./hack/walls

step "workflows"
# actionlint has a module of its own: it needs another release of a library than
# the other tools. shellcheck and pyflakes, which it would use, need not be there.
(cd hack/tools/actionlint && go tool actionlint -shellcheck= -pyflakes= ../../../.github/workflows/*.yml) || complain "the workflows have faults (above)"

step "golangci-lint"
hack/lint.sh || complain "golangci-lint found problems (above)"

[ "$failed" = 0 ] || exit 1
step "all good"
