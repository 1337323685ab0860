// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package faultproxy is an HTTP CONNECT proxy that breaks connections on
// purpose. It stands between a connector and the tenant's own proxy and can
// break one chosen connection at one chosen moment, so that a test can go
// through all moments one after another.
//
// A moment is counted in chunks: what one read from either end gives. The
// peers speak TLS, so a chunk is about one flight of a handshake or one message
// of a protocol; the exact cut does not matter, since every one is tried.
package faultproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// Kind is what happens to the connection.
type Kind string

// The kinds of faults.
const (
	// Cut closes both ends in good order.
	Cut Kind = "cut"
	// Stall lets nothing through any more, in either direction, and says nothing.
	Stall Kind = "stall"
	// Reset closes both ends with a TCP reset.
	Reset Kind = "reset"
	// HalfClose ends the stream towards the connector; what the connector sends
	// still arrives.
	HalfClose Kind = "half-close"
)

// Kinds lists all kinds.
func Kinds() []Kind { return []Kind{Cut, Reset, HalfClose, Stall} }

// Fault breaks one connection.
type Fault struct {
	Kind Kind
	// Match chooses the connections that count, by the host and port that the
	// connector asked for.
	Match func(target string) bool
	// Chunks is how many chunks of a connection pass, counted from its beginning.
	// The first connection that comes to its next one is broken.
	Chunks int
}

// dialTimeout bounds reaching the proxy behind this one.
const dialTimeout = 10 * time.Second

// Proxy is a running proxy. Create it with Start; its methods may be called
// concurrently.
type Proxy struct {
	listener net.Listener
	upstream string // host:port of the proxy behind this one

	mu      sync.Mutex
	fault   *Fault
	struck  chan struct{} // closed when the fault was inflicted
	stalled []net.Conn
	open    map[net.Conn]string // the target, once it is known
	targets map[string]int
	closed  bool
	running sync.WaitGroup
}

// Start listens on a free loopback port. upstream is the address of the CONNECT
// proxy that makes the real connections.
func Start(upstream string) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the fault proxy: %w", err)
	}
	p := &Proxy{listener: listener, upstream: upstream, open: map[net.Conn]string{}, targets: map[string]int{}}
	p.running.Go(p.accept)
	return p, nil
}

// URL is what a connector's proxyURL is set to.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Arm makes the fitting connections subject to a fault, in place of an earlier
// one that did not strike. The channel is closed when it has struck, which it
// does once.
func (p *Proxy) Arm(f Fault) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.struck = &f, make(chan struct{})
	return p.struck
}

// Disarm takes back a fault that has not struck.
func (p *Proxy) Disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
}

// Heal ends what is stalled.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.stalled {
		c.Close()
	}
	p.stalled = nil
}

// CutAll ends all fitting connections in good order, so that new ones are made.
func (p *Proxy) CutAll(match func(target string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, target := range p.open {
		if target != "" && match(target) {
			c.Close()
		}
	}
}

// Targets says how often each host and port was asked for.
func (p *Proxy) Targets() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.targets)
}

// Close ends the proxy and all connections through it.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	err := p.listener.Close()
	p.running.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // Close
		}
		p.running.Go(func() { p.serve(conn) })
	}
}

// track makes Close end a connection. It reports false if that has happened.
func (p *Proxy) track(c net.Conn, target string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = target
	return !p.closed
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
	c.Close()
}

// serve forwards one CONNECT to the proxy behind this one, and then bytes.
func (p *Proxy) serve(client net.Conn) {
	defer p.drop(client)
	if !p.track(client, "") {
		return
	}
	fromClient := bufio.NewReader(client)
	request, err := http.ReadRequest(fromClient)
	if err != nil || request.Method != http.MethodConnect {
		return
	}
	server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(context.Background(), "tcp", p.upstream)
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.track(server, request.Host) || !p.track(client, request.Host) {
		return
	}
	if _, err := fmt.Fprintf(server, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", request.Host, request.Host); err != nil {
		return
	}
	p.mu.Lock()
	p.targets[request.Host]++
	p.mu.Unlock()
	t := &tunnel{proxy: p, target: request.Host, client: client, server: server}
	var up sync.WaitGroup
	up.Go(func() { t.forward(server, fromClient) })
	t.forward(client, server)
	up.Wait()
}

// errBroken ends a tunnel that a fault has struck.
var errBroken = errors.New("broken on purpose")

// tunnel is one connection through the proxy.
type tunnel struct {
	proxy          *Proxy
	target         string
	client, server net.Conn

	mu     sync.Mutex
	chunks int  // that have passed
	broken Kind // once a fault has struck
}

// forward copies chunks until an end, an error or a fault. An orderly end is
// passed on; the other direction may go on.
func (t *tunnel) forward(to net.Conn, from io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if t.pass(to, buffer[:n]) != nil {
				return
			}
		}
		if err != nil {
			t.end(to)
			return
		}
	}
}

// pass writes a chunk, unless the fault that is armed strikes at it.
func (t *tunnel) pass(to net.Conn, chunk []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == "" {
		t.broken = t.proxy.strike(t)
	}
	switch t.broken {
	case "":
	case HalfClose:
		if to == t.client {
			return errBroken // the end has been sent
		}
	case Stall:
		return nil // swallowed
	default:
		return errBroken
	}
	_, err := to.Write(chunk)
	return err
}

// end passes on an orderly end of one direction.
func (t *tunnel) end(to net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == Stall {
		return
	}
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite() // an end that is gone already needs no end
	}
}

// strike inflicts the armed fault on the tunnel if its moment has come.
func (p *Proxy) strike(t *tunnel) Kind {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == nil || p.fault.Chunks != t.chunks || !p.fault.Match(t.target) {
		t.chunks++
		return ""
	}
	kind := p.fault.Kind
	p.fault = nil
	close(p.struck)
	switch kind {
	case Cut:
		t.client.Close()
		t.server.Close()
	case Reset:
		for _, c := range []net.Conn{t.client, t.server} {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // the close below is orderly then
			}
			c.Close()
		}
	case HalfClose:
		if tcp, ok := t.client.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	case Stall:
		p.stalled = append(p.stalled, t.client, t.server)
	}
	return kind
}
