// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testaddress_test

import (
	"net/netip"
	"testing"

	"github.com/passthrough-dev/connector-operator/hack/internal/testaddress"
)

func TestIsSafe(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1": true, "127.9.8.7": true, "::1": true, "203.0.113.10": true, "192.0.2.255": true, "198.51.100.0": true,
		"203.0.114.1": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "169.254.169.254": false, "2001:db8::1": false,
	} {
		if got := testaddress.IsSafe(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
}
