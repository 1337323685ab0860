// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package guid

import (
	"bytes"
	"strings"
	"testing"
)

func TestDotNetOrderMatchesTheCertificateExtension(t *testing.T) {
	g, err := Parse("0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5")
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{0x3F, 0x2E, 0x1D, 0x0C, 0x5B, 0x4A, 0x7D, 0x4C, 0x8E, 0x9F, 0xA0, 0xB1, 0xC2, 0xD3, 0xE4, 0xF5}
	got := g.DotNet()
	if !bytes.Equal(got[:], want) {
		t.Errorf("DotNet() = % X, want % X", got, want)
	}
	if back := FromDotNet(got); back != g {
		t.Errorf("FromDotNet(DotNet()) = %v, want %v", back, g)
	}
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		in string
		ok bool
	}{
		"lower case":     {"6f5e4d3c-2b1a-4908-8716-253443526170", true},
		"upper case":     {"6F5E4D3C-2B1A-4908-8716-253443526170", true},
		"braces":         {"{6f5e4d3c-2b1a-4908-8716-25344352617}", false},
		"no dashes":      {"6f5e4d3c2b1a49088716253443526170", false},
		"urn form":       {"urn:uuid:6f5e4d3c-2b1a-4908-8716-253443526170", false},
		"not hex":        {"6f5e4d3c-2b1a-4908-8716-25344352617g", false},
		"nothing at all": {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := Parse(tc.in)
			if (err == nil) != tc.ok {
				t.Fatalf("Parse(%q) error = %v, want ok %v", tc.in, err, tc.ok)
			}
			if tc.ok && g.String() != strings.ToLower(tc.in) {
				t.Errorf("String() = %q", g.String())
			}
		})
	}
}

func TestNewIsRandomAndZeroIsZero(t *testing.T) {
	first, second := New(), New()
	if first == second {
		t.Error("two new identifiers are equal")
	}
	var z GUID
	if !z.IsZero() || New().IsZero() {
		t.Error("IsZero is wrong")
	}
	if z.String() != "00000000-0000-0000-0000-000000000000" {
		t.Errorf("zero prints %q", z)
	}
}
