// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

// ErrNoCredit means that the client takes no message at present.
var ErrNoCredit = errors.New("the listener has no credit for another message")

// ErrGone means that the link is no longer attached.
var ErrGone = errors.New("the listener is gone")

// ErrTooLarge means that the client does not read frames of that size.
var ErrTooLarge = errors.New("the message is larger than the frames that the listener reads")

// Listener is a link with which a client receives. It is safe for concurrent
// use.
type Listener struct {
	Address    string // as the client wrote it
	Principal  string // whose token attached it
	TrackingID string // chosen by the client
	Since      time.Time

	conn   *connection
	handle uint32

	// The connection's mutex protects these.
	gone   bool
	count  uint32 // deliveries so far
	credit uint32
}

// Ready reports whether Send would take a message now.
func (l *Listener) Ready() bool {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	return l.readyLocked() == nil
}

func (l *Listener) readyLocked() error {
	switch {
	case l.gone || l.conn.closed:
		return ErrGone
	case l.credit == 0 || l.conn.session.remoteWindow == 0:
		return ErrNoCredit
	default:
		return nil
	}
}

// grantLocked takes the credit of a flow.
func (l *Listener) grantLocked(fields list) {
	credit, ok := number(fields.field(6))
	if !ok {
		return
	}
	limit := number32(fields.field(5), 0) + uint32(credit) // serial number arithmetic (RFC 1982)
	l.credit = limit - l.count
	if l.credit > 1<<31 { // the client took credit back that is used up already
		l.credit = 0
	}
	if isTrue(fields.field(8)) { // drain: there is nothing to send
		l.count += l.credit
		l.credit = 0
	}
}

// Outcome says how a delivery ended.
type Outcome int

const (
	// OutcomeAccepted means that the client took the message.
	OutcomeAccepted Outcome = iota + 1
	// OutcomeRefused means that it rejected, released or modified it.
	OutcomeRefused
	// OutcomeLost means that the link ended before the client said anything.
	OutcomeLost
)

func outcomeOf(state any) Outcome {
	if code, _, ok := performative(state); ok && code == descAccepted {
		return OutcomeAccepted
	}
	return OutcomeRefused
}

// Delivery is a message on its way.
type Delivery struct {
	handle  uint32
	done    chan struct{}
	outcome Outcome
}

// Done is closed when the delivery is settled.
func (d *Delivery) Done() <-chan struct{} { return d.done }

// Outcome tells how it ended; it is valid once Done is closed.
func (d *Delivery) Outcome() Outcome { return d.outcome }

func (d *Delivery) settle(o Outcome) {
	d.outcome = o
	close(d.done)
}

// Send writes a message whose one data section has the given content, and
// returns without waiting for the client's answer. The frame goes out in two
// writes, as the service's do.
func (l *Listener) Send(content []byte) (*Delivery, error) {
	payload := make([]byte, 0, len(content)+8)
	payload = append(payload, 0x00, 0x53, descData, 0xB0)
	payload = binary.BigEndian.AppendUint32(payload, uint32(len(content)))
	payload = append(payload, content...)
	tag := guid.New()

	c := l.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := l.readyLocked(); err != nil {
		return nil, err
	}
	s := c.session
	id := s.nextDelivery
	head := encodeFrame(frameAMQP, c.channel, descTransfer,
		list{l.handle, id, tag[:], uint32(0), false, false, nil, nil, nil, nil, nil}, len(payload))
	if len(head)+len(payload) > int(min(c.maxFrame, MaxFrame)) {
		return nil, ErrTooLarge
	}
	if err := c.writeLocked(head); err != nil {
		return nil, err
	}
	if err := c.writeLocked(payload); err != nil {
		return nil, err
	}
	s.nextDelivery++
	s.nextOutgoing++
	s.remoteWindow--
	l.count++
	l.credit--
	d := &Delivery{handle: l.handle, done: make(chan struct{})}
	s.deliveries[id] = d
	return d, nil
}
