// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package reliable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

// Errors of Receive. After one the session is over: write what Take returns and
// end the connection.
var (
	// ErrViolated says that the peer broke the rules of reliable messaging. It is
	// told by a fault.
	ErrViolated = errors.New("the peer broke the rules of its reliable session")
	// ErrFault says that the peer has ended the session with a fault.
	ErrFault = errors.New("the peer ended the reliable session with a fault")
)

// maxFaults bounds the faults that wait for Take. They answer messages that
// belong to no session, and one that is not answered does no harm.
const maxFaults = 8

// Options of a session. The zero value is good but for To.
type Options struct {
	// To is the address of an initiator's envelopes: that of the relay. An
	// acceptor sends to the anonymous address.
	To string
	// NewID makes identifiers; nil means urn:uuid: and a new GUID.
	NewID func() string
	// Random draws from [0, 1) for the pauses between attempts; nil means the
	// process's own source.
	Random func() float64
}

// Session is one reliable session of one bridged connection: a sequence in each
// direction. Create it with Initiate or Accept. It is not safe for concurrent
// use.
type Session struct {
	opts      Options
	initiator bool
	to        string
	in        *receiver // nil until there is a sequence
	out       *sender   // nil until there is a sequence

	create   signal.Envelope // the initiator's request
	creation retry
	granted  bool // the acceptor's answer is due

	ackDue       bool
	terminateDue bool
	terminated   bool // our TerminateSequence is out
	faults       []signal.Envelope
	failed       error
}

// Initiate begins a session as the cloud does: CreateSequence is the first
// thing that Take returns. Messages may be sent at once; they wait for the
// sequence.
func Initiate(opts Options) *Session {
	s := newSession(opts)
	s.initiator, s.to = true, opts.To
	s.in, s.out = newReceiver(s.opts.NewID()), newSender("")
	s.create = signal.Envelope{
		Kind: signal.KindCreateSequence, MessageID: s.opts.NewID(), To: s.to,
		CreateSequence: &signal.CreateSequence{AcksTo: signal.AnonymousAddress, Offer: s.in.identifier},
	}
	return s
}

// Accept waits for a session as the connector does.
func Accept(opts Options) *Session {
	s := newSession(opts)
	s.to = signal.AnonymousAddress
	return s
}

func newSession(opts Options) *Session {
	if opts.NewID == nil {
		opts.NewID = func() string { return "urn:uuid:" + guid.New().String() }
	}
	if opts.Random == nil {
		opts.Random = rand.Float64
	}
	return &Session{opts: opts}
}

// Established reports whether both sequences exist.
func (s *Session) Established() bool { return s.out != nil && s.out.identifier != "" }

// Concerns reports whether an envelope is one for Receive. Others are those of a
// plain connection: hand them on as they are. Once there is a session, it is
// asked about everything.
func (s *Session) Concerns(env signal.Envelope) bool {
	if s.initiator || s.out != nil {
		return true
	}
	switch env.Kind {
	case signal.KindCreateSequence, signal.KindCreateSequenceResponse, signal.KindTerminateSequence, signal.KindLastMessage,
		signal.KindAcknowledgement, signal.KindAckRequested:
		return true
	default:
		return env.Sequence != nil || env.Acknowledgement != nil || env.AckRequested != ""
	}
}

// Receive takes an envelope that arrived and returns those that are to be acted
// on, in order. An error ends the session.
func (s *Session) Receive(env signal.Envelope, now time.Time) (deliver []signal.Envelope, err error) {
	if s.failed != nil {
		return nil, s.failed
	}
	switch {
	case env.Kind == signal.KindCreateSequence:
		s.accept(env)
		return nil, nil
	case env.Kind == signal.KindCreateSequenceResponse:
		return nil, s.begin(env)
	case env.Kind == signal.KindFault && env.Sequence == nil: // those in the sequence are the service's own
		return nil, s.fail(fmt.Errorf("%w: %.64s: %.200s", ErrFault, env.Fault.Subcode, env.Fault.Reason))
	}
	for _, id := range identifiers(env) {
		if id.of != s.identifier(id.incoming) || id.of == "" {
			s.unknown(env, id.of)
			return nil, nil
		}
	}
	if env.Acknowledgement != nil && !s.out.acknowledge(env.Acknowledgement) {
		return nil, s.violated(env, signal.SubcodeInvalidAcknowledgement, "The SequenceAcknowledgement violates the cumulative acknowledgement invariant.")
	}
	if env.AckRequested != "" {
		s.ackDue = true
	}
	switch {
	case env.Kind == signal.KindTerminateSequence:
		return nil, s.terminate(env)
	case env.Sequence != nil:
		return s.message(env)
	case env.Kind == signal.KindSignal, env.Kind == signal.KindResponse, env.Kind == signal.KindClosingFault:
		return nil, s.violated(env, "", "The message has no place in the reliable session: it lacks a wsrm:Sequence header.")
	}
	s.finish()
	return nil, nil // a ping, or something newer: it has no place in a sequence
}

