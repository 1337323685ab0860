// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"net"
	"sync"
	"time"
)

// keepAliveInterval is how long the connection may go without a frame from
// this side (protocol section 5.7).
const keepAliveInterval = 30 * time.Second

// emptyFrame is an AMQP frame without a body on channel 0.
var emptyFrame = []byte{0, 0, 0, 8, 2, 0, 0, 0}

// keepAlive is a connection that writes an empty frame whenever nothing has
// been written for a while. The AMQP library does that only for peers that
// announce an idle time-out, and the service announces none; without it, the
// middleboxes on the way forget a connection on which no user signs in.
//
// It relies on each Write holding whole frames, which is how the library
// writes.
type keepAlive struct {
	net.Conn

	mu     sync.Mutex // serialises writes; protects timer and closed
	timer  *time.Timer
	ready  bool // the SASL layer has ended: frames of type AMQP are allowed
	closed bool
}

func newKeepAlive(conn net.Conn) *keepAlive {
	k := &keepAlive{Conn: conn}
	k.timer = time.AfterFunc(keepAliveInterval, k.beat)
	return k
}

// Write implements net.Conn.
func (k *keepAlive) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed {
		k.timer.Reset(keepAliveInterval)
	}
	// The second protocol header (id 0) opens the AMQP layer.
	k.ready = k.ready || (len(b) == 8 && string(b[:4]) == "AMQP" && b[4] == 0)
	return k.Conn.Write(b)
}

// Close implements net.Conn.
func (k *keepAlive) Close() error {
	// First the connection: a write that hangs holds the lock.
	err := k.Conn.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.timer.Stop()
	return err
}

func (k *keepAlive) beat() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.timer.Reset(keepAliveInterval)
	if k.ready {
		// A failed write shows at the reader, too, which ends the connection.
		_, _ = k.Conn.Write(emptyFrame)
	}
}
