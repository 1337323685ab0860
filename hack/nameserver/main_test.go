// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"testing"
)

// TestAnswersOverUDPAndTCP asks with Go's resolver, an independent client.
func TestAnswersOverUDPAndTCP(t *testing.T) {
	zones := zones{}
	if err := zones.set("service.test=203.0.113.10"); err != nil {
		t.Fatal(err)
	}
	datagrams, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = datagrams.Close(), connections.Close() })
	go func() { _ = serveDatagrams(datagrams, zones) }()
	go func() { _ = serveConnections(connections, zones) }()

	for network, address := range map[string]string{"udp": datagrams.LocalAddr().String(), "tcp": connections.Addr().String()} {
		t.Run(network, func(t *testing.T) {
			resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			}}
			got, err := resolver.LookupHost(t.Context(), "A.deep.Service.test.")
			if err != nil || len(got) != 1 || got[0] != "203.0.113.10" {
				t.Errorf("%v, %v", got, err)
			}
			_, err = resolver.LookupHost(t.Context(), "notservice.test.")
			var missing *net.DNSError
			if !errors.As(err, &missing) || !missing.IsNotFound {
				t.Errorf("a name outside the zones: %v, want that it does not exist", err)
			}
		})
	}
}

func TestZonesAreRead(t *testing.T) {
	for _, text := range []string{"", "a.test", "=203.0.113.1", "a.test=", "a.test=2001:db8::1"} {
		if err := (zones{}).set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
