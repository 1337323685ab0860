// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import "syscall"

// tcpUserTimeout is TCP_USER_TIMEOUT (tcp(7)), which package syscall does not
// name.
const tcpUserTimeout = 0x12

// boundUnacknowledged bounds how long written data may stay unacknowledged.
// The probes of TCP keep-alive are not sent while data is on its way, and Linux
// by itself repeats data for some fifteen minutes: so long would a link whose
// relay vanished look attached.
func boundUnacknowledged(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Where it cannot be set, a loss is noticed later. That is no reason not
		// to connect.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silence.Milliseconds()))
	})
}
