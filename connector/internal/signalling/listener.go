// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// Endpoint is one relay address to listen on.
type Endpoint struct {
	// Host to dial, for instance ns.servicebus.windows.net. The caller has checked
	// it against the pinned suffixes.
	Host string
	// Namespace and Domain are the parts of Host.
	Namespace, Domain string
	Path              string
	KeyName, Key      string
}

// Name identifies an endpoint in logs and status: host and path.
func (e Endpoint) Name() string { return e.Host + "/" + e.Path }

// State of a link.
type State string

// The states that Options.Notify reports.
const (
	Connecting State = "Connecting"
	Attached   State = "Attached"
	Waiting    State = "Waiting" // before the next attempt
	Closed     State = "Closed"
)

// Options of a Listener; Dial, Handle and Notify are required.
type Options struct {
	// Dial opens the byte stream to an endpoint's host. Its context ends with the
	// attempt, not with the stream.
	Dial func(ctx context.Context, host string) (net.Conn, error)
	// Handle gets the content of each message. It must not block.
	Handle func(message []byte)
	// Notify learns of every change of a link. err is nil unless the change is
	// for the worse. It must not block.
	Notify func(endpoint string, state State, err error)
	Log    logr.Logger
}

// Tokens are valid for an hour unless the service says otherwise, within these.
const (
	tokenLifetime    = time.Hour
	minTokenLifetime = time.Minute
	maxTokenLifetime = 24 * time.Hour
)

// Listener keeps the links. Create it with New and end it with Close.
type Listener struct {
	opts     Options
	lifetime atomic.Int64 // of tokens

	mu     sync.Mutex         // protects what follows
	links  map[string]running // by the endpoint's name
	closed bool
	wg     sync.WaitGroup
}

// running is a link and what ends it.
type running struct {
	link   *link
	cancel context.CancelFunc
}

// New returns a listener without endpoints.
func New(opts Options) *Listener {
	l := &Listener{opts: opts, links: map[string]running{}}
	l.SetTokenLifetime(0)
	return l
}

// SetTokenLifetime says how long tokens that are made from now on are valid; 0
// means an hour. Less than a minute and more than a day count as those.
func (l *Listener) SetTokenLifetime(d time.Duration) {
	if d == 0 {
		d = tokenLifetime
	}
	l.lifetime.Store(int64(min(max(d, minTokenLifetime), maxTokenLifetime)))
}

func (l *Listener) tokenLifetime() time.Duration { return time.Duration(l.lifetime.Load()) }

// SetEndpoints says where to listen from now on. Links to endpoints that stay
// as they are are not touched; one whose key has changed is attached anew with
// it, and serves with the old one until then. Of two endpoints of one name the
// last counts.
func (l *Listener) SetEndpoints(endpoints []Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	wanted := map[string]Endpoint{}
	for _, e := range endpoints {
		wanted[e.Name()] = e
	}
	for name, r := range l.links {
		if _, ok := wanted[name]; !ok {
			r.cancel()
			delete(l.links, name)
		}
	}
	for name, e := range wanted {
		if r, ok := l.links[name]; ok {
			r.link.change(e)
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		k := newLink(e, l.opts, l.tokenLifetime)
		l.links[name] = running{k, cancel}
		l.wg.Go(func() { k.run(ctx) })
	}
}

// Close detaches every link and returns when all have ended. No message is
// handed on afterwards.
func (l *Listener) Close() {
	l.mu.Lock()
	l.closed = true
	for name, r := range l.links {
		r.cancel()
		delete(l.links, name)
	}
	l.mu.Unlock()
	l.wg.Wait()
}
