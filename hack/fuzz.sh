#!/usr/bin/env bash
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the repository, one after another, each for
# FUZZTIME (a Go duration). A failure leaves its input in testdata/fuzz: commit
# it with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."

grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
  grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | awk '{print $2}' | while read -r target; do
    printf '==> %s %s\n' "$dir" "$target"
    go test "$dir" -run '^$' -fuzz "^${target}\$" -fuzztime "${FUZZTIME:-1m}" -fuzzminimizetime 10x
  done
done
