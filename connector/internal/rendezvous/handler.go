// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
)

// Limits that no setting of the service changes.
const (
	dialTimeout     = 10 * time.Second
	initiationLimit = 60 * time.Second // from dialling to the first envelope
	idleLimit       = 2 * time.Minute  // between records
	// sessionIdleLimit is for connections with a reliable session, which the cloud
	// keeps for later requests. It is the service's own limit (protocol sections
	// 4.4 and 6.6).
	sessionIdleLimit = 10 * time.Minute
	// maxSessions bounds the reliable sessions at one time, idle ones included, and
	// is the service's own number (MaxConnections, protocol section 4.4). Further
	// ones take the place of a rendezvous.
	maxSessions = 100
	// requestsPerConnection bounds the requests of one connection that are being
	// answered, so that one connection does not take every place there is.
	requestsPerConnection = 100
	writeTimeout          = 15 * time.Second
	// lastCall is how long a stopping connector keeps a connection that holds no
	// request, so that a signal on its way there gets the closing fault.
	lastCall = time.Second
	// goodbye is how long it then waits for the cloud's end record.
	goodbye = 2 * time.Second
)

// Keys decrypts what was encrypted for this connector.
type Keys interface {
	// Holds reports whether a key identifier is one of this connector's.
	Holds(keyIdentifier string) bool
	// Decrypt returns the plaintext, which the caller wipes.
	Decrypt(keyIdentifier string, ciphertext []byte) ([]byte, error)
}

// Pins decides which hosts named on the wire may be dialled.
type Pins interface {
	AllowRelayHost(host string) error
	AllowRendezvousPort(port int) error
	AllowReturnHost(host string, port int) error
}

// Answer is what a validator says of a password.
type Answer struct {
	// Accepted is true only if the directory accepted the password.
	Accepted bool
	// Code is the Win32 reason of a refusal.
	Code int32
	// Class groups codes for logs and metrics: "user" or "infrastructure".
	Class string
	// Err says what went wrong on our side, without any secret; may be nil.
	Err error
}

// Validator checks a password. It must return when ctx ends, and must not keep
// the buffer.
type Validator interface {
	Validate(ctx context.Context, upn, domain string, password *secret.Buffer) Answer
}

// Observer counts. Its methods must not block.
type Observer interface {
	// SignIn is called once for each request that was answered or should have
	// been. delivered is false if the verdict could not be posted.
	SignIn(answer Answer, reason string, total, validation time.Duration, delivered bool)
	// Dropped is called for each request or connection that gets no answer.
	Dropped(reason DropReason)
	// ForeignKeys is called with the key identifiers of those entries of a request
	// that are for connectors other than this one. They are as the wire has them.
	ForeignKeys(identifiers []string)
	// InFlight is called with +1 and -1 as rendezvous begin and end.
	InFlight(delta int)
}

// DropReason says why something got no answer. The values are labels of a
// metric.
type DropReason string

// All reasons.
const (
	DropOverload     DropReason = "overload"
	DropMalformed    DropReason = "malformed"
	DropRelayHost    DropReason = "relay_host"
	DropReturnHost   DropReason = "return_host"
	DropRelayFailed  DropReason = "relay_failed"
	DropRelayRefused DropReason = "relay_refused"
	DropTenant       DropReason = "tenant"
	DropReplay       DropReason = "replay"
	DropUnsupported  DropReason = "unsupported"
	DropClosing      DropReason = "closing"
	DropFetchFailed  DropReason = "fetch_failed"
)

// DropReasons lists all reasons, so that a metric can begin at zero.
func DropReasons() []DropReason {
	return []DropReason{
		DropOverload, DropMalformed, DropRelayHost, DropReturnHost, DropRelayFailed,
		DropRelayRefused, DropTenant, DropReplay, DropUnsupported, DropClosing, DropFetchFailed,
	}
}

// Settings are what the last bootstrap said about answers.
type Settings struct {
	// ResponseEndpointFormat has {0} for the host and {1} for the port.
	ResponseEndpointFormat string
	TotalAttempts          int
	InitialDelay           time.Duration
	DelayFactor            float64
	// Limit is the time from the signal to the end of its answer.
	Limit time.Duration
	// Signing is true if the service asks for signed answers, whose form is not
	// known: nothing is answered then.
	Signing bool
}

