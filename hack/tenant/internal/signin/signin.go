// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package signin is the cloud's side of a password validation (protocol
// sections 6.4, 6.7, 6.8, 7, 8.2 and 9).
//
// A sign-in encrypts the password once for every active certificate of every
// agent and wipes it, reaches one agent over the relay, signals the request or
// where to fetch it, and waits for the verdict that the agent posts to the proxy
// host. An agent that does not take the request, or says that it is closing, is
// passed over for the next one. What comes back is a success or one of the
// AADSTS errors that users of the real service see.
//
// Nothing keeps a password: not a log, a counter, an error or a result.
package signin

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registry"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/relaying"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

// Relay reaches connectors.
type Relay interface {
	Listeners() []relaying.Listener
	Connect(ctx context.Context, l relaying.Listener) (net.Conn, error)
}

// Agents knows the connectors.
type Agents interface {
	Recipients(now time.Time) ([]registry.Recipient, error)
	ByID(connectorID string) (registry.Agent, bool)
}

// Admitter tells who makes a request over mutual TLS.
type Admitter interface {
	Admit(*http.Request) (registry.Agent, trust.Identity, error)
}

// Options configure sign-ins.
type Options struct {
	TenantID string
	// ProxyHost is where connectors post their verdicts.
	ProxyHost string
	Relay     Relay
	Agents    Agents
	Admitter  Admitter
	// AcceptTimeout bounds reaching one connector: from the message on its link
	// to the acknowledged preamble, and again from the signal to its
	// acknowledgement. Then the next one is tried.
	AcceptTimeout time.Duration
	// ResponseTimeout bounds the wait for the verdict, and the time in which
	// further connectors are tried.
	ResponseTimeout time.Duration
	// ReturnPorts, if there are any, take the answers in turn, and fetches too.
	// Without them all goes to 443, by override.
	ReturnPorts []int
	// SessionIdle is how long a reliable session without a request stays open.
	SessionIdle time.Duration
	// Delivery is for sign-ins that have no preference.
	Delivery Delivery
	Tally    *tally.Tally
	Log      logr.Logger
}

// Service signs users in. It is safe for concurrent use.
type Service struct {
	opts Options
	// attempts counts attempts and fetches that are under way, for Close.
	attempts sync.WaitGroup
	// ctx is the life of fetches, and of attempts to open reliable sessions.
	ctx    context.Context
	cancel context.CancelFunc
	// channels are the connections with a reliable session.
	channels channels

	mu      sync.Mutex
	waiting map[string]*handout // by connection id
	turn    uint64
	ports   int                     // given out
	pending map[string]*transaction // by transaction id
	past    map[string]past         // by transaction id
}

// past is what is known of a transaction that is over.
type past struct {
	since time.Time
	taken *answer // nil if none came in time
}

// New returns a service. Call Close when done.
func New(opts Options) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	return &Service{
		opts: opts, ctx: ctx, cancel: cancel,
		waiting: map[string]*handout{}, pending: map[string]*transaction{}, past: map[string]past{},
	}
}

// Close ends fetches and waits for them and for attempts that outlived their
// sign-in. Stop the HTTP servers and close the relay first.
func (s *Service) Close() {
	s.cancel()
	s.attempts.Wait()
}

// Result is the outcome of a sign-in.
type Result struct {
	RequestID     string  `json:"requestID"`
	CorrelationID string  `json:"correlationID"`
	Username      string  `json:"username"`
	Verdict       string  `json:"verdict"` // Success or Failure
	Reason        string  `json:"reason"`  // a Win32 code or a text; empty without one
	AADSTS        int     `json:"aadsts"`  // 0 on success
	Message       string  `json:"message"`
	ConnectorID   string  `json:"connectorID"`
	ConnectorName string  `json:"connectorName"`
	LatencyMS     float64 `json:"latencyMs"`
	Attempts      int     `json:"attempts"`
	// AnswerHeaders are what came with the verdict, by name in lower case; nil if
	// none came in time.
	AnswerHeaders map[string]string `json:"answerHeaders,omitempty"`
	// Via is the relay address of the last attempt, and Endpoint its kind; both
	// are empty if no listener was there.
	Via      string   `json:"via"`
	Endpoint Endpoint `json:"endpoint"`
	// Time is when the sign-in ended.
	Time time.Time `json:"time"`
}

