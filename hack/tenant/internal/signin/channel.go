// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/reliable"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

const (
	// pingInterval is how long a channel is silent before it says that it lives
	// (protocol section 6.4).
	pingInterval = 30 * time.Second
	// inactivity is how long a channel waits for anything from its connector
	// while something is expected (protocol section 6.6).
	inactivity = 10 * time.Minute
	// writeTimeout bounds one write: a connector that reads nothing is no use.
	writeTimeout = 5 * time.Second
)

// errRetired says that a channel takes no more signals.
var errRetired = errors.New("the connection to the connector is ending")

// channel is a bridged connection with a reliable session on it, over which one
// signal after the other goes to a connector (protocol section 6.6).
type channel struct {
	via string
	// connect makes the bridged connection.
	connect func(ctx context.Context) (net.Conn, error)
	// strayed is told that a reply relates to no signal that waits.
	strayed func()
	reach   time.Duration // bounds connecting, up to the session
	idle    time.Duration // after which an unused channel ends

	ready chan struct{} // closed when the session exists
	gone  chan struct{} // closed when the connection has ended; cause says why
	poke  chan struct{} // holds a token when the time to act may have changed

	mu      sync.Mutex // serialises writes; protects what follows
	conn    net.Conn
	encoder *signal.Encoder
	session *reliable.Session
	users   int        // signals that are under way or about to be
	waiting []*waiting // in order of sending
	spoke   time.Time  // when something was written last
	used    time.Time  // when the last user left
	retired time.Time  // when the session was closed; zero while it takes signals
	ended   bool       // the end record is out
	cause   error
}

// waiting is a signal without a reply.
type waiting struct {
	id    string
	reply chan signal.Envelope // holds one
}

// newChannel returns a channel with room reserved for one signal.
func newChannel(via string) *channel {
	return &channel{
		via: via, users: 1, strayed: func() {}, ready: make(chan struct{}), gone: make(chan struct{}), poke: make(chan struct{}, 1),
		encoder: signal.NewEncoder(), session: reliable.Initiate(reliable.Options{To: via}),
	}
}

// reserve makes room for a signal, unless the channel is busy or ending. Call
// release.
func (c *channel) reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.retired.IsZero() || c.users >= reliable.Window {
		return false
	}
	c.users++
	return true
}

func (c *channel) release() {
	c.mu.Lock()
	c.users--
	c.used = time.Now()
	c.mu.Unlock()
	c.stir()
}

// stir lets tend look again.
func (c *channel) stir() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// run connects and serves the channel until its connection ends.
func (c *channel) run(ctx context.Context) {
	reader, err := c.open(ctx)
	if err == nil {
		var tending sync.WaitGroup
		tending.Go(c.tend)
		err = c.serve(reader)
		c.leave(err)
		tending.Wait()
		return
	}
	c.leave(err)
}

// leave closes the connection and tells everybody.
func (c *channel) leave(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = errRetired
	}
	if c.cause == nil {
		c.cause = err
	}
	c.retire()
	if c.conn != nil {
		c.conn.Close()
	}
	close(c.gone)
}

// open connects and sends the preamble; the session's first message follows.
func (c *channel) open(ctx context.Context) (*framing.Reader, error) {
	ctx, cancel := context.WithTimeout(ctx, c.reach)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.conn, c.used = conn, time.Now()
	c.mu.Unlock()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("limiting the time of a rendezvous: %w", err)
	}
	reader := framing.NewReader(conn)
	if err := preamble(conn, reader, c.via); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return reader, c.flush()
}

// serve reads until the connector ends the connection. The deadline of open
// still holds until the session exists.
func (c *channel) serve(reader *framing.Reader) error {
	decoder := signal.NewDecoder()
	for {
		record, err := reader.ReadRecord()
		if err != nil {
			return fmt.Errorf("waiting for the connector: %w", err)
		}
		switch record.Type {
		case framing.RecordEnd:
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.end()
		case framing.RecordSizedEnvelope:
			envelope, err := decoder.Decode(record.Payload)
			if err != nil {
				return err
			}
			if err := c.receive(envelope); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the connector sent record %#02x", byte(record.Type))
		}
	}
}

// receive acts on an envelope.
func (c *channel) receive(envelope signal.Envelope) error {
	defer c.stir()
	c.mu.Lock()
	defer c.mu.Unlock()
	existed := c.session.Established()
	delivered, violation := c.session.Receive(envelope, time.Now())
	for _, d := range delivered {
		c.deliver(d)
	}
	if c.session.PeerDone() {
		c.stopped()
	}
	if err := c.flush(); err != nil {
		return err
	}
	switch {
	case violation != nil:
		return violation
	case c.session.Over():
		return c.end()
	case c.session.Established():
		if !existed {
			close(c.ready)
		}
		return c.expect(inactivity)
	}
	return nil
}

