// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net"
	"syscall"
	"testing"
)

func TestConnectionsNoticeThatTheOtherSideIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	conn, err := newDialer().DialContext(t.Context(), "tcp", l.Addr().String())
	must(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	must(t, err)
	for name, tc := range map[string]struct{ option, want int }{
		"data that is not acknowledged, in milliseconds": {tcpUserTimeout, 90_000},
		"idle before the first probe, in seconds":        {syscall.TCP_KEEPIDLE, 30},
		"between probes, in seconds":                     {syscall.TCP_KEEPINTVL, 15},
		"probes":                                         {syscall.TCP_KEEPCNT, 4},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, raw.Control(func(fd uintptr) {
				got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tc.option)
				if err != nil || got != tc.want {
					t.Errorf("%d, %v, want %d", got, err, tc.want)
				}
			}))
		})
	}
}