// Verdicts.
const (
	Success = "success"
	Failure = "failure"
)

// transaction is a sign-in that waits for its verdict.
type transaction struct {
	requestID, id string
	upn, netbios  string
	preference    Preference
	returnPort    int
	connections   []string // that were handed out for it; the service's mutex protects it
	// configurationHash is of a configuration that only another product has; those
	// that were seen have nine digits.
	configurationHash string
	data              []signal.EncryptedData
	answer            chan answer // holds one
	taken             *answer     // what was put there; under Service.mu
	answerHeaders     map[string]string
	asked             map[string]bool
	attempts          int
	via               string // of the last attempt
	signalled         bool   // some connector has been sent the signal
	anyoneSilent      bool   // some connector did not take the request in time
	lastConnectorID   string
}

// SignIn validates a password and wipes it. The error is an *InputError, or a
// failure of the tenant itself.
func (s *Service) SignIn(ctx context.Context, username string, password []byte, preference Preference) (Result, error) {
	defer clear(password)
	start := time.Now()
	upn, netbios, err := parseUser(username)
	if err == nil {
		err = checkPreference(preference)
	}
	if err != nil {
		return Result{}, err
	}
	data, err := s.encrypt(password)
	clear(password)
	if err != nil {
		return Result{}, err
	}
	tx := &transaction{
		requestID: guid.New().String(), id: guid.New().String(), upn: upn, netbios: netbios, data: data,
		configurationHash: fmt.Sprint(-100_000_000 - mathrand.IntN(900_000_000)), answer: make(chan answer, 1), asked: map[string]bool{},
		preference: preference, returnPort: s.returnPort(),
	}
	s.begin(tx)
	defer s.end(tx)
	result := s.ask(ctx, tx)
	result.RequestID, result.CorrelationID, result.Username, result.Attempts = tx.requestID, tx.id, upn, tx.attempts
	result.Time, result.AnswerHeaders = time.Now().UTC(), tx.answerHeaders
	result.Via, result.Endpoint = tx.via, endpointOf(tx.via)
	result.LatencyMS = float64(time.Since(start).Microseconds()) / 1000
	if agent, ok := s.opts.Agents.ByID(result.ConnectorID); ok {
		result.ConnectorName = agent.Name
	}
	s.record(result)
	return result, nil
}

func checkPreference(p Preference) error {
	if err := errors.Join(p.Delivery.Validate(), p.Endpoint.Validate()); err != nil {
		return &InputError{err.Error()}
	}
	return nil
}

// returnPort gives the return ports out in turn, and the one that the service
// names where none is used.
func (s *Service) returnPort() int {
	if len(s.opts.ReturnPorts) == 0 {
		return returnPort
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports++
	return s.opts.ReturnPorts[s.ports%len(s.opts.ReturnPorts)]
}

// encrypt wraps the password for every agent (protocol section 7.4).
func (s *Service) encrypt(password []byte) ([]signal.EncryptedData, error) {
	recipients, err := s.opts.Agents.Recipients(time.Now())
	if err != nil {
		return nil, fmt.Errorf("listing the keys to encrypt for: %w", err)
	}
	plaintext := signal.WrapPassword(make([]byte, 0, 6*len(password)+32), password) // room for every escape: no copy is left behind
	defer clear(plaintext)
	data := make([]signal.EncryptedData, 0, len(recipients))
	for _, r := range recipients {
		ciphertext, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, r.Key, plaintext, nil)
		if errors.Is(err, rsa.ErrMessageTooLong) {
			return nil, &InputError{"The password is too long: the protocol has room for about 199 bytes."}
		}
		if err != nil {
			return nil, fmt.Errorf("encrypting for %s: %w", r.KeyIdentifier, err)
		}
		data = append(data, signal.EncryptedData{Ciphertext: ciphertext, KeyIdentifier: r.KeyIdentifier})
	}
	return data, nil
}