// identifier names the sequence of one direction, or nothing.
func (s *Session) identifier(incoming bool) string {
	switch {
	case s.in == nil || s.out == nil:
		return ""
	case incoming:
		return s.in.identifier
	default:
		return s.out.identifier
	}
}

// mention is an identifier in an envelope.
type mention struct {
	of       string
	incoming bool // of the sequence that arrives here
}

func identifiers(env signal.Envelope) []mention {
	var all []mention
	if env.Sequence != nil {
		all = append(all, mention{env.Sequence.Identifier, true})
	}
	if env.AckRequested != "" {
		all = append(all, mention{env.AckRequested, true})
	}
	if env.Acknowledgement != nil {
		all = append(all, mention{env.Acknowledgement.Identifier, false})
	}
	if env.Kind == signal.KindTerminateSequence {
		all = append(all, mention{env.TerminateSequence, true})
	}
	return all
}

// accept grants a sequence, the first time. The same request again is answered
// again, another one refused: a connection carries one session.
func (s *Session) accept(env signal.Envelope) {
	request := env.CreateSequence
	switch {
	case s.initiator, request.Offer == "", s.out != nil && s.create.MessageID != env.MessageID, s.out != nil && s.out.identifier != request.Offer:
		s.fault(env, signal.Fault{Code: "Receiver", Subcode: signal.SubcodeCreateSequenceRefused, Reason: "The create sequence request has been refused by the RM Destination."})
		return
	case s.out == nil:
		s.create = env
		s.in, s.out = newReceiver(s.opts.NewID()), newSender(request.Offer)
	}
	s.granted = true
}

// begin takes the acceptor's answer into use.
func (s *Session) begin(env signal.Envelope) error {
	identifier := env.CreateSequenceResponse.Identifier
	switch {
	case !s.initiator, env.RelatesTo != s.create.MessageID, identifier == "":
		return s.fail(fmt.Errorf("%w: it granted a sequence that nobody asked for", ErrViolated))
	case s.out.identifier == "":
		s.out.identifier, s.creation = identifier, retry{}
	case s.out.identifier != identifier:
		return s.fail(fmt.Errorf("%w: it granted two sequences", ErrViolated))
	}
	return nil
}

// message takes one message of the sequence.
func (s *Session) message(env signal.Envelope) ([]signal.Envelope, error) {
	s.ackDue = true
	deliver, ok := s.in.receive(env)
	if !ok {
		return nil, s.violated(env, signal.SubcodeLastMessageNumberExceeded,
			"The value for wsrm:MessageNumber exceeds the value of the MessageNumber accompanying a LastMessage element in this Sequence.")
	}
	kept := deliver[:0]
	for _, e := range deliver {
		if e.Kind != signal.KindLastMessage { // which carries nothing
			kept = append(kept, e)
		}
	}
	s.finish()
	return kept, nil
}

// terminate ends the incoming sequence. A peer that ends it while messages are
// missing has lost them.
func (s *Session) terminate(env signal.Envelope) error {
	if len(s.in.ahead) > 0 || s.in.last != 0 && !s.in.complete() {
		return s.violated(env, signal.SubcodeSequenceTerminated, "The Sequence has been terminated before all of its messages have arrived.")
	}
	s.in.terminated = true
	s.finish()
	return nil
}

// Send queues an envelope for the outgoing sequence. It fails with ErrClosed or
// ErrQueueFull.
func (s *Session) Send(env signal.Envelope) error {
	if s.failed != nil || s.out == nil {
		return ErrClosed
	}
	env.To = s.to
	return s.out.queue(env, false)
}

