// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package reliable

import (
	"errors"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

const (
	// MaxQueued is how many messages a session holds that the peer has not
	// acknowledged, whether sent or waiting for their turn.
	MaxQueued = 64

	// maxAttempts is how often a message is sent before the peer is given up;
	// WCF's default, and with the pauses below about three minutes.
	maxAttempts = 8
	firstPause  = 2 * time.Second
	maxPause    = 32 * time.Second
)

// Errors of Send and Take.
var (
	// ErrQueueFull says that MaxQueued messages wait for acknowledgements.
	ErrQueueFull = errors.New("the peer has left too many messages unacknowledged")
	// ErrClosed says that the session takes nothing more to send.
	ErrClosed = errors.New("the reliable session is closed")
	// ErrSilent says that the peer did not acknowledge a message however often it
	// was sent.
	ErrSilent = errors.New("the peer acknowledges nothing")
)

// sender is the end of a sequence where messages begin.
type sender struct {
	identifier string // empty until the peer has granted it
	assigned   int64  // the last number given
	// pending are unacknowledged, in order of their numbers; those that were sent
	// stand before those that were not.
	pending []outgoing
	// room is how much the receiver said it has; Window until it did.
	room int64
	// probe asks for an acknowledgement while there is no room; it is not armed
	// while its time is zero.
	probe retry
	last  bool // the last message is among pending or acknowledged
}

// outgoing is a message that was not acknowledged.
type outgoing struct {
	env   signal.Envelope
	retry retry
}

// retry decides when something is sent again.
type retry struct {
	attempts int
	due      time.Time
}

// again notes one attempt; random is drawn from [0, 1).
func (r *retry) again(now time.Time, random float64) {
	pause := min(maxPause, firstPause<<min(r.attempts, 10))
	r.attempts++
	// Up to a quarter more, so that two ends never keep step.
	r.due = now.Add(pause + time.Duration(random*float64(pause)/4))
}

func newSender(identifier string) *sender { return &sender{identifier: identifier, room: Window} }

// queue numbers a message.
func (s *sender) queue(env signal.Envelope, last bool) error {
	switch {
	case s.last:
		return ErrClosed
	case len(s.pending) >= MaxQueued:
		return ErrQueueFull
	}
	s.assigned++
	s.last = last
	env.Sequence = &signal.Sequence{MessageNumber: s.assigned, Last: last}
	s.pending = append(s.pending, outgoing{env: env})
	return nil
}

// acknowledge drops what the peer has. It reports false if that includes a
// message that was never sent.
func (s *sender) acknowledge(a *signal.Acknowledgement) bool {
	sent := s.sent()
	for _, r := range a.Ranges {
		if r.Upper > sent {
			return false
		}
	}
	left := s.pending[:0]
	for _, m := range s.pending {
		if m.retry.attempts == 0 || !covered(a.Ranges, m.env.Sequence.MessageNumber) {
			left = append(left, m)
		}
	}
	clear(s.pending[len(left):]) // let go of the envelopes
	s.pending = left
	for _, n := range a.Nacks {
		for i := range s.pending {
			if m := &s.pending[i]; m.retry.attempts > 0 && m.env.Sequence.MessageNumber == n {
				m.retry.due = time.Time{}
			}
		}
	}
	if a.BufferRemaining >= 0 {
		s.room = a.BufferRemaining
	}
	s.probe = retry{}
	return true
}

// sent is the highest number that has been sent.
func (s *sender) sent() int64 {
	for _, m := range s.pending {
		if m.retry.attempts == 0 {
			return m.env.Sequence.MessageNumber - 1
		}
	}
	return s.assigned
}

func covered(ranges []signal.Range, n int64) bool {
	for _, r := range ranges {
		if r.Lower <= n && n <= r.Upper {
			return true
		}
	}
	return false
}

// finished reports whether the last message and all before it have arrived.
func (s *sender) finished() bool { return s.last && len(s.pending) == 0 }

// limit is the highest number that may be sent now: neither beyond the window
// of what is missing, nor more than the receiver has room for.
func (s *sender) limit() int64 {
	if len(s.pending) == 0 {
		return s.assigned
	}
	return s.pending[0].env.Sequence.MessageNumber - 1 + min(Window, max(0, s.room))
}

// due returns what to send now: what fits and was not sent, and what was sent
// long enough ago. It fails when something was sent often enough.
func (s *sender) due(now time.Time, random func() float64) ([]signal.Envelope, error) {
	if s.identifier == "" {
		return nil, nil
	}
	var out []signal.Envelope
	limit := s.limit()
	for i := range s.pending {
		m := &s.pending[i]
		switch {
		case m.retry.attempts == 0 && m.env.Sequence.MessageNumber > limit:
			continue
		case m.retry.due.After(now):
			continue
		case m.retry.attempts >= maxAttempts:
			return out, ErrSilent
		}
		env, sequence := m.env, *m.env.Sequence
		sequence.Identifier = s.identifier
		env.Sequence = &sequence
		// Asked for where the answer is needed: at the beginning, as the service
		// does, at the end, and whenever it has not come.
		if sequence.MessageNumber == 1 || sequence.Last || m.retry.attempts > 0 {
			env.AckRequested = s.identifier
		}
		m.retry.again(now, random())
		out = append(out, env)
	}
	switch {
	case !s.blocked():
		s.probe = retry{}
	case s.probe.due.IsZero():
		s.probe.again(now, random())
	case s.probe.due.After(now):
	case s.probe.attempts >= maxAttempts:
		return out, ErrSilent
	default:
		s.probe.again(now, random())
		out = append(out, signal.Envelope{Kind: signal.KindAckRequested, AckRequested: s.identifier})
	}
	return out, nil
}

// blocked reports whether messages wait for room while none is on the way whose
// acknowledgement would tell of it.
func (s *sender) blocked() bool {
	return len(s.pending) > 0 && s.pending[0].retry.attempts == 0 && s.pending[0].env.Sequence.MessageNumber > s.limit()
}

// wake is when due has something next; zero if only an event can change that.
func (s *sender) wake() time.Time {
	at := s.probe.due
	for _, m := range s.pending {
		if m.retry.attempts > 0 && (at.IsZero() || m.retry.due.Before(at)) {
			at = m.retry.due
		}
	}
	return at
}
