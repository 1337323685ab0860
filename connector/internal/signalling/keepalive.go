// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"net"
	"sync"
	"time"
)

const (
	// keepAliveInterval is how long the connection may go without a frame from
	// this side (protocol section 5.7).
	keepAliveInterval = 30 * time.Second
	// beatTimeout bounds the writing of one empty frame.
	beatTimeout = 10 * time.Second
)

// emptyFrame is an AMQP frame without a body on channel 0.
var emptyFrame = []byte{0, 0, 0, 8, 2, 0, 0, 0}

// keepAlive is a connection that writes an empty frame whenever nothing has
// been written for a while, and takes no frame that is too long. The AMQP library does that only for peers that
// announce an idle time-out, and the service announces none; without it, the
// middleboxes on the way forget a connection on which no user signs in.
//
// It relies on each Write holding whole frames, which is how the library
// writes. It does not rely on the write deadline: the library sets one for each
// of its frames and leaves it in place, so that it has always passed by the time
// an empty frame is due.
type keepAlive struct {
	net.Conn

	mu     sync.Mutex // serialises writes; protects timer and closed
	timer  *time.Timer
	ready  bool // the SASL layer has ended: frames of type AMQP are allowed
	closed bool
	flow   lastFlow

	guard frameGuard // of the reader
}

func newKeepAlive(conn net.Conn) *keepAlive {
	k := &keepAlive{Conn: conn}
	k.timer = time.AfterFunc(keepAliveInterval, k.beat)
	return k
}

// Read implements net.Conn. One reader at a time, as the library has.
func (k *keepAlive) Read(b []byte) (int, error) {
	n, err := k.Conn.Read(b)
	if faulty := k.guard.check(b[:n]); faulty != nil {
		return 0, faulty
	}
	return n, err
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
	if k.ready {
		k.flow.note(b)
	}
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

// renew sends a new token on both links. The other side does not confirm it: a
// token that it does not take ends the link.
func (k *keepAlive) renew(token string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return net.ErrClosed
	}
	frames, err := k.flow.frames(token)
	if err != nil {
		return err
	}
	k.timer.Reset(keepAliveInterval)
	if err := k.SetWriteDeadline(time.Now().Add(beatTimeout)); err != nil {
		return err
	}
	_, err = k.Conn.Write(frames)
	return err
}

// beat writes an empty frame. A connection that does not take it is closed,
// which ends the library's reader and so the link: one that looks attached and
// is not would cost every user that the cloud sends there a time limit.
func (k *keepAlive) beat() {
	if err := k.writeEmpty(); err != nil {
		// What Close says changes nothing: the connection is lost already.
		_ = k.Close()
	}
}

func (k *keepAlive) writeEmpty() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.timer.Reset(keepAliveInterval)
	if !k.ready {
		return nil
	}
	if err := k.SetWriteDeadline(time.Now().Add(beatTimeout)); err != nil {
		return err
	}
	_, err := k.Conn.Write(emptyFrame)
	return err
}