// Close ends the outgoing sequence after what was sent. It may be called again.
func (s *Session) Close() {
	if s.failed != nil || s.out == nil || s.out.last {
		return
	}
	if err := s.out.queue(signal.Envelope{Kind: signal.KindLastMessage, To: s.to}, true); err != nil {
		s.failed = err // the queue is full of what the peer never acknowledged
	}
	s.finish()
}

// finish ends the outgoing sequence once all of it has been acknowledged.
func (s *Session) finish() {
	if s.out != nil && s.out.finished() && !s.terminated {
		s.terminateDue = true
	}
}

// PeerDone reports whether the peer has nothing more to send. Answer what is
// still to be answered, then Close.
func (s *Session) PeerDone() bool {
	return s.in != nil && (s.in.terminated || s.in.complete())
}

// Over reports whether both sequences have ended: what follows is the end of the
// connection.
func (s *Session) Over() bool {
	return s.failed != nil || s.in != nil && s.in.terminated && s.terminated
}

// Unacknowledged is the number of messages that the peer has not acknowledged.
func (s *Session) Unacknowledged() int {
	if s.out == nil {
		return 0
	}
	return len(s.out.pending)
}

// Take returns what is to be written now, in order. It fails with ErrSilent when
// the peer was tried often enough; what it returns beside that is still to be
// written.
func (s *Session) Take(now time.Time) ([]signal.Envelope, error) {
	var take []signal.Envelope
	take, s.faults = append(take, s.faults...), nil
	if s.failed != nil {
		return take, nil //nolint:nilerr // it has been reported; the faults are still to be written
	}
	if s.granted {
		s.granted = false
		take = append(take, signal.Envelope{
			Kind: signal.KindCreateSequenceResponse, RelatesTo: s.create.MessageID, To: s.to,
			CreateSequenceResponse: &signal.CreateSequenceResponse{Identifier: s.in.identifier, AcksTo: s.create.To},
		})
	}
	if s.initiator && s.out.identifier == "" && !s.creation.due.After(now) {
		if s.creation.attempts >= maxAttempts {
			s.failed = ErrSilent
			return take, ErrSilent
		}
		s.creation.again(now, s.opts.Random())
		take = append(take, s.create)
	}
	if s.ackDue {
		s.ackDue = false
		take = append(take, signal.Envelope{Kind: signal.KindAcknowledgement, To: s.to, Acknowledgement: s.in.acknowledgement()})
	}
	if s.out == nil {
		return take, nil
	}
	due, err := s.out.due(now, s.opts.Random)
	for _, env := range due {
		env.To = s.to
		take = append(take, env)
	}
	if err != nil {
		s.failed = err
		return take, err
	}
	if s.terminateDue {
		s.terminateDue, s.terminated = false, true
		take = append(take, signal.Envelope{Kind: signal.KindTerminateSequence, To: s.to, TerminateSequence: s.out.identifier})
	}
	return take, nil
}

// Wake is when Take has something to return even if nothing happens; zero if it
// will not.
func (s *Session) Wake() time.Time {
	switch {
	case s.failed != nil || s.out == nil:
		return time.Time{}
	case s.out.identifier == "":
		return s.creation.due
	default:
		return s.out.wake()
	}
}

// unknown tells the peer that an identifier is of no sequence of this session.
func (s *Session) unknown(env signal.Envelope, identifier string) {
	s.fault(env, signal.Fault{
		Code: "Sender", Subcode: signal.SubcodeUnknownSequence, Sequence: identifier,
		Reason: "The value of wsrm:Identifier is not a known Sequence identifier.",
	})
}

// violated ends the session with a fault that says why.
func (s *Session) violated(env signal.Envelope, subcode, reason string) error {
	s.fault(env, signal.Fault{Code: "Sender", Subcode: subcode, Reason: reason, Sequence: s.identifier(true)})
	return s.fail(fmt.Errorf("%w: %s", ErrViolated, reason))
}

func (s *Session) fault(env signal.Envelope, f signal.Fault) {
	if len(s.faults) < maxFaults {
		s.faults = append(s.faults, signal.Envelope{Kind: signal.KindFault, RelatesTo: env.MessageID, To: s.to, Fault: &f})
	}
}

func (s *Session) fail(err error) error {
	s.failed = err
	return err
}
