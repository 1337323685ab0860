// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/sas"
)

// ErrRefused marks errors with which the service refused a link: the key or
// the address is wrong, and only another bootstrap can change that.
var ErrRefused = errors.New("the service refused the link")

const (
	closeTimeout = 2 * time.Second
	credit       = 1000
	maxFrame     = 65536
	maxMessage   = 65536
	// maxLinks gives the handle-max of the service's own library.
	maxLinks = 262144
)

// attachment is one connection with its two links. done is closed when it has
// been lost; err is valid from then on.
type attachment struct {
	conn   *amqp.Conn
	stream *keepAlive
	stop   context.CancelFunc
	done   chan struct{}
	err    error
	handle func([]byte)
}

// attach dials and performs the whole handshake of protocol section 5.2.
func (k *link) attach(ctx context.Context, e Endpoint) (*attachment, error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	stream, err := k.opts.Dial(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	kept := newKeepAlive(stream)
	conn, err := amqp.NewConn(ctx, kept, &amqp.ConnOptions{
		ContainerID:  "RelayConnection_" + guid.New().String(),
		HostName:     e.Namespace + "-relay." + e.Domain,
		MaxFrameSize: maxFrame,
		MaxSessions:  8191,
		IdleTimeout:  -1, // announced as none; see keepAlive
		SASLType:     amqp.SASLTypeExternal(""),
	})
	if err != nil {
		stream.Close()
		return nil, fmt.Errorf("opening an AMQP connection: %w", translate(err))
	}
	receiver, err := k.open(ctx, conn, e)
	if err != nil {
		closeQuietly(conn)
		return nil, fmt.Errorf("attaching to the relay: %w", translate(err))
	}
	serving, stop := context.WithCancel(context.Background())
	a := &attachment{conn: conn, stream: kept, stop: stop, done: make(chan struct{}), handle: k.opts.Handle}
	go a.receive(serving, receiver)
	return a, nil
}

// token signs a new token.
func (k *link) token(e Endpoint) string {
	return sas.Sign(sas.ResourceURI(e.Host, e.Path), e.KeyName, e.Key, time.Now().Add(k.lifetime()))
}

// open makes the session and the link pair. The "out" link is never used but
// belongs to what the service calls a listener.
func (k *link) open(ctx context.Context, conn *amqp.Conn, e Endpoint) (*amqp.Receiver, error) {
	session, err := conn.NewSession(ctx, &amqp.SessionOptions{MaxLinks: maxLinks})
	if err != nil {
		return nil, err
	}
	name := "RelayLink_" + guid.New().String()
	address := "sb://" + e.Host + "/" + e.Path + "/"
	properties := map[string]any{
		tokenProperty:                 k.token(e),
		"com.microsoft:client-agent":  "ServiceBus/3.0.51093.14;",
		"com.microsoft:dynamic-relay": false,
		"com.microsoft:listener-type": "RelayedConnection",
		"com.microsoft:tracking-id":   guid.New().String(),
	}
	if _, err := session.NewSender(ctx, address, &amqp.SenderOptions{Name: name + ":out", Properties: properties}); err != nil {
		return nil, err
	}
	return session.NewReceiver(ctx, address, &amqp.ReceiverOptions{
		Name: name + ":in", Properties: properties, Credit: credit, MaxMessageSize: maxMessage,
	})
}

// receive hands on messages until the connection is lost or stopped. A message
// is accepted first: that settles the signal, not what comes of it (protocol
// section 5.6).
func (a *attachment) receive(ctx context.Context, receiver *amqp.Receiver) {
	defer close(a.done)
	for {
		message, err := receiver.Receive(ctx, nil)
		if err != nil {
			a.err = translate(err)
			return
		}
		if err := receiver.AcceptMessage(ctx, message); err != nil {
			a.err = translate(err)
			return
		}
		for _, data := range message.Data {
			a.handle(data)
		}
	}
}

// close ends the connection and returns when no message will be handed on.
func (a *attachment) close() {
	a.stop()
	<-a.done
	closeQuietly(a.conn)
}

// closeQuietly says goodbye, but does not wait for ever for the answer. What
// goes wrong on the way out has no consequence.
func closeQuietly(conn *amqp.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = conn.Close()
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// translate turns errors of the AMQP library into errors of this package. The
// conditions of protocol section 5.5 that no further attempt can change become
// ErrRefused; all others are worth another one.
func translate(err error) error {
	var condition *amqp.Error
	if !errors.As(err, &condition) {
		return err
	}
	switch condition.Condition {
	case amqp.ErrCondUnauthorizedAccess, amqp.ErrCondNotFound,
		"com.microsoft:auth-failed", "com.microsoft:relay-not-found", "com.microsoft:address-already-in-use",
		"com.microsoft:argument-error", "com.microsoft:argument-out-of-range":
		return fmt.Errorf("%w: %s: %.200s", ErrRefused, condition.Condition, condition.Description)
	default:
		return fmt.Errorf("%s: %.200s", condition.Condition, condition.Description)
	}
}
