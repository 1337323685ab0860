// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/reliable"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

// meet dials the relay instance and serves the bridged connection to its end.
func (h *Handler) meet(request relay.Connect, at *place) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	conn, err := h.opts.Dial(ctx, request)
	cancel()
	if err != nil {
		h.drop(DropRelayFailed, "Dialling a relay instance failed", "error", err.Error())
		return
	}
	defer conn.Close()
	if err := h.accept(conn, request.ID); err != nil {
		reason := DropRelayFailed
		if _, ok := errors.AsType[*relay.RefusedError](err); ok {
			reason = DropRelayRefused
		}
		h.drop(reason, "Meeting the cloud at a relay instance failed", "error", err.Error())
		return
	}
	b := &bridge{
		handler: h, place: at, conn: &stream{Conn: conn}, encoder: signal.NewEncoder(), decoder: signal.NewDecoder(),
		session: reliable.Accept(reliable.Options{}), held: make(chan struct{}, requestsPerConnection),
	}
	b.run()
}

// accept performs the exchange of protocol section 6.3.
func (h *Handler) accept(conn net.Conn, id string) error {
	if err := conn.SetDeadline(time.Now().Add(initiationLimit)); err != nil {
		return fmt.Errorf("limiting the time of a rendezvous: %w", err)
	}
	message := relay.EncodeAccept(id)
	prefixed := relay.AppendPrefixed(nil, message)
	// The length and the message are two messages of the WebSocket.
	for _, part := range [][]byte{prefixed[:len(prefixed)-len(message)], message} {
		if _, err := conn.Write(part); err != nil {
			return fmt.Errorf("sending the accept: %w", err)
		}
	}
	reply, err := relay.ReadPrefixed(conn, relay.MaxMessage)
	if err != nil {
		return err
	}
	return relay.DecodeAcceptReply(reply)
}

// bridge is one bridged connection.
type bridge struct {
	handler *Handler
	place   *place // only the reader uses it
	conn    *stream
	decoder *signal.Decoder
	// requests are those that are being answered; Handler.begin counts them, and
	// held bounds them.
	requests sync.WaitGroup
	held     chan struct{}

	mu      sync.Mutex // serialises writes; protects what follows
	encoder *signal.Encoder
	// session is that of a reliable endpoint. On a plain one nothing concerns it.
	session *reliable.Session
	timer   *time.Timer // for what the session sends again; nil before there is any
	signals int         // that got a reply
	open    bool        // the preamble was acknowledged
	ended   bool        // this side's end record is out: nothing may follow it
	served  bool        // nobody reads any more
	cause   error       // why the timer has closed the connection
}

// serve reads records until the cloud ends the connection.
func (b *bridge) serve(r *framing.Reader) error {
	if _, err := r.ReadPreamble(); err != nil {
		return err
	}
	if err := b.acknowledge(); err != nil {
		return err
	}
	for {
		if err := b.limitRead(); err != nil {
			return err
		}
		record, err := r.ReadRecord()
		if err != nil {
			return err
		}
		switch record.Type {
		case framing.RecordEnd:
			return b.end()
		case framing.RecordFault:
			return fmt.Errorf("the cloud ended the connection with the fault %.200q", record.Payload)
		case framing.RecordSizedEnvelope:
			if err := b.envelope(record.Payload); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a record of type %#02x out of place", byte(record.Type))
		}
	}
}

// envelope acts on one message. Only what cannot be read, or breaks the rules
// of a reliable session, is an error.
func (b *bridge) envelope(content []byte) error {
	arrived := time.Now()
	envelope, err := b.decoder.Decode(content)
	if err != nil {
		return err
	}
	if b.concernsSession(envelope) {
		return b.sequenced(envelope, arrived)
	}
	return b.act(envelope, arrived)
}

// act acts on a message whose turn it is.
func (b *bridge) act(envelope signal.Envelope, arrived time.Time) error {
	if envelope.Kind != signal.KindSignal {
		return nil // a ping, or something newer: no answer is due
	}
	if !b.handler.begin(&b.requests) {
		b.handler.opts.Observer.Dropped(DropClosing)
		return b.decline(envelope, "The connector is shutting down.")
	}
	release, ok := b.hold()
	if !ok {
		b.requests.Done()
		b.handler.opts.Observer.Dropped(DropOverload)
		return b.decline(envelope, "The connector has too much to do.")
	}
	// This acknowledges the signal and not the password: it goes out at once.
	if err := b.reply(signal.Envelope{
		Kind: signal.KindResponse, RelatesTo: envelope.MessageID, To: signal.AnonymousAddress,
		Response: &signal.Response{ConnectorID: b.handler.opts.ConnectorID()},
	}); err != nil {
		release()
		return err
	}
	go func() {
		defer release()
		b.handler.answer(envelope.Signal, arrived)
	}()
	return nil
}

// hold takes a place among the requests of this connection and of all.
func (b *bridge) hold() (release func(), ok bool) {
	select {
	case b.held <- struct{}{}:
	default:
		return nil, false
	}
	select {
	case b.handler.requests <- struct{}{}:
	default:
		<-b.held
		return nil, false
	}
	return func() {
		<-b.handler.requests
		<-b.held
		b.requests.Done()
	}, true
}

// decline answers a signal with the closing fault: the one answer that makes
// the cloud pick another connector at once.
func (b *bridge) decline(envelope signal.Envelope, why string) error {
	return b.reply(signal.Envelope{
		Kind: signal.KindClosingFault, RelatesTo: envelope.MessageID, To: signal.AnonymousAddress,
		Fault: &signal.Fault{Reason: why},
	})
}

func (b *bridge) reply(envelope signal.Envelope) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return nil // too late; the cloud sees the end record instead
	}
	b.signals++
	if b.session.Established() {
		return b.replySequenced(envelope)
	}
	return b.writeEnvelope(envelope)
}

// writeEnvelope needs b.mu, as the order of encoding is that of writing.
func (b *bridge) writeEnvelope(envelope signal.Envelope) error {
	content, err := b.encoder.Encode(envelope)
	if err != nil {
		return err
	}
	return b.writeLocked(framing.AppendSizedEnvelope(nil, content))
}

func (b *bridge) acknowledge() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = true
	return b.writeLocked(framing.AppendPreambleAck(nil))
}

func (b *bridge) writeLocked(record []byte) error {
	if err := b.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("limiting the time of a write: %w", err)
	}
	if _, err := b.conn.Write(record); err != nil {
		return fmt.Errorf("writing to the bridged connection: %w", err)
	}
	return nil
}
