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
)

// streams opens connections to the cloud below HTTP: plain ones, and ones that
// have shaken hands.
type streams struct {
	dialer *net.Dialer
	// proxy is host and port of an HTTP CONNECT proxy; empty: none.
	proxy string
	tls   *tls.Config
}

func newStreams(proxyURL string, tlsConfig *tls.Config) (*streams, error) {
	s := &streams{dialer: newDialer(), tls: tlsConfig}
	if proxyURL != "" {
		u, err := url.Parse(proxyURL)
		if err != nil {
			return nil, fmt.Errorf("reading the proxy's URL: %w", err)
		}
		s.proxy = u.Host
	}
	return s, nil
}

// open connects, writes what comes before TLS, and shakes hands.
func (s *streams) open(ctx context.Context, host string, port int, prelude []byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	address := net.JoinHostPort(host, strconv.Itoa(port))
	raw, err := s.connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	secured, err := s.secure(ctx, raw, host, prelude)
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("securing the connection to %s: %w", address, err)
	}
	return secured, nil
}

func (s *streams) secure(ctx context.Context, raw net.Conn, host string, prelude []byte) (net.Conn, error) {
	deadline, _ := ctx.Deadline() // open has set one
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if len(prelude) > 0 {
		if _, err := raw.Write(prelude); err != nil {
			return nil, err
		}
	}
	settings := s.tls.Clone()
	settings.ServerName = host
	conn := tls.Client(raw, settings)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn, raw.SetDeadline(time.Time{})
}

// connect opens a TCP connection, through the proxy if there is one.
func (s *streams) connect(ctx context.Context, address string) (net.Conn, error) {
	if s.proxy == "" {
		return s.dialer.DialContext(ctx, "tcp", address)
	}
	conn, err := s.dialer.DialContext(ctx, "tcp", s.proxy)
	if err != nil {
		return nil, fmt.Errorf("reaching the proxy: %w", err)
	}
	if err := tunnel(ctx, conn, address); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// proxyRefusal is a proxy's answer that is not yes.
type proxyRefusal struct {
	code   int
	status string
}

func (e *proxyRefusal) Error() string { return fmt.Sprintf("the proxy answered %.100s", e.status) }

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
		return &proxyRefusal{response.StatusCode, response.Status}
	}
	if reader.Buffered() > 0 {
		return errors.New("the proxy speaks before the host does")
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return nil
}
