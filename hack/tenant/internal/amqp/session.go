// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

const (
	window    = 5000
	handleMax = 262143
	// maxLinks bounds the links of a session; a listener has two.
	maxLinks = 64
	// maxText bounds what an attach says that the answer repeats, in bytes.
	maxText = 2048
	// linkCredit is what a client's sending link is granted. Nothing is ever
	// sent on it, but clients wait for it.
	linkCredit = 1000
)

// errClosed means that the client closed the connection in order.
var errClosed = errors.New("the client closed the connection")

// session is the one session of a connection; the connection's mutex protects
// it.
type session struct {
	// nextIncoming and nextOutgoing are transfer ids (AMQP 2.5.6).
	nextIncoming, nextOutgoing uint32
	// remoteWindow is how many more transfers the client takes.
	remoteWindow uint32
	nextDelivery uint32
	links        map[uint32]*link
	deliveries   map[uint32]*Delivery
}

func newSession(begin list) *session {
	return &session{
		nextIncoming: number32(begin.field(1), 0),
		nextOutgoing: 1,
		remoteWindow: number32(begin.field(2), 0),
		links:        map[uint32]*link{},
		deliveries:   map[uint32]*Delivery{},
	}
}

// link is one link of the session.
type link struct {
	name    string
	handle  uint32
	address string
	// listener is set on a link with which the client receives.
	listener *Listener
	// granted says that a sending client has been given credit.
	granted bool
	// refused says that the server has detached and waits for the client to.
	refused bool
	// expiry runs when the token is over; nil if that is out of sight.
	expiry *time.Timer
}

func (l *link) stopExpiry() {
	if l.expiry != nil {
		l.expiry.Stop()
	}
	l.expiry = nil
}

// linkAt returns the link at a handle, nil if there is none.
func (s *session) linkAt(handle any) *link {
	n, ok := number(handle)
	if !ok || n > handleMax {
		return nil
	}
	return s.links[uint32(n)]
}

// run handles frames until the connection ends.
func (c *connection) run() error {
	for {
		f, err := c.next()
		if err != nil {
			return err
		}
		if err := c.handle(f); err != nil {
			return err
		}
	}
}

func (c *connection) handle(f frame) error {
	switch f.code {
	case descAttach:
		return c.attach(f.body)
	case descFlow:
		return c.flow(f.body)
	case descTransfer:
		return c.transfer(f.body)
	case descDisposition:
		return c.disposition(f.body)
	case descDetach:
		return c.detach(f.body)
	case descEnd:
		c.abandon()
		return c.send(frameAMQP, descEnd, list{nil})
	case descClose:
		c.close(nil)
		return errClosed
	case descBegin:
		return &Refusal{conditionNotAllowed, "a listener's connection has one session"}
	default:
		return &Refusal{conditionDecode, fmt.Sprintf("performative %#02x has no place here", f.code)}
	}
}

// attach answers an attach at once, with an attach and, if the link may not be,
// a detach.
func (c *connection) attach(fields list) error {
	handle, ok := number(fields.field(1))
	receiving, isRole := fields.field(2).(bool)
	if !ok || handle > handleMax || !isRole || text(fields.field(0)) == "" {
		return &Refusal{conditionDecode, "an attach lacks name, handle or role"}
	}
	l := &link{name: text(fields.field(0)), handle: uint32(handle)}
	terminus := fields.field(6) // the target of a client that sends
	if receiving {
		terminus = fields.field(5)
	}
	if _, f, ok := performative(terminus); ok {
		l.address = text(f.field(0))
	}
	properties, _ := fields.field(13).(mapping)
	if max(len(l.name), len(l.address), len(text(properties.lookup(trackingID)))) > maxText {
		return &Refusal{conditionLimit, fmt.Sprintf("names, addresses and tracking ids have at most %d bytes", maxText)}
	}

	c.mu.Lock()
	_, taken := c.session.links[l.handle]
	count := len(c.session.links)
	c.mu.Unlock()
	if taken {
		return &Refusal{conditionNotAllowed, "an attach uses a handle that is taken"}
	}
	if count >= maxLinks {
		return &Refusal{conditionLimit, fmt.Sprintf("a session has at most %d links", maxLinks)}
	}

	grant, err := c.opts.Authorizer.Authorize(l.address, text(properties.lookup("com.microsoft:swt")))
	if err != nil {
		return c.refuse(l, receiving, properties, err)
	}
	return c.accept(l, receiving, properties, grant)
}

