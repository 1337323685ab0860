// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package address hands out loopback addresses to the pods of one node.
//
// Linux answers on all of 127.0.0.0/8 without any set-up, so each pod can have
// an address, and with it all ports, of its own. The supervisor gives each node
// a block; blocks do not overlap, so addresses are unique in the cluster.
package address

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
)

// ErrExhausted says that every address of the block is in use.
var ErrExhausted = errors.New("every pod address of the node is in use")

// reserved addresses at the start of a block: the network and the node.
const reserved = 2

// Pool allocates from one block. It is safe for concurrent use.
type Pool struct {
	block netip.Prefix
	first netip.Addr

	mu   sync.Mutex // protects what follows
	next netip.Addr
	used map[netip.Addr]bool
}

// NewPool allocates from block, which must be IPv4. The block's first two
// addresses are never given to pods.
func NewPool(block netip.Prefix) (*Pool, error) {
	block = block.Masked()
	if !block.Addr().Is4() || block.Bits() > 29 {
		return nil, fmt.Errorf("the pod address block %s is not an IPv4 block of at least 8 addresses", block)
	}
	first := block.Addr()
	for range reserved {
		first = first.Next()
	}
	return &Pool{block: block, first: first, next: first, used: map[netip.Addr]bool{}}, nil
}

// Allocate returns a free address. A preferred address, such as the one the
// pod had before the node was restarted, is given if it is free. Addresses are
// handed out in turn, so that one just released is not reused at once.
func (p *Pool) Allocate(preferred string) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wanted, err := netip.ParseAddr(preferred); err == nil && p.assignable(wanted) && !p.used[wanted] {
		p.used[wanted] = true
		return wanted, nil
	}
	start := p.next
	for {
		candidate := p.next
		p.next = p.next.Next()
		if !p.assignable(p.next) {
			p.next = p.first
		}
		if !p.used[candidate] {
			p.used[candidate] = true
			return candidate, nil
		}
		if p.next == start {
			return netip.Addr{}, ErrExhausted
		}
	}
}

// Release makes the address free again.
func (p *Pool) Release(released netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, released)
}

// assignable leaves out the reserved addresses and the block's last one.
func (p *Pool) assignable(candidate netip.Addr) bool {
	return p.block.Contains(candidate) && p.block.Contains(candidate.Next()) && !candidate.Less(p.first)
}
