// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// defaultHandshake is how long a client has from connecting to its begin.
	defaultHandshake = 60 * time.Second
	// writeTimeout bounds one write, so that a client that stopped reading
	// holds nobody up.
	writeTimeout = 10 * time.Second
)

// Options configure [Serve].
type Options struct {
	// Container identifies this end: 32 hex digits, "_G", a number.
	Container string
	// TrackingSuffix is appended to a client's tracking id in the answer to
	// its attach, such as "_G7".
	TrackingSuffix string
	// Authorizer decides about links. Required.
	Authorizer Authorizer
	// Registrar hears of listeners. Required.
	Registrar Registrar
	// TokenGrace is how long a link outlives its token, for the renewal to
	// arrive: the service's own library renews 10 s after expiry, and never
	// sooner than 4 minutes after the last renewal.
	TokenGrace time.Duration
	// HandshakeTimeout bounds everything before the session; zero means a minute.
	HandshakeTimeout time.Duration
}

// Authorizer decides whether a link may be attached, or stay.
type Authorizer interface {
	// Authorize judges a token for a relay address, such as
	// sb://namespace.servicebus.test/path/. A [*Refusal] goes to the client as
	// it is; any other error becomes an internal error without its text.
	Authorize(address, token string) (Grant, error)
}

// Grant is what a token was good for.
type Grant struct {
	Principal string    // whose token it was
	Expiry    time.Time // until when
}

// Registrar hears of receiving links. Both methods are called without locks
// held and must not block; each Listener is announced and withdrawn once.
type Registrar interface {
	Attached(*Listener)
	Detached(*Listener)
}

// Conditions of errors sent to clients. A client stops reconnecting on
// ConditionRelayNotFound; on others it tries again.
const (
	ConditionUnauthorized  = "amqp:unauthorized-access"
	ConditionRelayNotFound = "com.microsoft:relay-not-found"
	conditionInternal      = "amqp:internal-error"
	conditionNotAllowed    = "amqp:not-allowed"
	conditionDecode        = "amqp:decode-error"
	conditionLimit         = "amqp:resource-limit-exceeded"
	conditionForced        = "amqp:connection:forced"
	conditionNotImpl       = "amqp:not-implemented"
)

// Refusal is an error for the client: a condition and a text.
type Refusal struct {
	Condition   string
	Description string
}

// Error returns the text for the client.
func (r *Refusal) Error() string { return r.Description + " (" + r.Condition + ")" }

func (r *Refusal) value() described {
	return described{uint64(descError), list{symbol(r.Condition), r.Description, nil}}
}

// protocol headers: "AMQP", protocol id, version 1.0.0.
var (
	headerSASL = [8]byte{'A', 'M', 'Q', 'P', 3, 1, 0, 0}
	headerAMQP = [8]byte{'A', 'M', 'Q', 'P', 0, 1, 0, 0}
)

var mechanisms = []symbol{"EXTERNAL", "MSSBCBS", "PLAIN", "ANONYMOUS"}

// connection is the state of one connection.
type connection struct {
	opts Options
	net  net.Conn

	// mu orders writes and protects everything below.
	mu      sync.Mutex
	closed  bool // a close frame was sent, or the stream failed
	channel uint16
	// maxFrame is the largest frame the client reads.
	maxFrame uint32
	session  *session
}

// Serve runs a connection until the client closes it (nil), it fails, or ctx
// ends, in which case the client is told. It closes conn in any case. Every
// Write to conn is one message.
func Serve(ctx context.Context, conn net.Conn, opts Options) error {
	c := &connection{opts: opts, net: conn}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() {
		c.close(&Refusal{conditionForced, "the service is stopping"})
		conn.Close()
	})
	defer stop()
	defer c.abandon()

	timeout := opts.HandshakeTimeout
	if timeout == 0 {
		timeout = defaultHandshake
	}
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("bounding the AMQP handshake: %w", err)
	}
	if err := c.sasl(); err != nil {
		return fmt.Errorf("authenticating an AMQP client: %w", err)
	}
	idle, err := c.open()
	if err != nil {
		return fmt.Errorf("opening an AMQP connection: %w", err)
	}
	if idle > 0 {
		defer c.keepAlive(idle)()
	}
	err = c.run()
	switch refusal := (*Refusal)(nil); {
	case ctx.Err() != nil:
		return fmt.Errorf("serving an AMQP connection: %w", context.Cause(ctx))
	case errors.Is(err, errClosed):
		return nil
	case errors.As(err, &refusal):
		c.close(refusal)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed):
		c.close(&Refusal{conditionDecode, err.Error()})
	}
	return fmt.Errorf("serving an AMQP connection: %w", err)
}

