// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
)

var instance = netip.MustParseAddr("40.112.242.163")

// prelude is protocol section 5.9, byte for byte: two lengths, the word, the
// address, and the byte that says TLS.
const prelude = "\x07\x00\x00\x00connect\x19\x00\x00\x00sb://40.112.242.163:9352/\x01"

func TestPrelude(t *testing.T) {
	if got := AppendPrelude(nil, instance, 9352); string(got) != prelude {
		t.Errorf("wrote %q\nwant  %q", got, prelude)
	}
	r := strings.NewReader(prelude + "\x16\x03\x01")
	got, err := ReadPrelude(r)
	if err != nil || !got.TLS || got.Address != netip.AddrPortFrom(instance, 9352) {
		t.Errorf("read %+v, %v", got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "\x16\x03\x01" {
		t.Errorf("%q is left for the handshake, want its three bytes", rest)
	}
	plain := prelude[:len(prelude)-1] + "\x00"
	if got, err = ReadPrelude(strings.NewReader(plain)); err != nil || got.TLS {
		t.Errorf("without TLS: %+v, %v", got, err)
	}
}

func TestReadPreludeRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":          "",
		"a TLS handshake":  "\x16\x03\x01\x00\xA0\x01",
		"an HTTP request":  "GET / HTTP/1.1\r\n\r\n",
		"another word":     strings.Replace(prelude, "connect", "listens", 1),
		"a long word":      "\xFF\x00\x00\x00" + strings.Repeat("x", 255),
		"an endless word":  "\xFF\xFF\xFF\x7F",
		"a name":           "\x07\x00\x00\x00connect\x11\x00\x00\x00sb://host.a:9352/\x01",
		"another scheme":   strings.Replace(prelude, "sb://", "ab://", 1),
		"no slash":         strings.Replace(prelude, "9352/", "93521", 1),
		"no address":       "\x07\x00\x00\x00connect\x06\x00\x00\x00sb:///\x01",
		"IPv6":             "\x07\x00\x00\x00connect\x10\x00\x00\x00sb://[::1]:9352/\x01",
		"no byte for TLS":  prelude[:len(prelude)-1],
		"a byte of others": prelude[:len(prelude)-1] + "\x02",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ReadPrelude(strings.NewReader(in)); err == nil {
				t.Errorf("read %+v", got)
			}
		})
	}
}

func FuzzReadPrelude(f *testing.F) {
	f.Add([]byte(prelude))
	f.Add([]byte(prelude[:len(prelude)-1] + "\x00"))
	f.Add([]byte("\x16\x03\x01\x00\xA0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		p, err := ReadPrelude(r)
		if err != nil || !p.TLS {
			return
		}
		read := len(data) - r.Len()
		if again, err := ReadPrelude(bytes.NewReader(AppendPrelude(nil, p.Address.Addr(), int(p.Address.Port())))); err != nil || again != p {
			t.Errorf("%q was read as %+v, and what that makes as %+v, %v", data[:read], p, again, err)
		}
	})
}