func (c *connection) accept(l *link, receiving bool, properties mapping, grant Grant) error {
	if receiving {
		l.listener = &Listener{
			Address: l.address, Principal: grant.Principal,
			TrackingID: text(properties.lookup(trackingID)), Since: time.Now(),
			conn: c, handle: l.handle,
		}
	}
	if receiving { // first, so that nothing can withdraw it before
		c.opts.Registrar.Attached(l.listener)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.links[l.handle] = l
	c.expireLocked(l, grant.Expiry)
	if err := c.sendLocked(frameAMQP, descAttach, c.attachReply(l, receiving, properties, false)); err != nil {
		return err
	}
	return c.grantLocked()
}

// refuse answers an attach with one without source and target, and a detach.
func (c *connection) refuse(l *link, receiving bool, properties mapping, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.refused = true
	c.session.links[l.handle] = l
	if err := c.sendLocked(frameAMQP, descAttach, c.attachReply(l, receiving, properties, true)); err != nil {
		return err
	}
	return c.sendLocked(frameAMQP, descDetach, list{l.handle, true, asRefusal(err).value()})
}

func asRefusal(err error) *Refusal {
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		return refusal
	}
	return &Refusal{conditionInternal, "the service could not decide about the link"}
}

const trackingID symbol = "com.microsoft:tracking-id"

// attachReply has all fourteen fields, since clients index into them.
func (c *connection) attachReply(l *link, receiving bool, properties mapping, refused bool) list {
	source, target := make(list, 11), make(list, 7)
	var initialCount any
	if receiving {
		source[0], initialCount = l.address, uint32(0)
	} else {
		target[0] = l.address
	}
	reply := make(list, 14)
	reply[0], reply[1], reply[2] = l.name, l.handle, !receiving
	if !refused {
		reply[5] = described{uint64(descSource), source}
		reply[6] = described{uint64(descTarget), target}
	}
	reply[9] = initialCount
	reply[13] = mapping{{trackingID, text(properties.lookup(trackingID)) + c.opts.TrackingSuffix}}
	return reply
}

// grantLocked gives credit to the links on which the client sends, once it has
// one on which it receives too: the service answers both attaches first, and
// clients read in that order.
func (c *connection) grantLocked() error {
	listening := false
	for _, l := range c.session.links {
		listening = listening || l.listener != nil
	}
	if !listening {
		return nil
	}
	for _, handle := range slices.Sorted(maps.Keys(c.session.links)) {
		l := c.session.links[handle]
		if l.listener != nil || l.granted || l.refused {
			continue
		}
		l.granted = true
		if err := c.sendLocked(frameAMQP, descFlow, c.flowFor(l)); err != nil {
			return err
		}
	}
	return nil
}

// flowFor describes the session, and a link if there is one.
func (c *connection) flowFor(l *link) list {
	s := c.session
	fields := list{s.nextIncoming, uint32(window), s.nextOutgoing, uint32(window), nil, nil, nil, nil, nil, false, nil}
	switch {
	case l == nil:
	case l.listener != nil:
		fields[4], fields[5], fields[6], fields[7] = l.handle, l.listener.count, l.listener.credit, uint32(0)
	default:
		fields[4], fields[5], fields[6], fields[7] = l.handle, uint32(0), uint32(linkCredit), uint32(0)
	}
	return fields
}

// flow takes windows and credit, and a new token if the flow carries one.
func (c *connection) flow(fields list) error {
	c.mu.Lock()
	s := c.session
	nextIncoming := number32(fields.field(0), 1) // null: the client has seen no begin yet
	s.remoteWindow = nextIncoming + number32(fields.field(1), 0) - s.nextOutgoing
	if s.remoteWindow > 1<<31 { // more sent than the client takes, counted modulo 2^32
		s.remoteWindow = 0
	}
	s.nextIncoming = number32(fields.field(2), s.nextIncoming)
	l := s.linkAt(fields.field(4))
	var err error
	if l == nil && fields.field(4) != nil {
		err = &Refusal{"amqp:session:unattached-handle", "a flow names a handle that is not attached"}
	}
	if l != nil && l.listener != nil {
		l.listener.grantLocked(fields)
	}
	if drain := isTrue(fields.field(8)); err == nil && (drain || isTrue(fields.field(9))) {
		reply := c.flowFor(l)
		if drain {
			reply[8] = true // the last known value of the receiver (AMQP 2.7.4)
		}
		err = c.sendLocked(frameAMQP, descFlow, reply)
	}
	c.mu.Unlock()
	if err != nil || l == nil || l.refused {
		return err
	}
	if properties, ok := fields.field(10).(mapping); ok {
		if swt := text(properties.lookup("com.microsoft:swt")); swt != "" {
			return c.renew(l, swt)
		}
	}
	return nil
}

func isTrue(v any) bool {
	b, _ := v.(bool)
	return b
}

