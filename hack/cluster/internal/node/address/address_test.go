// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package address

import (
	"errors"
	"net/netip"
	"testing"
)

func newPool(t *testing.T, block string) *Pool {
	t.Helper()
	pool, err := NewPool(netip.MustParsePrefix(block))
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestPoolGivesEachAddressOnceAndThenRefuses(t *testing.T) {
	pool := newPool(t, "127.9.1.0/29")
	seen := map[netip.Addr]bool{}
	for range 5 { // eight without network, node and broadcast
		got, err := pool.Allocate("")
		if err != nil {
			t.Fatal(err)
		}
		if seen[got] {
			t.Errorf("%s was given twice", got)
		}
		seen[got] = true
	}
	for _, never := range []string{"127.9.1.0", "127.9.1.1", "127.9.1.7"} {
		if seen[netip.MustParseAddr(never)] {
			t.Errorf("%s was given to a pod", never)
		}
	}
	if _, err := pool.Allocate(""); !errors.Is(err, ErrExhausted) {
		t.Errorf("error %v, want ErrExhausted", err)
	}
	pool.Release(netip.MustParseAddr("127.9.1.4"))
	if got, err := pool.Allocate(""); err != nil || got.String() != "127.9.1.4" {
		t.Errorf("after a release: %v, %v; want 127.9.1.4", got, err)
	}
}

func TestPoolPreference(t *testing.T) {
	tests := map[string]struct {
		preferred string
		want      string
	}{
		"a free address of the block is given":    {preferred: "127.9.1.5", want: "127.9.1.5"},
		"a used address is not given again":       {preferred: "127.9.1.2", want: "127.9.1.3"},
		"an address of another block is not":      {preferred: "127.9.2.5", want: "127.9.1.3"},
		"the node's own address is not":           {preferred: "127.9.1.1", want: "127.9.1.3"},
		"the last address of the block is not":    {preferred: "127.9.1.255", want: "127.9.1.3"},
		"something that is no address is ignored": {preferred: "localhost", want: "127.9.1.3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pool := newPool(t, "127.9.1.0/24")
			if _, err := pool.Allocate(""); err != nil {
				t.Fatal(err)
			}
			got, err := pool.Allocate(test.preferred)
			if err != nil || got.String() != test.want {
				t.Errorf("got %v, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestPoolDoesNotReuseAtOnce(t *testing.T) {
	pool := newPool(t, "127.9.1.0/24")
	first, err := pool.Allocate("")
	if err != nil {
		t.Fatal(err)
	}
	pool.Release(first)
	second, err := pool.Allocate("")
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Errorf("%s was reused at once; a client of the old pod would reach the new one", first)
	}
}

func TestNewPoolRefusesUselessBlocks(t *testing.T) {
	for _, block := range []string{"127.9.1.0/30", "fd00::/64"} {
		if _, err := NewPool(netip.MustParsePrefix(block)); err == nil {
			t.Errorf("no error for %s", block)
		}
	}
}
