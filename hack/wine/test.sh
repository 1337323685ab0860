#!/usr/bin/env bash
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of the connector's packages as Windows programs, under Wine.
# Arguments, if there are any, are the packages to test instead of all of them.
#
#   REQUIRE_WINE=1  fail where Wine is not installed, instead of leaving them out
set -euo pipefail
cd "$(dirname "$0")/../.."

# What cannot run under Wine for Wine's own faults, and why:
#   package (below connector/)  names of tests, as -test.skip takes them  # reason
left_out=$(sed 's/ *#.*//' <<'EOF'
internal/agent ^TestNothingIsWrong$  # Wine 8 has no SIO_UDP_NETRESET, without which Go opens no UDP socket: no name server of a test
internal/agent ^TestReportsHoldNoSecrets$  # the same
internal/agent ^TestFailuresOfTheIdentity$  # the same
internal/agent ^TestFailuresOfTheProxy$  # the same
internal/agent ^TestFailuresOfTLS$  # the same
internal/agent ^TestFailuresOfTheService$  # the same
internal/agent ^TestPortsThatAreShut$  # the same
internal/agent ^TestFailuresOfTheDirectory$  # the same
internal/diagnosis ^TestNames$  # the same
internal/metrics ^TestHandlesAreCounted$  # Wine 8's GetProcessHandleCount says 0
EOF
)

if ! made=$(hack/wine/build.sh); then
  if [ -n "${REQUIRE_WINE:-}" ]; then exit 1; fi
  echo "the Windows tests are left out: install wine64 and gcc-mingw-w64-x86-64 to run them" >&2
  exit 0
fi

work=$(mktemp -d)
export WINEPREFIX="$work/prefix" WINEDEBUG=-all
wine=/usr/lib/wine/wine64
finish() {
  "$(dirname "$wine")/wineserver" --kill 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cp -a --link "$made/prefix" "$WINEPREFIX"
unset DISPLAY || true
"$(dirname "$wine")/wineserver" --persistent # else each program waits for the one before it to be gone

if [ $# -eq 0 ]; then set -- ./connector/...; fi
export GOOS=windows GOARCH=amd64 CGO_ENABLED=0
mapfile -t packages < <(go list -f '{{if .TestGoFiles}}{{.Dir}}{{else if .XTestGoFiles}}{{.Dir}}{{end}}' "$@")
# Wine 8 has not what Go deletes files with; Go has another way for old Windows.
file=src/internal/syscall/windows/at_windows.go
sed 's/^var TestDeleteatFallback bool$/var TestDeleteatFallback = true/' "$(go env GOROOT)/$file" >"$work/at_windows.go"
if cmp -s "$(go env GOROOT)/$file" "$work/at_windows.go"; then
  echo "hack/wine/test.sh: this Go has no TestDeleteatFallback; see $file" >&2
  exit 1
fi
printf '{"Replace": {"%s": "%s"}}\n' "$(go env GOROOT)/$file" "$work/at_windows.go" >"$work/overlay.json"

failed=0
for dir in "${packages[@]}"; do
  package=${dir#"$PWD/"}
  skip=$(awk -v p="${package#connector/}" '$1 == p {print $2}' <<<"$left_out" | paste -sd'|')
  go test -c -overlay "$work/overlay.json" -o "$work/test.exe" "./$package"
  if (cd "$dir" && "$wine" "$work/test.exe" -test.timeout 5m ${skip:+-test.skip "$skip"}) >"$work/out" 2>&1; then
    printf 'ok    %s%s\n' "$package" "${skip:+ (left out: $skip)}"
  else
    cat "$work/out"
    printf 'FAIL  %s\n' "$package"
    failed=1
  fi
done
exit "$failed"
