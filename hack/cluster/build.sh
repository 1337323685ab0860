#!/bin/sh
# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Builds kubecluster unless this very source was built before, and prints the
# directory that holds it, with a link for each program inside: etcd,
# kube-apiserver, kube-controller-manager, kube-scheduler, kubectl. The directory
# serves as KUBEBUILDER_ASSETS too. Nothing else is printed on standard output.
#
#   CLUSTER_OPTIMIZED=1  builds with optimisation: takes longer once, and makes a
#                        cluster that starts faster and uses less processor time
set -eu

version=v1.36.3 # what the components call themselves; go.mod says what they are
links='etcd kube-apiserver kube-controller-manager kube-scheduler kubectl'

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$here"
say() { printf 'hack/cluster/build.sh: %s\n' "$*" >&2; }

# Everything that decides what comes out, and nothing more: changes of tests and
# of documentation build nothing.
fingerprint() {
	{
		go version
		go env GOOS GOARCH GOFLAGS
		echo "optimized=${CLUSTER_OPTIMIZED:-}"
		find . \( -name '*.go' ! -name '*_test.go' -o -name go.mod -o -name go.sum -o -name build.sh \) -type f |
			LC_ALL=C sort | while read -r file; do
			echo "$file"
			cat "$file"
		done
	} | sha256sum | cut -c1-16
}

cache="${XDG_CACHE_HOME:-$HOME/.cache}/passthrough-connector-operator/cluster"
target="$cache/$(fingerprint)"
if [ -x "$target/kubecluster" ]; then
	touch "$target" # in use: see below
	printf '%s\n' "$target"
	exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/.build.XXXXXX")
ticker=''
finish() {
	[ -z "$ticker" ] || kill "$ticker" 2>/dev/null || :
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "building etcd, Kubernetes $version and the nodes into one program."
say 'The first time takes minutes (about 5 on two processors); later ones take seconds.'
started=$(date +%s)
(
	# Ends with the shell that waits for it, also when that is killed.
	# sleep must not hold our streams open: it outlives the build by seconds.
	while sleep 10 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
		say "still building, $(($(date +%s) - started)) s"
	done
) >&2 &
ticker=$!

flags='all=-N -l' # without optimisation the build takes two thirds of the time
[ -z "${CLUSTER_OPTIMIZED:-}" ] || flags=''
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/client-go/pkg/version.gitVersion=$version"
CGO_ENABLED=0 go build -tags=kubernetes -trimpath -gcflags="$flags" -ldflags="-s -w $stamp" -o "$work/kubecluster" . >&2

for link in $links; do
	ln -s kubecluster "$work/$link"
done
chmod 755 "$work"
# Whoever is first wins; a second build of the same source is as good.
mv -T "$work" "$target" 2>/dev/null || [ -x "$target/kubecluster" ]
# Each build is 160 MB; what nobody has asked for in a month can go.
find "$cache" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} + || :
say "built in $(($(date +%s) - started)) s"
printf '%s\n' "$target"
