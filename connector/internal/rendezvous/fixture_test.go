// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

const (
	tenant    = "6f5e4d3c-2b1a-4908-8716-253443526170"
	connector = "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"
	ownKey    = connector + "_0123456789012345678901234567890123456789"
	upn       = "user@contoso.example"
	instance  = "g1.servicebus.test"
	proxyHost = "proxy-1.msappproxy.test"
)

var key = func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}()

// keys holds one key.
type keys struct{}

func (keys) Holds(id string) bool { return id == ownKey }

func (keys) Decrypt(id string, ciphertext []byte) ([]byte, error) {
	if id != ownKey {
		return nil, errors.New("unknown")
	}
	return rsa.DecryptOAEP(sha1.New(), nil, key, ciphertext, nil)
}

// pins allow the test's own suffixes.
type pins struct{}

func (pins) AllowRelayHost(host string) error {
	if !strings.HasSuffix(host, ".servicebus.test") {
		return fmt.Errorf("relay host %q is not allowed", host)
	}
	return nil
}

func (pins) AllowRendezvousPort(port int) error {
	if port != 0 && port != 9352 {
		return fmt.Errorf("rendezvous port %d is not allowed", port)
	}
	return nil
}

func (pins) AllowReturnHost(host string, port int) error {
	if !strings.HasSuffix(host, ".msappproxy.test") || port != 443 {
		return fmt.Errorf("return host %q port %d is not allowed", host, port)
	}
	return nil
}

// validator remembers what it was asked; the password only as what a
// comparison with the wanted one gave.
type validator struct {
	password string
	answer   Answer
	block    bool // until the context ends

	mu      sync.Mutex
	asked   []string // names
	buffers [][]byte // to check that they were wiped
}

func (v *validator) Validate(ctx context.Context, upn, domain string, password *secret.Buffer) Answer {
	v.mu.Lock()
	v.asked = append(v.asked, upn+"/"+domain)
	v.buffers = append(v.buffers, password.Bytes())
	v.mu.Unlock()
	if v.block {
		<-ctx.Done()
		return Answer{Code: 1726, Class: "infrastructure", Err: ctx.Err()}
	}
	if string(password.Bytes()) != v.password {
		return Answer{Code: 1326, Class: "user"}
	}
	return v.answer
}

// observed collects what the observer is told.
type observed struct {
	mu      sync.Mutex
	signIns []string
	drops   []DropReason
	foreign int
	flight  int
	changed chan struct{}
}

func (o *observed) note(f func()) {
	o.mu.Lock()
	f()
	o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

func (o *observed) SignIn(a Answer, reason string, _, _ time.Duration, delivered bool) {
	o.note(func() {
		o.signIns = append(o.signIns, fmt.Sprintf("%v %s %s %v", a.Accepted, a.Class, reason, delivered))
	})
}
func (o *observed) Dropped(r DropReason)     { o.note(func() { o.drops = append(o.drops, r) }) }
func (o *observed) ForeignKeys(ids []string) { o.note(func() { o.foreign += len(ids) }) }
func (o *observed) InFlight(d int)           { o.note(func() { o.flight += d }) }

// wait waits until the collected facts satisfy a condition.
func (o *observed) wait(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		o.mu.Lock()
		ok := condition()
		seen := fmt.Sprintf("sign-ins %v, drops %v, in flight %d", o.signIns, o.drops, o.flight)
		o.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-o.changed:
		case <-deadline:
			t.Fatalf("never: %s; %s", what, seen)
		}
	}
}

