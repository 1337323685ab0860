// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package livetest tries the whole of kubecluster: it brings a real cluster up
// with the built program, runs pods on a Linux and on a Windows node, breaks
// things and sees them heal. It has tests only, and they need the program:
//
//	KUBECLUSTER_BIN="$(../../build.sh)/kubecluster" go test -v .
package livetest
