// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/go-ldap/ldap/v3"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

// errNotSent marks a bind that cannot have reached the server.
var errNotSent = errors.New("the bind was not sent")

// connection carries one bind at a time to a server.
type connection struct {
	raw     net.Conn // the TCP connection, closed to interrupt what blocks
	secured *tls.Conn
	wire    *wire
	ldap    *ldap.Conn
	made    time.Time
	expiry  *time.Timer // set while idle; protected by server.mu
}

// connect dials and completes the TLS handshake, which checks the certificate
// chain and the host name, within ctx. Nothing is sent in clear text but the wish
// for TLS, if the server has to be told.
func (s *server) connect(ctx context.Context) (*connection, error) {
	raw, err := s.dial(ctx, "tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if s.startTLS {
		if err := startTLS(ctx, raw); err != nil {
			raw.Close()
			return nil, &handshakeError{err}
		}
	}
	secured := tls.Client(raw, s.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, &handshakeError{err}
	}
	w := &wire{Conn: secured}
	c := &connection{raw: raw, secured: secured, wire: w, ldap: ldap.NewConn(w, true), made: time.Now()}
	c.ldap.Start()
	return c, nil
}

// handshakeError is a failure after TCP was connected.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// connectCode tells a server that cannot be reached (1311) from one that is
// reached and cannot be trusted, or does not speak TLS (1359).
func connectCode(err error) Code {
	if _, ok := errors.AsType[*handshakeError](err); !ok {
		return NoLogonServers
	}
	// A TLS alert of the server's looks like a network error, but for its name.
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Op == "remote error" {
		return InternalError
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return NoLogonServers
	}
	return InternalError
}

// bind sends a simple bind and waits for the answer. A nil error means that the
// server accepted it; one that is [answered], that it answered otherwise; any
// other, that it did not answer. errNotSent is among the latter's causes if the
// bind cannot have reached it.
//
// The LDAP library wants a string. It gets one that shares the buffer's memory
// and lives for this call. The library then copies it into the packet it
// encodes (asn1-ber copies at every level of nesting, four times for a bind);
// these copies cannot be reached from here and stay on the heap, unreferenced,
// until the collector reuses their memory. crypto/tls encrypts in place and
// keeps none.
func (c *connection) bind(ctx context.Context, upn string, password *secret.Buffer) error {
	if err := ctx.Err(); err != nil {
		return errors.Join(errNotSent, err)
	}
	b := password.Bytes()
	if upn == "" || len(b) == 0 {
		// Callers have checked this. It is checked again where the harm would be
		// done, since a server answers an anonymous bind with success.
		return errNotSent
	}
	// Closing the TCP connection interrupts reads and writes, which ends the
	// library's goroutines and with them the call below.
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	defer stop()

	c.wire.begin()
	err := c.ldap.Bind(upn, unsafe.String(unsafe.SliceData(b), len(b))) //nolint:gosec // see above: a copy could not be zeroed
	runtime.KeepAlive(password)
	if err == nil {
		return nil
	}
	if _, ok := answered(err); ok {
		return err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if !c.wire.sent() {
		return errors.Join(errNotSent, err)
	}
	return fmt.Errorf("no answer to the bind: %w", err)
}

// answered returns the server's answer, if err is one. The library uses the
// same type for its own troubles, which have no packet.
func answered(err error) (*ldap.Error, bool) {
	var answer *ldap.Error
	if errors.As(err, &answer) && answer.Packet != nil {
		return answer, true
	}
	return nil, false
}

// usable reports whether the connection is open, as far as is known, and young
// enough. The library reads all the time, so it notices a server that hangs up.
func (c *connection) usable() bool {
	return !c.ldap.IsClosing() && time.Since(c.made) < maxAge
}

// close does not block: with TCP gone, nothing it waits for can.
func (c *connection) close() {
	c.raw.Close()
	_ = c.ldap.Close()
}

// maxResponse bounds what is read in answer to one bind. A response is some
// 200 bytes; the library by itself would read up to 2 GiB.
const maxResponse = 64 << 10

// wire is the TLS connection as the library sees it. It knows whether a request
// got out whole, and limits responses.
type wire struct {
	net.Conn
	written atomic.Bool
	budget  atomic.Int64
}

// begin prepares for one request.
func (w *wire) begin() {
	w.written.Store(false)
	w.budget.Store(maxResponse)
}

// sent reports whether the request may have reached the server. A write that
// failed left a TLS record incomplete, which no server can decrypt.
func (w *wire) sent() bool { return w.written.Load() }

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	if err == nil {
		w.written.Store(true)
	}
	return n, err
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.budget.Add(-int64(n)) < 0 {
		return 0, errors.New("the server's response is longer than a bind response can be")
	}
	return n, err
}
