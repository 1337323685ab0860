// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package testaddress tells addresses that programs made for tests may listen on
// from those that a network could reach.
package testaddress

import "net/netip"

// documentation are the blocks that RFC 5737 keeps for examples: no host of any
// network has such an address, unless a test gave it one.
var documentation = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
}

// IsDocumentation reports whether the address is one of those kept for examples.
func IsDocumentation(address netip.Addr) bool {
	for _, block := range documentation {
		if block.Contains(address) {
			return true
		}
	}
	return false
}

// IsSafe reports whether the address is a loopback address or one kept for
// examples.
func IsSafe(address netip.Addr) bool { return address.IsLoopback() || IsDocumentation(address) }
