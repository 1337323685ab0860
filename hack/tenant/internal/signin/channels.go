// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/relaying"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

// destination is what a channel leads to: a connector by one relay address. The
// link that found it may have been replaced since.
type destination struct{ connectorID, via string }

// channels are the open ones. It is safe for concurrent use.
type channels struct {
	mu     sync.Mutex
	open   map[destination][]*channel
	closed bool
}

// take returns a channel with room for a signal, which may still have to
// connect: then begin is called with it. Release the channel after use.
func (cs *channels) take(to destination, begin func() *channel) (*channel, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return nil, errors.New("the tenant is stopping")
	}
	for _, c := range cs.open[to] {
		if c.reserve() {
			return c, nil
		}
	}
	c := begin()
	if cs.open == nil {
		cs.open = map[destination][]*channel{}
	}
	cs.open[to] = append(cs.open[to], c)
	return c, nil
}

func (cs *channels) remove(to destination, c *channel) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.open[to] = slices.DeleteFunc(cs.open[to], func(other *channel) bool { return other == c })
	if len(cs.open[to]) == 0 {
		delete(cs.open, to)
	}
}

// close retires all channels and returns them.
func (cs *channels) close() []*channel {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	var all []*channel
	for _, some := range cs.open {
		all = append(all, some...)
	}
	for _, c := range all {
		c.mu.Lock()
		c.retire()
		c.mu.Unlock()
		c.stir()
	}
	return all
}

// Hangup ends the connections on which further signals would go, and waits until
// the connectors agree or ctx ends. No sign-in can begin then.
func (s *Service) Hangup(ctx context.Context) {
	for _, c := range s.channels.close() {
		select {
		case <-c.gone:
		case <-ctx.Done():
			return
		}
	}
}

// attemptReliable brings a signal to a connector over a channel, an open one if
// there is any.
func (s *Service) attemptReliable(m *signal.Message, l relaying.Listener) attempt {
	to := destination{l.ConnectorID, l.Via}
	c, err := s.channels.take(to, func() *channel {
		c := newChannel(l.Via)
		c.connect = func(ctx context.Context) (net.Conn, error) { return s.opts.Relay.Connect(ctx, l) }
		c.strayed = func() { s.opts.Tally.Count(tally.DefectRelatesTo) }
		c.reach, c.idle = s.opts.AcceptTimeout, s.opts.SessionIdle
		s.opts.Tally.Count(tally.Sessions)
		s.attempts.Go(func() {
			c.run(s.ctx)
			s.channels.remove(to, c)
			s.opts.Log.V(1).Info("A reliable session ended", "connectorID", l.ConnectorID, "via", l.Via, "why", c.cause.Error())
		})
		return c
	})
	if err != nil {
		return attempt{err: err}
	}
	defer c.release()
	select {
	case <-c.ready:
	case <-c.gone: // bounded by its own deadline
		return attempt{err: c.cause}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.AcceptTimeout)
	defer cancel()
	reply, sent, err := c.signal(ctx, m)
	switch {
	case err != nil:
		return attempt{signalled: sent, err: fmt.Errorf("waiting for the signal's acknowledgement: %w", err)}
	case reply.Kind == signal.KindClosingFault:
		return attempt{closing: true, err: errors.New("the connector is closing")}
	case reply.Kind != signal.KindResponse:
		return attempt{signalled: true, err: fmt.Errorf("the connector answered the signal with %s", reply.Action)}
	}
	if reply.Response.ConnectorID != l.ConnectorID {
		s.opts.Tally.Count(tally.DefectConnectorID) // works with the service all the same
	}
	return attempt{signalled: true, taken: true}
}
