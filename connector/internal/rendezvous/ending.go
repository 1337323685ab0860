// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/reliable"
)

// run serves the bridged connection, answers what it brought, and accounts for
// how it ended.
func (b *bridge) run() {
	over, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		b.leave(over)
	}()
	err := b.serve(framing.NewReader(b.conn))
	close(over)
	if cause := b.quit(); cause != nil {
		err = cause
	}
	<-left
	b.requests.Wait()
	switch h := b.handler; {
	case err == nil:
	case errors.Is(err, reliable.ErrSilent), errors.Is(err, reliable.ErrQueueFull):
		h.drop(DropRelayFailed, "The cloud does not acknowledge what this connector answers on a reliable session", "error", err.Error())
	case errors.Is(err, reliable.ErrFault):
		h.drop(DropRelayFailed, "The cloud has ended a reliable session with a fault", "error", err.Error())
	case !b.conn.failed.Load():
		h.drop(DropMalformed, "A bridged connection brought what this connector does not understand", "error", err.Error())
	case b.signals == 0 && !b.ended:
		h.drop(DropRelayFailed, "A bridged connection ended before it brought a request", "error", err.Error())
	default:
		// Whoever went away without an end record, each request was replied to.
		h.opts.Log.V(1).Info("A bridged connection ended without an end record", "error", err.Error())
	}
}

// leave ends the connection when the connector stops, over being the end of
// its serving: first comes a last call, then whatever is held is answered.
// Without it, a connection that the cloud keeps open for later requests would
// hold up every stop for the whole time limit.
func (b *bridge) leave(over <-chan struct{}) {
	select {
	case <-b.handler.stopping:
	case <-over:
		return
	}
	timer := time.NewTimer(b.handler.lastCall)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-over:
		return
	}
	b.requests.Wait() // grows no more: the handler is closing
	select {
	case <-over: // nobody reads any more; do not wait for a write either
		return
	default:
	}
	b.endSession(over)
	// If it cannot be written, the reader fails as well and says so.
	_ = b.end()
	_ = b.limitRead()
}

// end writes this side's end record, once.
func (b *bridge) end() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.endLocked()
}

func (b *bridge) endLocked() error {
	if b.ended {
		return nil
	}
	b.ended = true
	if !b.open { // the framing has not begun: there is nothing to end politely
		return b.conn.Close()
	}
	return b.writeLocked(framing.AppendEnd(nil))
}

// limitRead bounds the wait for the next record.
func (b *bridge) limitRead() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := idleLimit
	switch {
	case b.ended:
		limit = goodbye
	case b.session.Established():
		limit = sessionIdleLimit
	}
	if err := b.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("limiting the idle time of a bridged connection: %w", err)
	}
	return nil
}

// stream remembers whether the connection itself failed, which tells one that
// broke from one that brought nonsense. A connection that is gone may say so
// first when a deadline is set.
type stream struct {
	net.Conn
	failed atomic.Bool
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error { return s.note(s.Conn.SetReadDeadline(t)) }

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.note(s.Conn.SetWriteDeadline(t)) }

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	return n, s.note(err)
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	return n, s.note(err)
}

func (s *stream) note(err error) error {
	if err != nil {
		s.failed.Store(true)
	}
	return err
}
