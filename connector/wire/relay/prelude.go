// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"io"
	"net/netip"
)

// What opens a relayed connection over TCP (protocol section 5.9): the word, an
// address and a byte that says whether TLS follows.
const (
	preludeWord   = "connect"
	preludeScheme = "sb://"
	preludePlain  = 0
	preludeTLS    = 1
	// maxPrelude bounds the word and the address, in bytes: the longest IPv4
	// address and port make 26.
	maxPrelude = 64
)

// AppendPrelude appends what a connector writes to the instance that a Connect
// names, on IPAddress and IPPort, before the TLS handshake. There is no answer
// to it. The form without TLS is not written.
func AppendPrelude(b []byte, ip netip.Addr, port int) []byte {
	b = AppendPrefixed(b, []byte(preludeWord))
	b = AppendPrefixed(b, []byte(preludeScheme+netip.AddrPortFrom(ip, uint16(port)).String()+"/")) //nolint:gosec // DecodeConnect has bounded it
	return append(b, preludeTLS)
}

// Prelude is what ReadPrelude found.
type Prelude struct {
	// Address is the IPv4 address and port to which the connector believes to
	// connect.
	Address netip.AddrPort
	// TLS says that a TLS handshake follows.
	TLS bool
}

// ReadPrelude reads a prelude, byte by byte to its end and no further: what
// follows is left to the reader of the TLS handshake.
func ReadPrelude(r io.Reader) (Prelude, error) {
	p, err := readPrelude(r)
	if err != nil {
		return Prelude{}, fmt.Errorf("reading the opening of a relayed connection: %w", err)
	}
	return p, nil
}

func readPrelude(r io.Reader) (Prelude, error) {
	word, err := ReadPrefixed(r, maxPrelude)
	if err != nil {
		return Prelude{}, err
	}
	if string(word) != preludeWord {
		return Prelude{}, fmt.Errorf("it begins with %.16q, not with %q", word, preludeWord)
	}
	address, err := ReadPrefixed(r, maxPrelude)
	if err != nil {
		return Prelude{}, err
	}
	p := Prelude{}
	if p.Address, err = parsePreludeAddress(string(address)); err != nil {
		return Prelude{}, err
	}
	var secured [1]byte
	if _, err := io.ReadFull(r, secured[:]); err != nil {
		return Prelude{}, err
	}
	switch secured[0] {
	case preludePlain:
	case preludeTLS:
		p.TLS = true
	default:
		return Prelude{}, fmt.Errorf("byte %#02x says neither TLS nor none", secured[0])
	}
	return p, nil
}

func parsePreludeAddress(text string) (netip.AddrPort, error) {
	errAddress := fmt.Errorf("%.64q is not an address of the form sb://127.0.0.1:9352/", text)
	if len(text) <= len(preludeScheme)+1 || text[:len(preludeScheme)] != preludeScheme || text[len(text)-1] != '/' {
		return netip.AddrPort{}, errAddress
	}
	address, err := netip.ParseAddrPort(text[len(preludeScheme) : len(text)-1])
	if err != nil || !address.Addr().Is4() {
		return netip.AddrPort{}, errAddress
	}
	return address, nil
}
