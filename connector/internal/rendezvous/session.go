// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"errors"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/reliable"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

// What an endpoint is, plain or reliable, shows in what arrives: the first
// envelope of a reliable one creates a sequence. One connection then carries
// many requests, and lives until the cloud ends the session or the connector
// stops.

func (b *bridge) concernsSession(envelope signal.Envelope) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session.Concerns(envelope)
}

// sequenced gives a message to the session, acts on what is due because of it,
// and writes what the session has to say.
func (b *bridge) sequenced(envelope signal.Envelope, arrived time.Time) error {
	b.mu.Lock()
	delivered, violation := b.session.Receive(envelope, arrived)
	established := b.session.Established()
	b.mu.Unlock()
	if established {
		b.place.makeRoom()
	}
	for _, d := range delivered {
		if err := b.act(d, arrived); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session.PeerDone() {
		b.session.Close() // every signal got its reply above
	}
	if err := b.flush(); err != nil {
		return err
	}
	if violation == nil && b.session.Over() {
		return b.endLocked()
	}
	return violation
}

// replySequenced needs b.mu.
func (b *bridge) replySequenced(envelope signal.Envelope) error {
	if err := b.session.Send(envelope); err != nil {
		if errors.Is(err, reliable.ErrClosed) {
			return nil // too late; the cloud sees the end of the sequence instead
		}
		return err
	}
	return b.flush()
}

// flush writes what the session has to say now, and comes back when it has
// something to say again. It needs b.mu.
func (b *bridge) flush() error {
	if b.ended {
		return nil
	}
	now := time.Now()
	envelopes, err := b.session.Take(now)
	for _, e := range envelopes {
		if err := b.writeEnvelope(e); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	switch at := b.session.Wake(); {
	case at.IsZero() || b.served:
	case b.timer == nil:
		b.timer = time.AfterFunc(at.Sub(now), b.sendAgain)
	default:
		b.timer.Reset(at.Sub(now))
	}
	return nil
}

// sendAgain is what the timer does. If it fails, the connection is of no use:
// the reader learns that by its end.
func (b *bridge) sendAgain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.served {
		return
	}
	if err := b.flush(); err != nil {
		b.cause = err
		b.conn.Close()
	}
}

// quit stops the timer when nobody reads any more, and returns why the timer
// has closed the connection, if it has.
func (b *bridge) quit() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served = true
	if b.timer != nil {
		b.timer.Stop()
	}
	return b.cause
}

// endSession ends the session of a connector that stops, and waits a moment for
// the cloud to end its sequence as well. over is the end of the connection.
func (b *bridge) endSession(over <-chan struct{}) {
	b.mu.Lock()
	established := b.session.Established()
	if established {
		b.session.Close()
		if b.flush() != nil {
			established = false // nothing to wait for
		}
	}
	b.mu.Unlock()
	if !established {
		return
	}
	timer := time.NewTimer(goodbye)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	}
}