// renew replaces the token of a link. One that would not be accepted at attach
// ends the link.
func (c *connection) renew(l *link, swt string) error {
	grant, err := c.opts.Authorizer.Authorize(l.address, swt)
	if err != nil {
		return c.expel(l, asRefusal(err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session.links[l.handle] == l && !l.refused {
		c.expireLocked(l, grant.Expiry)
	}
	return nil
}

// expireLocked ends the link when its token has been over for the grace time.
func (c *connection) expireLocked(l *link, expiry time.Time) {
	l.stopExpiry()
	left := time.Until(expiry) // saturates: tokens may end decades ahead
	if left > 1<<62 {
		return
	}
	l.expiry = time.AfterFunc(left+c.opts.TokenGrace, func() {
		// The reader notices if the connection is gone.
		_ = c.expel(l, &Refusal{ConditionUnauthorized, "the token has expired and was not renewed"})
	})
}

// expel detaches a link from this side.
func (c *connection) expel(l *link, reason *Refusal) error {
	c.mu.Lock()
	if c.session.links[l.handle] != l || l.refused {
		c.mu.Unlock()
		return nil
	}
	l.refused = true
	l.stopExpiry()
	err := c.sendLocked(frameAMQP, descDetach, list{l.handle, true, reason.value()})
	c.mu.Unlock()
	c.withdraw(l)
	return err
}

// withdraw tells the registrar that a link is gone. Its deliveries will not be
// settled any more.
func (c *connection) withdraw(l *link) {
	if l.listener == nil {
		return
	}
	c.mu.Lock()
	gone := l.listener.gone
	l.listener.gone = true
	for id, d := range c.session.deliveries {
		if d.handle == l.handle {
			delete(c.session.deliveries, id)
			d.settle(OutcomeLost)
		}
	}
	c.mu.Unlock()
	if !gone {
		c.opts.Registrar.Detached(l.listener)
	}
}

// detach answers a detach, unless it is the answer to one.
func (c *connection) detach(fields list) error {
	c.mu.Lock()
	l := c.session.linkAt(fields.field(0))
	if l == nil {
		c.mu.Unlock()
		return &Refusal{"amqp:session:unattached-handle", "a detach names a handle that is not attached"}
	}
	delete(c.session.links, l.handle)
	l.stopExpiry()
	var err error
	if !l.refused {
		err = c.sendLocked(frameAMQP, descDetach, list{l.handle, isTrue(fields.field(1)), nil})
	}
	c.mu.Unlock()
	c.withdraw(l)
	return err
}

// transfer rejects what a client sends: nothing is ever sent on that link.
func (c *connection) transfer(fields list) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.nextIncoming++
	id, ok := number(fields.field(1))
	if !ok || id > math.MaxUint32 || isTrue(fields.field(4)) { // a continuation, or settled already
		return nil
	}
	state := described{uint64(descRejected), list{(&Refusal{conditionNotImpl, "nothing is sent on this link"}).value()}}
	return c.sendLocked(frameAMQP, descDisposition, list{true, uint32(id), nil, true, state, nil})
}

// disposition settles deliveries.
func (c *connection) disposition(fields list) error {
	receiver, isRole := fields.field(0).(bool)
	first, ok := number(fields.field(1))
	if !isRole || !ok {
		return &Refusal{conditionDecode, "a disposition lacks role or first"}
	}
	if !receiver {
		return nil
	}
	last := first
	if n, ok := number(fields.field(2)); ok {
		last = n
	}
	if first > math.MaxUint32 || last > math.MaxUint32 {
		return &Refusal{conditionDecode, "a disposition names deliveries that cannot be"}
	}
	outcome := outcomeOf(fields.field(4))
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, d := range c.session.deliveries {
		if uint64(id) >= first && uint64(id) <= last {
			delete(c.session.deliveries, id)
			d.settle(outcome)
		}
	}
	if isTrue(fields.field(3)) {
		return nil
	}
	// The client waits for this side to settle first. Nothing of what it sent
	// is sent back: that could be any value.
	var state any
	if outcome == OutcomeAccepted {
		state = described{uint64(descAccepted), list{}}
	}
	return c.sendLocked(frameAMQP, descDisposition, list{false, uint32(first), uint32(last), true, state, nil})
}

// abandon ends every link without a word: the session or connection is over.
func (c *connection) abandon() {
	c.mu.Lock()
	var links []*link
	if c.session != nil {
		for _, handle := range slices.Sorted(maps.Keys(c.session.links)) {
			l := c.session.links[handle]
			links = append(links, l)
			delete(c.session.links, handle)
			l.stopExpiry()
		}
	}
	c.mu.Unlock()
	for _, l := range links {
		c.withdraw(l)
	}
}