// stage is a handler with everything around it replaced.
type stage struct {
	t         *testing.T
	handler   *Handler
	validator *validator
	observed  *observed
	logs      *lockedBuffer
	settings  Settings

	relay chan net.Conn // the relay's ends of dialled connections

	mu      sync.Mutex
	posts   []http.Header
	proxy   func(http.ResponseWriter, *http.Request) // serves what is fetched
	refuse  int                                      // posts to refuse before one is taken
	refusal int
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newStage(t *testing.T, change ...func(*Options)) *stage {
	t.Helper()
	s := emptyStage(t)
	server := httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	client := server.Client()
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		if addr != proxyHost+":443" {
			t.Errorf("a verdict or a fetch went to %s", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	client.Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com" // the test server's certificate
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("no redirects") }
	s.begin(client, change...)
	return s
}

// emptyStage lacks a handler.
func emptyStage(t *testing.T) *stage {
	t.Helper()
	return &stage{
		t: t, validator: &validator{password: "P@ssw0rd", answer: Answer{Accepted: true, Class: "success"}},
		observed: &observed{changed: make(chan struct{}, 1)}, logs: &lockedBuffer{}, relay: make(chan net.Conn, 16),
		refusal: http.StatusServiceUnavailable,
		settings: Settings{
			ResponseEndpointFormat: "https://{0}:{1}/subscriber/connection", TotalAttempts: 5,
			InitialDelay: time.Millisecond, DelayFactor: 2, Limit: 10 * time.Second,
		},
	}
}

// begin makes the handler, which posts its verdicts with a client.
func (s *stage) begin(client *http.Client, change ...func(*Options)) {
	opts := Options{
		TenantID: tenant, ConnectorID: func() string { return connector }, Version: "1.2.3", ProxyInUse: true,
		Pins: pins{}, Keys: keys{}, Validator: s.validator, Client: client, ProxyClient: client,
		Dial: func(context.Context, relay.Connect) (net.Conn, error) {
			ours, theirs := net.Pipe()
			s.relay <- theirs
			return ours, nil
		},
		Settings: func() Settings { return s.settings }, Observer: s.observed, MaxConcurrent: 4,
		Log: logr.FromSlogHandler(slog.NewJSONHandler(s.logs, &slog.HandlerOptions{Level: slog.Level(-9)})),
	}
	for _, c := range change {
		c(&opts)
	}
	s.handler = New(opts)
}

// serve is the service's response endpoint.
func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == signal.FetchPath && s.proxy != nil {
		s.proxy(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/subscriber/connection" || r.URL.Query().Get("requestId") == "" || r.Method != http.MethodPost || r.ContentLength != 0 {
		s.t.Errorf("an answer came as %s %s with %d bytes", r.Method, r.URL, r.ContentLength)
	}
	s.posts = append(s.posts, r.Header.Clone())
	if s.refuse > 0 {
		s.refuse--
		w.WriteHeader(s.refusal)
	}
}

func (s *stage) verdict(n int) signal.Verdict {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.posts) <= n {
		s.t.Fatalf("%d verdicts were posted, want one more", len(s.posts))
	}
	v, err := signal.DecodeVerdict(s.posts[n].Get("x-cwap-backend-response"))
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// cloud is the other end of a bridged connection.
type cloud struct {
	t    *testing.T
	conn net.Conn
	enc  *signal.Encoder
	dec  *signal.Decoder
	r    *framing.Reader
}

// meet asks the handler to come, and performs the relay's and the cloud's part
// up to the preamble's acknowledgement.
func (s *stage) meet() *cloud {
	s.t.Helper()
	s.handler.Handle(relay.EncodeConnect(relay.Connect{ID: guid.New().String(), InstanceDNSAddress: instance}))
	conn := <-s.relay
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	message, err := relay.ReadPrefixed(conn, relay.MaxMessage)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := relay.DecodeAccept(message); err != nil {
		s.t.Fatal(err)
	}
	c := &cloud{t: s.t, conn: conn, enc: signal.NewEncoder(), dec: signal.NewDecoder(), r: framing.NewReader(conn)}
	c.write(relay.AppendPrefixed(nil, relay.EncodeAcceptReply()))
	c.write(framing.AppendPreamble(nil, framing.Preamble{Via: "sb://x/y"}))
	if rec := c.record(); rec.Type != framing.RecordPreambleAck {
		s.t.Fatalf("record %#02x, want the preamble's acknowledgement", rec.Type)
	}
	return c
}

func (c *cloud) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cloud) record() framing.Record {
	c.t.Helper()
	rec, err := c.r.ReadRecord()
	if err != nil {
		c.t.Fatal(err)
	}
	return rec
}

// signal sends a request and returns the connector's immediate reply.
func (c *cloud) signal(m *signal.Message) signal.Envelope {
	c.t.Helper()
	content, err := c.enc.Encode(signal.Envelope{Kind: signal.KindSignal, MessageID: "urn:uuid:" + guid.New().String(), To: "sb://x/y", Signal: m})
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(framing.AppendSizedEnvelope(nil, content))
	reply, err := c.dec.Decode(c.record().Payload)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply
}

// end closes the connection as the cloud does.
func (c *cloud) end() {
	c.t.Helper()
	c.write(framing.AppendEnd(nil))
	if rec := c.record(); rec.Type != framing.RecordEnd {
		c.t.Errorf("record %#02x, want an end", rec.Type)
	}
}

// request is a good request with the password encrypted for the test's key,
// between two entries for other connectors.
func request(tb testing.TB, password string) *signal.Message {
	tb.Helper()
	ciphertext, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, signal.WrapPassword(nil, []byte(password)), nil)
	if err != nil {
		tb.Fatal(err)
	}
	id := guid.New().String()
	return &signal.Message{
		RequestID: guid.New().String(), SessionID: guid.GUID{}.String(), SubscriptionID: strings.ToUpper(tenant), TransactionID: id,
		OverrideServiceHostEnabled: true, OverriddenReturnHost: proxyHost, OverriddenReturnPort: 443,
		ReturnHost: "elsewhere.example", ReturnPort: 10100,
		Tunnel: signal.TunnelContext{CorrelationID: id, Protocol: signal.ProtocolContext{
			TypeName: "PasswordValidationContext", Traffic: signal.TrafficPasswordValidation,
			PasswordValidation: &signal.PasswordValidation{Domain: "CONTOSO", UserPrincipalName: upn, EncryptedData: []signal.EncryptedData{
				{KeyIdentifier: "another", Ciphertext: bytes.Repeat([]byte{1}, 256)},
				{KeyIdentifier: ownKey, Ciphertext: ciphertext},
				{KeyIdentifier: "a third", Ciphertext: bytes.Repeat([]byte{2}, 256)},
			}},
		}},
	}
}
