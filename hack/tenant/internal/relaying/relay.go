// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package relaying is the relay between the cloud and connectors that only dial
// out (protocol sections 5.1 and 6.1 to 6.3).
//
// A connector listens by holding an AMQP connection to a namespace host, over a
// WebSocket ([Relay.Signalling]) or directly ([Relay.TakeSignalling]). To reach it, [Relay.Connect] sends a
// RelayedConnect there that names a relay instance and an id; the connector
// opens a second WebSocket or connection to that instance ([Relay.Rendezvous],
// [Relay.TakeRendezvous]) and shows the id, which is all the credential there
// is; from then on it is a byte stream between the caller of Connect and the
// connector.
package relaying

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/amqp"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

const (
	// Path is where every relay host takes WebSockets.
	Path = "/$servicebus/websocket"

	subprotocolListener   = "wsrelayedamqp"
	subprotocolRendezvous = "wsrelayedconnection"

	// acceptTimeout bounds the accept exchange on a rendezvous, counted from
	// the WebSocket.
	acceptTimeout = 10 * time.Second
	// maxAccept bounds a RelayedAccept, in bytes; real ones have 286.
	maxAccept = 4096
)

// Options configure a relay.
type Options struct {
	// Authorizer decides who may listen where. The principal it grants is the
	// connector id.
	Authorizer amqp.Authorizer
	// Instances are the hosts on which connectors meet.
	Instances []string
	// TokenGrace is how long a listener outlives its token.
	TokenGrace time.Duration
	Tally      *tally.Tally
	Log        logr.Logger
}

// Relay holds the listeners. It is safe for concurrent use.
type Relay struct {
	opts Options
	// ctx is the life of connections, which outlive the HTTP requests that began them.
	ctx    context.Context
	cancel context.CancelFunc
	serial atomic.Uint64
	// open counts connections, for Close.
	open sync.WaitGroup

	mu        sync.Mutex
	listeners map[*amqp.Listener]struct{}
	pending   map[string]*rendezvous // by id
}

// rendezvous is a connection that a connector was asked to make.
type rendezvous struct {
	instance string
	arrived  chan net.Conn
	// gone is closed when nobody waits any more.
	gone chan struct{}
}

// New returns a relay. Call Close when done.
func New(opts Options) *Relay {
	ctx, cancel := context.WithCancel(context.Background())
	return &Relay{opts: opts, ctx: ctx, cancel: cancel, listeners: map[*amqp.Listener]struct{}{}, pending: map[string]*rendezvous{}}
}

// Close ends every connection, listeners with a word, and waits for that. No
// more connections must come in: stop the HTTP server first.
func (r *Relay) Close() {
	r.cancel()
	r.open.Wait()
}

// Listener is a link on which a connector waits.
type Listener struct {
	ConnectorID string
	// Via is the relay address without its trailing slash, as it appears in
	// everything that is sent over the relay.
	Via   string
	Since time.Time

	link *amqp.Listener
}

// Ready reports whether the connector takes another request now.
func (l Listener) Ready() bool { return l.link.Ready() }

// Listeners lists the links, oldest first.
func (r *Relay) Listeners() []Listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Listener, 0, len(r.listeners))
	for l := range r.listeners {
		all = append(all, Listener{ConnectorID: l.Principal, Via: strings.TrimSuffix(l.Address, "/"), Since: l.Since, link: l})
	}
	slices.SortFunc(all, func(a, b Listener) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ConnectorID, b.ConnectorID), cmp.Compare(a.Via, b.Via))
	})
	return all
}

// Attached implements amqp.Registrar.
func (r *Relay) Attached(l *amqp.Listener) {
	r.mu.Lock()
	r.listeners[l] = struct{}{}
	r.mu.Unlock()
	r.opts.Log.Info("A connector listens", "connectorID", l.Principal, "address", l.Address, "trackingID", l.TrackingID)
}

// Detached implements amqp.Registrar.
func (r *Relay) Detached(l *amqp.Listener) {
	r.mu.Lock()
	delete(r.listeners, l)
	r.mu.Unlock()
	r.opts.Log.Info("A connector stopped listening", "connectorID", l.Principal, "address", l.Address, "trackingID", l.TrackingID)
}

// Authorize implements amqp.Authorizer: it counts and logs what is refused.
func (r *Relay) Authorize(address, token string) (amqp.Grant, error) {
	grant, err := r.opts.Authorizer.Authorize(address, token)
	if err != nil {
		r.opts.Tally.Count(tally.LinksRefused)
		r.opts.Log.Info("Refused a link", "address", address, "why", err.Error())
	}
	return grant, err
}

// Signalling serves the WebSocket on which a connector listens.
func (r *Relay) Signalling(w http.ResponseWriter, req *http.Request) {
	conn, ok := r.accept(w, req, subprotocolListener)
	if !ok {
		return
	}
	defer r.open.Done()
	r.listen(conn)
}

// listen serves a connection on which a connector listens to its end.
func (r *Relay) listen(conn net.Conn) {
	suffix := fmt.Sprintf("_G%d", r.serial.Add(1))
	err := amqp.Serve(r.ctx, conn, amqp.Options{
		Container:  strings.ReplaceAll(guid.New().String(), "-", "") + suffix,
		Authorizer: r, Registrar: r, TrackingSuffix: suffix, TokenGrace: r.opts.TokenGrace,
	})
	if err != nil {
		r.opts.Log.V(1).Info("A listener's connection ended", "why", err.Error())
	}
}

