// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
)

// amqps reaches the relay over TLS without WebSockets (protocol section 5.9):
// the transport of that name.
type amqps struct {
	dialer *net.Dialer
	// proxy is host and port of an HTTP CONNECT proxy; empty: none.
	proxy string
	tls   *tls.Config
}

func newAMQPS(proxyURL string, tlsConfig *tls.Config) (*amqps, error) {
	d := &amqps{dialer: newDialer(), tls: tlsConfig}
	if proxyURL != "" {
		u, err := url.Parse(proxyURL)
		if err != nil {
			return nil, fmt.Errorf("reading the proxy's URL: %w", err)
		}
		d.proxy = u.Host
	}
	return d, nil
}

// listen opens the byte stream of a signalling link.
func (d *amqps) listen(ctx context.Context, host string) (net.Conn, error) {
	return d.open(ctx, host, config.PortAMQP, nil)
}

// meet opens the byte stream to a relay instance, whose host and port have been
// checked. It goes to the instance's name, as it does by WebSocket: only a name
// can be pinned and proven by a certificate. The address that the signal names
// beside is repeated where the protocol wants it.
func (d *amqps) meet(ctx context.Context, to relay.Connect) (net.Conn, error) {
	return d.open(ctx, to.InstanceDNSAddress, to.IPPort, relay.AppendPrelude(nil, to.IPAddress, to.IPPort))
}

// open connects, writes what comes before TLS, and shakes hands.
func (d *amqps) open(ctx context.Context, host string, port int, prelude []byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	address := net.JoinHostPort(host, strconv.Itoa(port))
	raw, err := d.connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	secured, err := d.secure(ctx, raw, host, prelude)
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("securing the connection to %s: %w", address, err)
	}
	return secured, nil
}

func (d *amqps) secure(ctx context.Context, raw net.Conn, host string, prelude []byte) (net.Conn, error) {
	deadline, _ := ctx.Deadline() // open has set one
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if len(prelude) > 0 {
		if _, err := raw.Write(prelude); err != nil {
			return nil, err
		}
	}
	settings := d.tls.Clone()
	settings.ServerName = host
	conn := tls.Client(raw, settings)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn, raw.SetDeadline(time.Time{})
}

// connect opens a TCP connection, through the proxy if there is one.
func (d *amqps) connect(ctx context.Context, address string) (net.Conn, error) {
	if d.proxy == "" {
		return d.dialer.DialContext(ctx, "tcp", address)
	}
	conn, err := d.dialer.DialContext(ctx, "tcp", d.proxy)
	if err != nil {
		return nil, fmt.Errorf("reaching the proxy: %w", err)
	}
	if err := tunnel(ctx, conn, address); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// maxProxyAnswer bounds the header of a proxy's answer, in bytes.
const maxProxyAnswer = 16 << 10

// tunnel asks a proxy to connect (RFC 9110 9.3.6).
func tunnel(ctx context.Context, conn net.Conn, address string) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if err := request.Write(conn); err != nil {
		return fmt.Errorf("asking the proxy: %w", err)
	}
	// A proxy may not say anything more until it is sent something, and what it
	// said nevertheless would be lost here.
	reader := bufio.NewReader(io.LimitReader(conn, maxProxyAnswer))
	response, err := http.ReadResponse(reader, request) //nolint:bodyclose // see below
	if err != nil {
		return fmt.Errorf("reading the proxy's answer: %w", err)
	}
	// The body is not closed, which would wait for its end: an answer to CONNECT has
	// none, whatever its header says of a length.
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the proxy answered %.100s", response.Status)
	}
	if reader.Buffered() > 0 {
		return errors.New("the proxy speaks before the host does")
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return nil
}
