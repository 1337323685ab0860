// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ldapserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/hack/internal/testaddress"
)

// Options configures a Server.
type Options struct {
	// Listen is a loopback address, or one kept for documentation (RFC 5737), with a
	// port; port 0 takes a free one.
	Listen string
	// Dir is where the CA lives, so that a server that is started again is
	// trusted as before. It is created if missing.
	Dir string
	// Users are the accounts; nil means Users().
	Users []User
	// HostNames are added to localhost and the loopback addresses in the
	// server's certificate; HostNamesOnly leaves those out.
	HostNames     []string
	HostNamesOnly bool
	// StartTLS has connections begin in clear text, as on port 389: TLS begins when
	// the client asks for it, and nothing else is answered before.
	StartTLS bool
	// AcceptEverything makes every bind succeed: what a canary must notice.
	AcceptEverything bool
	// OnBind, if set, is called with the name in each bind before it is
	// answered. It may block, which holds the answer back.
	OnBind func(name string)
	// Logger may be left out.
	Logger logr.Logger
}

// Server is a running directory.
type Server struct {
	listener         net.Listener
	tls              *tls.Config
	caFile           string
	users            map[string]User
	startTLS         bool
	acceptEverything bool
	onBind           func(string)
	log              logr.Logger

	stopping context.Context // ends when Close is called
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu       sync.Mutex // protects what follows
	outage   bool
	open     map[net.Conn]struct{}
	accepted int
	binds    int
}

// Start listens and serves until ctx ends or Close is called.
func Start(ctx context.Context, opts Options) (*Server, error) {
	host, err := testHost(opts.Listen)
	if err != nil {
		return nil, err
	}
	authority, err := openAuthority(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("prepare the directory's CA in %s: %w", opts.Dir, err)
	}
	names := opts.HostNames
	if !opts.HostNamesOnly {
		names = append([]string{"localhost", "127.0.0.1", "::1"}, names...)
		if !host.IsLoopback() {
			names = append(names, host.String())
		}
	}
	certificate, err := authority.issue(names)
	if err != nil {
		return nil, fmt.Errorf("issue the directory's certificate: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("start the directory: %w", err)
	}
	if opts.Users == nil {
		opts.Users = Users()
	}
	if opts.OnBind == nil {
		opts.OnBind = func(string) {}
	}
	if opts.Logger.GetSink() == nil {
		opts.Logger = logr.Discard()
	}
	s := &Server{
		listener:         listener,
		tls:              &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}},
		caFile:           authority.file,
		users:            make(map[string]User),
		startTLS:         opts.StartTLS,
		acceptEverything: opts.AcceptEverything,
		onBind:           opts.OnBind,
		log:              opts.Logger,
		open:             make(map[net.Conn]struct{}),
	}
	for _, u := range opts.Users {
		s.users[strings.ToLower(u.Name)] = u
	}
	s.stopping, s.stop = context.WithCancel(ctx)
	context.AfterFunc(s.stopping, s.shut)
	s.running.Go(s.accept)
	return s, nil
}

// testHost returns the address, if no network can reach it.
func testHost(listen string) (netip.Addr, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("listen address %q is not host:port: %w", listen, err)
	}
	address, err := netip.ParseAddr(host)
	if err != nil || !testaddress.IsSafe(address) {
		return netip.Addr{}, fmt.Errorf("listen address %q is not a loopback address, nor one kept for documentation; this directory is for tests, its password is public", listen)
	}
	return address, nil
}

// Addr is the host:port that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// CAFile is the path of the PEM file with the server's CA.
func (s *Server) CAFile() string { return s.caFile }

// Binds is the number of bind requests received so far.
func (s *Server) Binds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.binds
}

// Connections is the number of connections accepted so far.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// SetOutage begins or ends an outage: while it lasts, the server hangs up on
// everyone, in the middle of a bind, too.
func (s *Server) SetOutage(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = on
	if on {
		s.hangUp()
	}
	s.log.Info("outage", "on", on)
}

// hangUp closes every connection; s.mu is held.
func (s *Server) hangUp() {
	for c := range s.open {
		c.Close()
	}
}

// Close stops the server and waits until nothing of it runs.
func (s *Server) Close() {
	s.stop()
	s.running.Wait()
}

func (s *Server) shut() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUp()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if s.stopping.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, most likely; try again when some are free.
			s.log.Error(err, "accept failed")
			s.pause(100 * time.Millisecond)
			continue
		}
		if !s.admit(conn) {
			conn.Close()
			continue
		}
		s.running.Go(func() {
			defer s.dismiss(conn)
			if s.startTLS && !takeStartTLS(conn) {
				return
			}
			s.serve(tls.Server(conn, s.tls))
		})
	}
}

// pause waits, and reports false if the server stops before the time is up.
func (s *Server) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stopping.Done():
		return false
	}
}

func (s *Server) admit(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outage || s.stopping.Err() != nil {
		return false
	}
	s.accepted++
	s.open[conn] = struct{}{}
	return true
}

func (s *Server) dismiss(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
}
