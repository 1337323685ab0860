// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package connectproxy is an HTTP CONNECT proxy that leads every host of the
// tenant to the tenant's listeners, and nowhere else. With it, connectors and
// operators run unchanged without DNS for those hosts, and on machines whose
// real ports are taken or not allowed.
package connectproxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

const dialTimeout = 5 * time.Second

// Proxy serves CONNECT. It is safe for concurrent use.
type Proxy struct {
	// Domains whose hosts are led to a target; they themselves are no hosts.
	Domains []string
	// Target returns the address of the listener that stands for a port; false
	// if there is none.
	Target func(port string) (address string, ok bool)
	Tally  *tally.Tally
	Log    logr.Logger

	mu      sync.Mutex
	closed  bool
	tunnels map[net.Conn]struct{} // both ends of each
	open    sync.WaitGroup
}

// ServeHTTP serves one CONNECT to its end.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		w.Header().Set("Allow", http.MethodConnect)
		http.Error(w, "this proxy serves CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	host, port, err := net.SplitHostPort(r.Host)
	target, open := p.Target(port)
	if err != nil || !p.ours(host) || !open {
		p.Tally.Count(tally.ProxyRefused)
		p.Log.Info("Refused a tunnel", "host", r.Host)
		http.Error(w, "this proxy leads to the test tenant's hosts and ports only", http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), dialTimeout)
	defer cancel()
	upstream, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		p.Log.Error(err, "Cannot reach a listener of the tenant")
		http.Error(w, "the tenant does not answer", http.StatusBadGateway)
		return
	}
	defer upstream.Close()
	client, ok := hijack(w)
	if !ok {
		return
	}
	defer client.Close()
	if !p.track(client, upstream) {
		return
	}
	defer p.forget(client, upstream)
	p.Tally.Count(tally.ProxyTunnels)
	join(client, upstream)
}

// ours reports whether a host belongs to the tenant.
func (p *Proxy) ours(host string) bool {
	for _, domain := range p.Domains {
		if strings.HasSuffix(strings.ToLower(host), "."+strings.ToLower(domain)) {
			return true
		}
	}
	return false
}

// buffered is a connection some of which has been read already.
type buffered struct {
	net.Conn
	r io.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// hijack takes the connection over and tells the client that it is connected.
func hijack(w http.ResponseWriter) (net.Conn, bool) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "the connection cannot be taken over", http.StatusInternalServerError)
		return nil, false
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		conn.Close()
		return nil, false
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		conn.Close()
		return nil, false
	}
	return buffered{conn, rw.Reader}, true
}

// join copies both ways until both directions have ended.
func join(a, b net.Conn) {
	var ended sync.WaitGroup
	ended.Go(func() { pour(a, b) })
	ended.Go(func() { pour(b, a) })
	ended.Wait()
}

// pour copies one direction, then passes its end on.
func pour(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if inner, ok := to.(buffered); ok {
		to = inner.Conn
	}
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		if half.CloseWrite() == nil {
			return
		}
	}
	to.Close()
	from.Close()
}

// track remembers a tunnel for Close; false means that it is too late.
func (p *Proxy) track(ends ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if p.tunnels == nil {
		p.tunnels = map[net.Conn]struct{}{}
	}
	for _, c := range ends {
		p.tunnels[c] = struct{}{}
	}
	p.open.Add(1)
	return true
}

func (p *Proxy) forget(ends ...net.Conn) {
	p.mu.Lock()
	for _, c := range ends {
		delete(p.tunnels, c)
	}
	p.mu.Unlock()
	p.open.Done()
}

// Close ends all tunnels, and those that come later.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.tunnels {
		c.Close()
	}
	p.mu.Unlock()
	p.open.Wait()
}