// deliver hands a reply to the signal that waits for it. Connectors are known
// that relate it to something else: it is then of the oldest.
func (c *channel) deliver(reply signal.Envelope) {
	if len(c.waiting) == 0 {
		return // it came too late
	}
	place := slices.IndexFunc(c.waiting, func(w *waiting) bool { return w.id == reply.RelatesTo })
	if place < 0 {
		c.strayed()
		place = 0
	}
	c.waiting[place].reply <- reply
	c.waiting = slices.Delete(c.waiting, place, place+1)
}

// stopped ends a channel whose connector has nothing more to say. Replies come in
// order and its last message after them all, so that signals without one were
// not taken.
func (c *channel) stopped() {
	for _, w := range c.waiting {
		w.reply <- signal.Envelope{Kind: signal.KindClosingFault, RelatesTo: w.id}
	}
	c.waiting = nil
	c.retire()
}

// signal sends a request and waits for its reply. sent says whether the
// connector may have it.
func (c *channel) signal(ctx context.Context, m *signal.Message) (reply signal.Envelope, sent bool, err error) {
	w := &waiting{id: "urn:uuid:" + guid.New().String(), reply: make(chan signal.Envelope, 1)}
	if err := c.post(w, m); err != nil {
		return reply, false, err
	}
	c.stir()
	select {
	case reply := <-w.reply:
		return reply, true, nil
	case <-c.gone:
	case <-ctx.Done():
		c.mu.Lock()
		c.retire() // whoever is next fares better elsewhere
		c.waiting = slices.DeleteFunc(c.waiting, func(other *waiting) bool { return other == w })
		c.mu.Unlock()
		c.stir()
		return reply, true, context.Cause(ctx)
	}
	select {
	case reply := <-w.reply: // the last thing that was said
		return reply, true, nil
	default:
		return reply, true, c.cause
	}
}

func (c *channel) post(w *waiting, m *signal.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.retired.IsZero() {
		return errRetired
	}
	if err := c.session.Send(signal.Envelope{Kind: signal.KindSignal, MessageID: w.id, Signal: m}); err != nil {
		return err
	}
	c.waiting = append(c.waiting, w)
	if err := c.flush(); err != nil {
		c.fail(err)
	}
	return nil
}

// The following need c.mu.

// flush writes what the session has to say now.
func (c *channel) flush() error {
	if c.ended {
		return nil
	}
	envelopes, err := c.session.Take(time.Now())
	for _, e := range envelopes {
		if err := c.write(e); err != nil {
			return err
		}
	}
	return err
}

func (c *channel) write(e signal.Envelope) error {
	content, err := c.encoder.Encode(e)
	if err != nil {
		return err
	}
	return c.writeRecord(framing.AppendSizedEnvelope(nil, content))
}

func (c *channel) writeRecord(record []byte) error {
	now := time.Now()
	if err := c.conn.SetWriteDeadline(now.Add(writeTimeout)); err != nil {
		return fmt.Errorf("limiting the time of a write: %w", err)
	}
	if _, err := c.conn.Write(record); err != nil {
		return fmt.Errorf("writing to the connector: %w", err)
	}
	c.spoke = now
	return nil
}

// expect bounds the wait for the next record.
func (c *channel) expect(limit time.Duration) error {
	if c.ended {
		limit = goodbye
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("limiting the wait for the connector: %w", err)
	}
	return nil
}

// retire takes no more signals and closes the session after those that were
// sent. What waits for replies still gets them.
func (c *channel) retire() {
	if c.retired.IsZero() {
		c.retired = time.Now()
		c.session.Close()
	}
}

// end writes the end record, once, and waits a moment for the connector's.
func (c *channel) end() error {
	if c.ended {
		return nil
	}
	if err := c.writeRecord(framing.AppendEnd(nil)); err != nil {
		return err
	}
	c.ended = true
	return c.expect(goodbye)
}

// fail closes the connection, which the reader notices.
func (c *channel) fail(err error) {
	if c.cause == nil {
		c.cause = err
	}
	c.conn.Close()
}

// tend does what time demands: messages again, pings, the end of an unused
// channel and of one that does not end by itself.
func (c *channel) tend() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-c.poke:
		case <-timer.C:
		}
		timer.Reset(time.Until(c.act(time.Now())))
	}
}

// act does what is due and returns when to come again.
func (c *channel) act(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	next := now.Add(inactivity)
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	switch unused := c.used.Add(c.idle); {
	case c.ended:
	case !c.retired.IsZero():
		if len(c.waiting) > 0 {
			break // its replies are still to come, or the connection's end
		}
		if leave := c.retired.Add(goodbye); leave.After(now) {
			sooner(leave)
		} else {
			err = c.end()
		}
	case c.users == 0 && !unused.After(now):
		c.retire()
		sooner(now.Add(goodbye))
	case c.users == 0:
		sooner(unused)
		fallthrough
	default:
		if quiet := c.spoke.Add(pingInterval); quiet.After(now) {
			sooner(quiet)
		} else {
			err = c.write(signal.Envelope{Kind: signal.KindPing, To: c.via})
			sooner(now.Add(pingInterval))
		}
	}
	if err == nil {
		err = c.flush()
	}
	if err != nil {
		c.fail(err)
	}
	sooner(c.session.Wake())
	return next
}
