#!/bin/sh
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Makes a Wine prefix that Go programs run in, unless this very one was made
# before, and prints the directory that holds it:
#
#   prefix/        what WINEPREFIX may name a copy of
#   shutdown.exe   tells a program that its container is being stopped
#
# Needs Debian's packages wine64 and gcc-mingw-w64-x86-64. Without them it fails,
# with exit code 3. Nothing else is printed on standard output.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$here"
say() { printf 'hack/wine/build.sh: %s\n' "$*" >&2; }

wine=/usr/lib/wine/wine64
gcc=x86_64-w64-mingw32-gcc
if [ ! -x "$wine" ] || ! command -v "$gcc" >/dev/null; then
	say 'wine64 and gcc-mingw-w64-x86-64 are not installed (apt-get install them)'
	exit 3
fi

fingerprint() {
	{
		"$wine" --version
		"$gcc" -dumpfullversion
		cat build.sh ./*.c
	} | sha256sum | cut -c1-16
}

cache="${XDG_CACHE_HOME:-$HOME/.cache}/passthrough-connector-operator/wine"
target="$cache/$(fingerprint)"
if [ -e "$target/prefix/system.reg" ]; then
	touch "$target" # in use: see below
	printf '%s\n' "$target"
	exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
say 'making a Wine prefix (once; about a minute)'

export WINEPREFIX="$work/prefix" WINEARCH=win64 WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml,winemenubuilder.exe='
unset DISPLAY || :
"$gcc" -O2 -Wall -Werror -shared -o "$work/bcryptprimitives.dll" bcryptprimitives.c -ladvapi32 >&2
"$gcc" -O2 -Wall -Werror -municode -o "$work/shutdown.exe" shutdown.c >&2
"$wine" wineboot --init >/dev/null 2>&1
"$(dirname "$wine")/wineserver" --wait
cp "$work/bcryptprimitives.dll" "$WINEPREFIX/drive_c/windows/system32/"

chmod 755 "$work"
# Whoever is first wins; another of the same sources is as good.
mv -T "$work" "$target" 2>/dev/null || [ -e "$target/prefix/system.reg" ]
# Each is 700 MB; what nobody has asked for in a month can go.
find "$cache" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} + || :
printf '%s\n' "$target"