// header reads a protocol header, which must be the wanted one, and answers it.
func (c *connection) header(want [8]byte) error {
	var got [8]byte
	if _, err := io.ReadFull(c.net, got[:]); err != nil {
		return err
	}
	err := c.write(want[:]) // also the answer to a header that is not supported
	if got != want {
		return fmt.Errorf("the client sent protocol header % X where % X is due", got, want)
	}
	return err
}

// sasl accepts EXTERNAL, which carries no credential here: what counts is the
// token of each link.
func (c *connection) sasl() error {
	if err := c.header(headerSASL); err != nil {
		return err
	}
	if err := c.send(frameSASL, descMechanisms, list{mechanisms}); err != nil {
		return err
	}
	f, err := readFrame(c.net)
	if err != nil {
		return err
	}
	if f.kind != frameSASL || f.code != descInit {
		return errors.New("the client did not choose a mechanism")
	}
	if mechanism := text(f.body.field(0)); mechanism != "EXTERNAL" {
		return errors.Join(fmt.Errorf("the client chose mechanism %.32q; only EXTERNAL is for listeners", mechanism),
			c.send(frameSASL, descOutcome, list{uint8(1), nil}))
	}
	if err := c.send(frameSASL, descOutcome, list{uint8(0), []byte("Welcome!")}); err != nil {
		return err
	}
	return c.header(headerAMQP)
}

// open exchanges opens and begins, and returns the client's idle time-out.
func (c *connection) open() (idle time.Duration, err error) {
	f, err := c.next()
	if err != nil {
		return 0, err
	}
	if f.code != descOpen {
		return 0, fmt.Errorf("the client sent performative %#02x where open is due", f.code)
	}
	c.maxFrame = max(number32(f.body.field(2), 0xFFFFFFFF), 512)
	idle = time.Duration(number32(f.body.field(4), 0)) * time.Millisecond
	reply := list{c.opts.Container, nil, uint32(MaxFrame), uint16(8191), nil, nil, nil, nil, nil, nil}
	if err := c.send(frameAMQP, descOpen, reply); err != nil {
		return 0, err
	}
	f, err = c.next()
	if err != nil {
		return 0, err
	}
	if f.code != descBegin {
		return 0, fmt.Errorf("the client sent performative %#02x where begin is due", f.code)
	}
	c.channel = f.channel
	c.session = newSession(f.body)
	reply = list{f.channel, c.session.nextOutgoing, uint32(window), uint32(window), uint32(handleMax), nil, nil, nil}
	if err := c.send(frameAMQP, descBegin, reply); err != nil {
		return 0, err
	}
	return idle, c.net.SetReadDeadline(time.Time{})
}

// next reads the next AMQP frame that is not a keep-alive.
func (c *connection) next() (frame, error) {
	for {
		f, err := readFrame(c.net)
		if err != nil {
			return frame{}, err
		}
		if f.kind != frameAMQP {
			return frame{}, errors.New("the client sent a SASL frame after SASL had ended")
		}
		if f.code != 0 {
			return f, nil
		}
	}
}

// keepAlive writes empty frames at half of the client's idle time-out until the
// returned function is called. Without an idle time-out none must be written:
// there are clients that fail on one (protocol section 5.7).
func (c *connection) keepAlive(idle time.Duration) (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(max(idle/2, 100*time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if c.write(emptyFrame) != nil {
					return
				}
			}
		}
	})
	return func() {
		close(done)
		ended.Wait()
	}
}

// send writes a frame on the session's channel, zero before there is one.
func (c *connection) send(kind byte, code uint64, fields list) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendLocked(kind, code, fields)
}

func (c *connection) sendLocked(kind byte, code uint64, fields list) error {
	return c.writeLocked(encodeFrame(kind, c.channel, code, fields, 0))
}

func (c *connection) write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(b)
}

func (c *connection) writeLocked(b []byte) error {
	if c.closed {
		return net.ErrClosed
	}
	if err := c.net.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := c.net.Write(b); err != nil {
		c.closed = true
		return err
	}
	return nil
}

// close sends a close frame, with the reason if there is one, unless one was
// sent before.
func (c *connection) close(reason *Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fields := list{nil}
	if reason != nil {
		fields = list{reason.value()}
	}
	if !c.closed {
		// Whether the client hears it changes nothing any more.
		_ = c.writeLocked(encodeFrame(frameAMQP, 0, descClose, fields, 0))
	}
	c.closed = true
}
