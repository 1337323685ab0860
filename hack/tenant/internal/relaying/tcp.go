// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package relaying

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
)

// TakeSignalling serves a TCP connection on which a connector listens: AMQP
// directly in TLS (protocol section 5.9). known tells the host names that may
// be asked for. It returns when the connection has ended, which Close sees to.
func (r *Relay) TakeSignalling(conn net.Conn, settings *tls.Config, known func(host string) bool) {
	defer conn.Close()
	secured, err := r.secure(conn, settings, known, nil)
	if err != nil {
		r.opts.Log.V(1).Info("Refused a connection for AMQP", "why", err.Error())
		return
	}
	r.listen(secured)
}

// TakeRendezvous serves a TCP connection on which a connector meets a caller of
// Connect: it announces itself first, then comes TLS (protocol section 5.9).
// Connections that announce no TLS are refused. It returns when the connection
// has ended, which Close sees to.
func (r *Relay) TakeRendezvous(conn net.Conn, settings *tls.Config, known func(host string) bool) {
	defer conn.Close()
	secured, err := r.secure(conn, settings, known, func() error {
		prelude, err := relay.ReadPrelude(conn)
		if err == nil && !prelude.TLS {
			err = errors.New("it announces no TLS, which is not served")
		}
		return err
	})
	if err != nil {
		r.opts.Log.V(1).Info("Refused a relayed connection", "why", err.Error())
		return
	}
	// The connection ends with the relay, as a WebSocket's does.
	stop := context.AfterFunc(r.ctx, func() { conn.Close() })
	defer stop()
	r.bridge(secured, secured.ConnectionState().ServerName)
}

// secure reads what comes before TLS and shakes hands, within the time for an
// accept exchange.
func (r *Relay) secure(conn net.Conn, settings *tls.Config, known func(host string) bool, before func() error) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(r.ctx, acceptTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if before != nil {
		if err := before(); err != nil {
			return nil, err
		}
	}
	secured := tls.Server(conn, settings)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("shaking hands: %w", err)
	}
	if host := secured.ConnectionState().ServerName; !known(host) {
		return nil, fmt.Errorf("there is no host %.128q on this port", host)
	}
	if !stop() {
		return nil, errors.New("the time was up")
	}
	return secured, conn.SetDeadline(time.Time{})
}