// Options of a Handler; all are required but Now.
type Options struct {
	TenantID string
	// ConnectorID returns the present connector id.
	ConnectorID func() string
	Version     string
	// ProxyInUse is told to the service with each answer.
	ProxyInUse bool
	Pins       Pins
	Keys       Keys
	Validator  Validator
	// Dial opens the byte stream to a relay instance: InstanceDNSAddress, and
	// IPPort if the transport goes by it. Both have passed Pins.
	Dial func(ctx context.Context, to relay.Connect) (net.Conn, error)
	// Client posts verdicts with the connector's certificate and follows no
	// redirects.
	Client *http.Client
	// ProxyClient fetches requests, in the same way. Its connections are not
	// Client's: one is held for each request until its verdict is posted, so that
	// a bound on both together could leave none for the verdicts.
	ProxyClient *http.Client
	Settings    func() Settings
	Observer    Observer
	Log         logr.Logger
	// MaxConcurrent bounds the rendezvous at one time, reliable sessions left
	// aside, and the requests that are being answered: one connection may carry
	// several.
	MaxConcurrent int
}

// Handler takes relayed connection requests. Create it with New.
type Handler struct {
	opts     Options
	slots    chan struct{} // one for each rendezvous that has no session
	sessions chan struct{} // one for each that has
	requests chan struct{} // one for each request
	recent   *recent
	lastCall time.Duration

	mu       sync.Mutex // protects closing and the growth of active and of each bridge's requests
	closing  bool
	stopping chan struct{} // closed with closing
	active   sync.WaitGroup
}

// New returns a handler.
func New(opts Options) *Handler {
	return &Handler{
		opts:     opts,
		slots:    make(chan struct{}, opts.MaxConcurrent),
		sessions: make(chan struct{}, maxSessions),
		requests: make(chan struct{}, opts.MaxConcurrent),
		recent:   newRecent(),
		lastCall: lastCall,
		stopping: make(chan struct{}),
	}
}

// Handle takes the content of a message of a signalling link. It returns at
// once; over the bound, and after Drain, the request is dropped and the cloud
// tries another connector.
func (h *Handler) Handle(message []byte) {
	request, err := relay.DecodeConnect(message)
	if err != nil {
		h.drop(DropMalformed, "Ignored a message that is no connection request", "error", err.Error())
		return
	}
	err = h.opts.Pins.AllowRelayHost(request.InstanceDNSAddress)
	if err == nil {
		err = h.opts.Pins.AllowRendezvousPort(request.IPPort)
	}
	if err != nil {
		h.drop(DropRelayHost, "Refused to dial a relay host", "error", err.Error())
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		h.drop(DropClosing, "Ignored a connection request while stopping")
		return
	}
	select {
	case h.slots <- struct{}{}:
	default:
		h.drop(DropOverload, "Ignored a connection request: too many at a time", "limit", h.opts.MaxConcurrent)
		return
	}
	h.active.Add(1)
	h.opts.Observer.InFlight(1)
	at := &place{handler: h, among: h.slots}
	go func() {
		defer func() {
			at.leave()
			h.opts.Observer.InFlight(-1)
			h.active.Done()
		}()
		h.meet(request, at)
	}()
}

// Drain stops taking requests and waits for those that are held, at most until
// ctx ends. Signals that arrive on open connections are answered with the
// closing fault, so that the cloud picks another connector; connections that
// hold no request are ended. It may be called again.
func (h *Handler) Drain(ctx context.Context) error {
	h.mu.Lock()
	if !h.closing {
		h.closing = true
		close(h.stopping)
	}
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		h.active.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("some requests were still unanswered when the time to stop was up")
	}
}

// begin counts a request of a connection, unless the handler is closing: who
// waits for held after that sees no further one.
func (h *Handler) begin(held *sync.WaitGroup) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	held.Add(1)
	return true
}

// place is one that a connection takes; one goroutine uses it.
type place struct {
	handler *Handler
	among   chan struct{}
}

// makeRoom moves a connection among the reliable sessions, which may be idle
// for long: it must not count as a rendezvous for all that time.
func (p *place) makeRoom() {
	if p.among != p.handler.slots {
		return
	}
	select {
	case p.handler.sessions <- struct{}{}:
		p.leave()
		p.among = p.handler.sessions
	default:
	}
}

func (p *place) leave() { <-p.among }

func (h *Handler) drop(reason DropReason, message string, keysAndValues ...any) {
	h.opts.Observer.Dropped(reason)
	h.opts.Log.Info(message, append([]any{"reason", string(reason)}, keysAndValues...)...)
}
