// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

const (
	// portLDAPS and portLDAP are the ports of LDAP over TLS and of LDAP that begins
	// in clear text.
	portLDAPS, portLDAP = "636", "389"
	// downFor is how long a server that failed is asked last; half of it is
	// jitter, so that connectors do not return to it all at once.
	downFor = 20 * time.Second
	// maxAge is when a connection is replaced although it is busy, so that a
	// change of the server's address or certificate is noticed.
	maxAge = 10 * time.Minute
)

// server is one domain controller and the pool of connections to it.
type server struct {
	address  string // host:port
	startTLS bool   // TLS begins when asked for, not with the first byte
	tls      *tls.Config
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	idleFor  time.Duration
	slots    chan struct{} // a token per validation; idle connections are used first, so it bounds connections, too

	mu        sync.Mutex    // protects what follows
	idle      []*connection // the last is the most recently used
	downUntil time.Time
	closed    bool
}

// parseServer reads the URL of a server: ldaps://, or ldap:// if TLS begins by
// StartTLS.
func parseServer(raw string, startTLS bool) (host, port string, err error) {
	scheme, port := "ldaps", portLDAPS
	if startTLS {
		scheme, port = "ldap", portLDAP
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("server %q is not a URL of the form %s://host:%s: %w", raw, scheme, port, err)
	}
	if u.Scheme != scheme || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || (u.Path != "" && u.Path != "/") {
		return "", "", fmt.Errorf("server %q must be of the form %s://host or %s://host:%s; a bind carries the password, so there is no clear-text form", u.Redacted(), scheme, scheme, port)
	}
	return u.Hostname(), cmp.Or(u.Port(), port), nil
}

func newServer(host, port string, roots *x509.CertPool, startTLS bool, opts LDAPOptions) *server {
	return &server{
		address:  net.JoinHostPort(host, port),
		startTLS: startTLS,
		tls:      &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: host},
		dial:     opts.Dial,
		idleFor:  opts.IdleTimeout,
		slots:    make(chan struct{}, opts.MaxConnections),
	}
}

// validate binds on one connection. final is false if this server certainly has
// not judged the password, so that another may be asked; result then says why.
func (s *server) validate(ctx context.Context, connectWithin time.Duration, upn string, password *secret.Buffer) (result Result, final bool) {
	connectCtx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-connectCtx.Done():
		return Refused(NoSystemResources, fmt.Errorf("all %d connections are in use: %w", cap(s.slots), context.Cause(connectCtx))), false
	}

	c := s.takeIdle()
	for {
		reused := c != nil
		if !reused {
			var err error
			if c, err = s.connect(connectCtx); err != nil {
				s.markDown(ctx)
				return Refused(connectCode(err), err), false
			}
		}
		err := c.bind(ctx, upn, password)
		if errors.Is(err, errNotSent) && reused && ctx.Err() == nil {
			// The server dropped an idle connection and we had not noticed yet.
			c.close()
			c = nil
			continue
		}
		result, final, keep := judge(err)
		if keep {
			s.giveBack(c)
		} else {
			c.close()
			s.markDown(ctx)
		}
		return result, final
	}
}

// takeIdle returns the most recently used idle connection that is still open,
// or nil.
func (s *server) takeIdle() *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 {
		last := len(s.idle) - 1
		c := s.idle[last]
		s.idle = slices.Delete(s.idle, last, last+1)
		c.expiry.Stop()
		if c.usable() {
			return c
		}
		c.close()
	}
	return nil
}

// giveBack keeps a connection that has just carried a complete bind. It may
// carry another: a bind replaces whatever the connection was bound as, and
// nothing but binds is ever sent on it.
func (s *server) giveBack(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !c.usable() {
		c.close()
		return
	}
	c.expiry = time.AfterFunc(s.idleFor, func() { s.expire(c) })
	s.idle = append(s.idle, c)
}

// expire closes a connection that is still idle.
func (s *server) expire(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.idle, c); i >= 0 {
		s.idle = slices.Delete(s.idle, i, i+1)
		c.close()
	}
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.idle {
		c.expiry.Stop()
		c.close()
	}
	s.idle = nil
}

// markDown makes this server the last to be asked for a while, unless it was
// the caller who gave up.
func (s *server) markDown(ctx context.Context) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.downUntil = time.Now().Add(downFor/2 + rand.N(downFor/2)) //nolint:gosec // jitter needs no secrecy
}

func (s *server) isDown(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.downUntil)
}
