// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"encoding/binary"
	"fmt"
)

// frameGuard follows the frames of what a relay sends and refuses one that is
// longer than this side announced (max-frame-size, AMQP 1.0 section 2.7.1). The
// AMQP library announces the limit and does not hold its peer to it: it would
// gather two gigabytes if somebody sent them.
type frameGuard struct {
	head   [4]byte // the size of the frame that begins, or the start of a protocol header
	have   int     // bytes of head
	left   uint32  // bytes of the frame that are still to come
	opened bool    // the AMQP layer's protocol header has come: only frames follow
	id     bool    // the next byte is the id of a protocol header
}

// protocolHeader begins the eight bytes with which each layer opens (AMQP 1.0
// section 2.2); its id is 3 for SASL and 0 for AMQP.
const protocolHeader = "AMQP"

// check takes the next bytes, in pieces of any size. After an error the
// connection is of no more use.
func (g *frameGuard) check(b []byte) error {
	for len(b) > 0 {
		if g.left > 0 {
			if g.id {
				g.id, g.opened = false, b[0] == 0
			}
			n := min(uint64(g.left), uint64(len(b)))
			g.left -= uint32(n) //nolint:gosec // not more than left
			b = b[n:]
			continue
		}
		n := copy(g.head[g.have:], b)
		g.have += n
		b = b[n:]
		if g.have < len(g.head) {
			return nil
		}
		g.have = 0
		if !g.opened && string(g.head[:]) == protocolHeader {
			g.left, g.id = 4, true
			continue
		}
		size := binary.BigEndian.Uint32(g.head[:])
		if size < frameHeader || size > maxFrame {
			return fmt.Errorf("the relay sent what is no AMQP frame of at most %d bytes: its size reads %d", maxFrame, size)
		}
		g.left = size - uint32(len(g.head))
	}
	return nil
}