// ask tries connectors until one has taken the request, and waits for the
// verdict, from whichever it comes.
func (s *Service) ask(ctx context.Context, tx *transaction) Result {
	giveUp := time.Now().Add(s.opts.ResponseTimeout)
	tried := map[relaying.Listener]bool{}
	closing := map[string]bool{}
	for time.Now().Before(giveUp) {
		l, ok := s.next(ctx, tx, tried, closing)
		if !ok {
			break
		}
		tried[l] = true
		tx.asked[l.ConnectorID] = true
		outcome := s.start(tx, l)
		var got attempt
		select {
		case a := <-tx.answer:
			return s.judge(tx, a)
		case got = <-outcome: // bounded by its own deadlines
		case <-ctx.Done():
			return failure(noAnswer, tx.lastConnectorID)
		}
		tx.signalled = tx.signalled || got.signalled
		switch {
		case got.taken:
			tx.lastConnectorID = l.ConnectorID
			return s.await(ctx, tx)
		case got.closing:
			closing[l.ConnectorID] = true
			s.opts.Tally.Count(tally.ClosingFaults)
		default:
			tx.anyoneSilent = true
			tx.lastConnectorID = l.ConnectorID
		}
		s.opts.Log.Info("A connector did not take a request", "requestID", tx.requestID, "connectorID", l.ConnectorID,
			"via", l.Via, "closing", got.closing, "why", fmt.Sprint(got.err))
	}
	switch {
	case tx.signalled: // one of them may still answer
		return s.await(ctx, tx)
	case tx.anyoneSilent:
		return failure(noAnswer, tx.lastConnectorID)
	default:
		return failure(noAgent, "")
	}
}

// await waits for the verdict on a request that a connector holds.
func (s *Service) await(ctx context.Context, tx *transaction) Result {
	timeout := time.NewTimer(s.opts.ResponseTimeout)
	defer timeout.Stop()
	select {
	case a := <-tx.answer:
		return s.judge(tx, a)
	case <-timeout.C:
	case <-ctx.Done():
	}
	return failure(noAnswer, tx.lastConnectorID)
}

// judge turns an answer into a result.
func (s *Service) judge(tx *transaction, a answer) Result {
	if !tx.asked[a.connectorID] {
		s.opts.Tally.Count(tally.DefectForeignResponse)
	}
	tx.answerHeaders = a.headers
	if a.invalid {
		return failure(invalidAnswer, a.connectorID)
	}
	if !a.verdict.Authenticated {
		result := failure(errorOf(a.verdict.Reason), a.connectorID)
		result.Reason = a.verdict.Reason.String()
		return result
	}
	if a.verdict.UserPrincipalName != tx.upn {
		// The service does not seem to look (protocol section 9.3).
		s.opts.Tally.Count(tally.DefectNameClaim)
		s.opts.Log.Info("A name claim is not the user name of its request", "requestID", tx.requestID, "connectorID", a.connectorID)
	}
	return Result{Verdict: Success, Message: "You are signed in.", ConnectorID: a.connectorID}
}

func failure(aadsts int, connectorID string) Result {
	return Result{Verdict: Failure, AADSTS: aadsts, Message: messages[aadsts], ConnectorID: connectorID}
}

func (s *Service) record(r Result) {
	s.opts.Tally.Count(tally.SignIns)
	if r.Verdict == Success {
		s.opts.Tally.Count(tally.SignInSuccesses)
	} else {
		s.opts.Tally.Count(tally.SignInFailures)
	}
	s.opts.Log.Info("Finished a sign-in", "requestID", r.RequestID, "user", r.Username, "verdict", r.Verdict, "reason", r.Reason,
		"aadsts", r.AADSTS, "connectorID", r.ConnectorID, "connectorName", r.ConnectorName, "latencyMs", r.LatencyMS, "attempts", r.Attempts)
}

func (s *Service) begin(tx *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[tx.id] = tx
}

// remember is how long the answer to a sign-in that is over is known as late.
const remember = 5 * time.Minute

func (s *Service) end(tx *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, tx.id)
	for _, connection := range tx.connections {
		delete(s.waiting, connection)
	}
	now := time.Now()
	s.past[tx.id] = past{since: now, taken: tx.taken}
	for id, p := range s.past {
		if now.Sub(p.since) > remember {
			delete(s.past, id)
		}
	}
}