// Rendezvous serves the WebSocket on which a connector meets a caller of
// Connect.
func (r *Relay) Rendezvous(w http.ResponseWriter, req *http.Request) {
	conn, ok := r.accept(w, req, subprotocolRendezvous)
	if !ok {
		return
	}
	defer r.open.Done()
	defer conn.Close()
	r.bridge(conn, req.Host)
}

// bridge brings a connection to who waits for it, and serves it to its end.
func (r *Relay) bridge(conn net.Conn, host string) {
	meeting, err := r.meet(conn, host)
	if err != nil {
		r.opts.Log.Info("Refused a rendezvous", "why", err.Error())
		return
	}
	bridged := &stream{Conn: conn, closed: make(chan struct{})}
	select {
	case meeting.arrived <- bridged:
		<-bridged.closed
	case <-meeting.gone:
	}
}

// accept upgrades a request. It counts the connection: call r.open.Done.
func (r *Relay) accept(w http.ResponseWriter, req *http.Request, subprotocol string) (net.Conn, bool) {
	if !offers(req, subprotocol) {
		http.Error(w, "this host takes WebSockets of subprotocol "+subprotocol, http.StatusBadRequest)
		return nil, false
	}
	r.open.Add(1)
	socket, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}, CompressionMode: websocket.CompressionDisabled})
	if err != nil { // the client has been answered
		r.open.Done()
		r.opts.Log.V(1).Info("Refused a WebSocket", "why", err.Error())
		return nil, false
	}
	// One write is one message, unfragmented, and no ping is ever sent: what
	// the service's own library can take (protocol section 5.1).
	return websocket.NetConn(r.ctx, socket, websocket.MessageBinary), true
}

func offers(req *http.Request, subprotocol string) bool {
	for _, header := range req.Header.Values("Sec-WebSocket-Protocol") {
		for offer := range strings.SplitSeq(header, ",") {
			if strings.EqualFold(strings.TrimSpace(offer), subprotocol) {
				return true
			}
		}
	}
	return false
}

// meet reads a RelayedAccept, finds who waits for it, and answers.
func (r *Relay) meet(conn net.Conn, host string) (*rendezvous, error) {
	if err := conn.SetDeadline(time.Now().Add(acceptTimeout)); err != nil {
		return nil, err
	}
	message, err := relay.ReadPrefixed(conn, maxAccept)
	if err != nil {
		return nil, err
	}
	id, err := relay.DecodeAccept(message)
	if err != nil {
		return nil, err
	}
	meeting := r.take(strings.ToLower(id), host)
	if meeting == nil {
		return nil, errors.New("nobody waits for the id on that host")
	}
	// Length and message are two WebSocket messages (protocol section 6.3).
	reply := relay.AppendPrefixed(nil, relay.EncodeAcceptReply())
	for _, part := range [][]byte{reply[:4], reply[4:]} {
		if _, err := conn.Write(part); err != nil {
			return nil, fmt.Errorf("answering a RelayedAccept: %w", err)
		}
	}
	return meeting, conn.SetDeadline(time.Time{})
}

// take removes a pending rendezvous: an id is good once, on its own host.
func (r *Relay) take(id, host string) *rendezvous {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	meeting := r.pending[id]
	if meeting == nil || !strings.EqualFold(meeting.instance, host) {
		return nil
	}
	delete(r.pending, id)
	return meeting
}

// stream tells when it was closed.
type stream struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (s *stream) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil // Rendezvous closes the socket
}

// ErrNotTaken says that the listener did not take the request: another one may.
var ErrNotTaken = errors.New("the listener did not take the connection")

// Connect asks a listener to connect and waits until ctx ends. Close the
// connection when done.
func (r *Relay) Connect(ctx context.Context, l Listener) (net.Conn, error) {
	id := guid.New().String()
	n := r.serial.Add(1)
	meeting := &rendezvous{
		instance: r.opts.Instances[n%uint64(len(r.opts.Instances))],
		arrived:  make(chan net.Conn), gone: make(chan struct{}),
	}
	r.mu.Lock()
	r.pending[id] = meeting
	r.mu.Unlock()
	defer func() {
		close(meeting.gone)
		r.mu.Lock()
		delete(r.pending, id)
		r.mu.Unlock()
	}()

	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	delivery, err := l.link.Send(relay.EncodeConnect(relay.Connect{
		Via: l.Via, MessageID: fmt.Sprintf("%s_G%d", guid.New(), n), ID: id,
		IPAddress: loopback, IPPort: 9352, HTTPAddress: loopback, HTTPPort: 80, HTTPSAddress: loopback, HTTPSPort: 443,
		InstanceDNSAddress: meeting.instance,
	}))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotTaken, err)
	}
	settled := delivery.Done()
	for {
		select {
		case conn := <-meeting.arrived:
			return conn, nil
		case <-settled:
			if delivery.Outcome() != amqp.OutcomeAccepted {
				return nil, fmt.Errorf("%w: it turned the message down or went away", ErrNotTaken)
			}
			settled = nil // it accepted the message; the connection is still to come
		case <-ctx.Done():
			return nil, fmt.Errorf("%w in time: %w", ErrNotTaken, context.Cause(ctx))
		}
	}
}
