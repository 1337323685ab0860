// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/tls"
	"sync"
	"time"
)

const (
	// sessionLife is for how long after a full handshake with a host its sessions
	// are resumed. A resumed session trusts the certificate, and what was stapled to
	// it, of that handshake.
	sessionLife = 10 * time.Minute

	// sessionHosts bounds the hosts whose sessions are kept: relay instances come
	// and go under names of their own.
	sessionHosts = 128
)

// sessions resumes TLS sessions with hosts that a full handshake has proved within
// sessionLife: a rendezvous is one connection for one sign-in, and the handshake
// is a good part of what that costs. It is a tls.ClientSessionCache; its verify
// must be called for every connection that uses it (decision 15).
//
// A session that was made with a client certificate belongs to that certificate:
// one sessions serves one of them.
type sessions struct {
	now func() time.Time

	mu     sync.Mutex // protects what follows
	cached tls.ClientSessionCache
	// proved is when each host has passed a full handshake.
	proved map[string]time.Time
}

func newSessions() *sessions {
	s := &sessions{now: time.Now}
	s.forget()
	return s
}

// forget drops everything; the caller holds mu, or is the only one to know s.
func (s *sessions) forget() {
	s.cached, s.proved = tls.NewLRUClientSessionCache(sessionHosts), map[string]time.Time{}
}

// resuming returns a copy of settings that resumes sessions and notes full
// handshakes. What settings verify is verified of resumed sessions as well.
func (s *sessions) resuming(settings *tls.Config) *tls.Config {
	settings = settings.Clone()
	settings.ClientSessionCache = s
	check := settings.VerifyConnection
	settings.VerifyConnection = func(state tls.ConnectionState) error {
		var err error
		if check != nil {
			err = check(state)
		}
		s.noteHandshake(state, err)
		return err
	}
	return settings
}

// Get implements tls.ClientSessionCache.
func (s *sessions) Get(host string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fresh(host) {
		s.cached.Put(host, nil)
		return nil, false
	}
	return s.cached.Get(host)
}

// Put implements tls.ClientSessionCache.
func (s *sessions) Put(host string, session *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cached.Put(host, session)
}

func (s *sessions) fresh(host string) bool {
	at, ok := s.proved[host]
	return ok && s.now().Sub(at) < sessionLife
}

// noteHandshake notes what came of a handshake. A session that does not pass any
// more, because what was stapled is out of date, is not tried again.
func (s *sessions) noteHandshake(state tls.ConnectionState, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	host := state.ServerName
	switch {
	case err != nil:
		delete(s.proved, host)
		s.cached.Put(host, nil)
	case !state.DidResume:
		if len(s.proved) >= sessionHosts {
			for other := range s.proved {
				if !s.fresh(other) {
					delete(s.proved, other)
				}
			}
			if len(s.proved) >= sessionHosts {
				s.forget()
			}
		}
		s.proved[host] = s.now()
	}
}
