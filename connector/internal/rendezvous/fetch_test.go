// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

// pointer is the signal that leads to a request.
func pointer(to *signal.Message) *signal.Message {
	p := *to
	p.Tunnel.Protocol = signal.ProtocolContext{TypeName: "ConnectContext", Traffic: signal.TrafficConnect, ConnectionID: guid.New().String()}
	return &p
}

// hands is what the proxy host hands out.
type hands struct {
	stage    *stage
	document []byte
	kind     websocket.MessageType
	// instead of all that
	status int           // of the HTTP answer
	wait   chan struct{} // before it says anything
	hangUp bool

	asked  chan string // the connection ids
	header chan http.Header
	closed chan websocket.StatusCode
}

func (s *stage) hands(document []byte) *hands {
	h := &hands{
		stage: s, document: document, kind: websocket.MessageText,
		asked: make(chan string, 4), header: make(chan http.Header, 4), closed: make(chan websocket.StatusCode, 4),
	}
	s.proxy = h.serve
	return h
}

func (h *hands) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("requestId") == "" || r.Header.Get("Sec-Websocket-Protocol") != "" {
		h.stage.t.Errorf("asked by %s with subprotocol %q", r.URL, r.Header.Get("Sec-Websocket-Protocol"))
	}
	h.header <- r.Header.Clone()
	if h.status != 0 {
		w.Header().Set("Location", "https://evil.example/")
		w.WriteHeader(h.status)
		return
	}
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		h.stage.t.Error(err)
		return
	}
	defer func() { _ = socket.CloseNow() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	kind, message, err := socket.Read(ctx)
	if err != nil {
		return // the connector has given up
	}
	if kind != websocket.MessageBinary {
		h.stage.t.Errorf("asked in a message of type %v", kind)
	}
	id, err := signal.DecodeFetch(message)
	if err != nil {
		h.stage.t.Error(err)
	}
	h.asked <- id
	if h.wait != nil {
		<-h.wait
	}
	if h.hangUp {
		return
	}
	// The connector may have gone.
	_ = socket.Write(ctx, h.kind, h.document)
	_, _, err = socket.Read(ctx)
	h.closed <- websocket.CloseStatus(err)
}

func document(t *testing.T, m *signal.Message) []byte {
	t.Helper()
	data, err := signal.EncodeJSON(*m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAFetchedRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		password string
		change   func(*signal.Message, *hands)
		want     signal.Verdict
	}{
		"the right password": {"P@ssw0rd", nil, signal.Verdict{Authenticated: true, UserPrincipalName: upn}},
		"a wrong password":   {"other", nil, signal.Verdict{Reason: signal.Reason{Code: 1326}}},
		"as a body of bytes": {"P@ssw0rd", func(m *signal.Message, _ *hands) {
			m.Tunnel.Protocol.Traffic = signal.TrafficTrustedParty
		}, signal.Verdict{Authenticated: true, UserPrincipalName: upn}},
		"in a binary message": {"P@ssw0rd", func(_ *signal.Message, h *hands) {
			h.kind = websocket.MessageBinary
		}, signal.Verdict{Authenticated: true, UserPrincipalName: upn}},
		"with an identifier of its own": {"P@ssw0rd", func(m *signal.Message, _ *hands) {
			m.RequestID, m.TransactionID = guid.New().String(), guid.New().String()
		}, signal.Verdict{Authenticated: true, UserPrincipalName: upn}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			r := request(t, tc.password)
			p := pointer(r)
			h := s.hands(nil)
			if tc.change != nil {
				tc.change(r, h)
			}
			h.document = document(t, r)
			c := s.meet()
			c.signal(p)
			if id := <-h.asked; id != p.Tunnel.Protocol.ConnectionID {
				t.Errorf("asked for connection %s, want %s", id, p.Tunnel.Protocol.ConnectionID)
			}
			if status := <-h.closed; status != websocket.StatusNormalClosure {
				t.Errorf("the socket was closed with %d, want 1000", status)
			}
			s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
			c.end()
			if diff := cmp.Diff(tc.want, s.verdict(0)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			s.wiped()
			s.headers(r)
			// Protocol section 7.1.
			header := <-h.header
			for name, want := range map[string]string{
				"x-cwap-dnscachelookup-result": "NotUsed", "x-cwap-connector-usesdefaultproxy": "InUse",
				"x-cwap-connector-version": "1.2.3", "x-cwap-datamodel-version": "1.2.3",
				"x-cwap-connector-sp-connections": "0", "x-cwap-transid": p.TransactionID,
			} {
				if got := header.Get(name); got != want {
					t.Errorf("header %s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestTheVerdictIsPostedBeforeTheProxyIsLeft: protocol section 7.2.
func TestTheVerdictIsPostedBeforeTheProxyIsLeft(t *testing.T) {
	s := newStage(t)
	s.refuse = 1
	r := request(t, "P@ssw0rd")
	h := s.hands(document(t, r))
	c := s.meet()
	c.signal(pointer(r))
	<-h.closed
	s.verdict(1)
	c.end()
}

func TestWhatTheProxyMustNotHandOut(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(pointer, fetched *signal.Message, h *hands)
		want   DropReason
	}{
		"a request of another tenant":   {func(_, f *signal.Message, _ *hands) { f.SubscriptionID = guid.New().String() }, DropTenant},
		"an answer to another host":     {func(_, f *signal.Message, _ *hands) { f.OverriddenReturnHost = "evil.example" }, DropReturnHost},
		"an answer to another port":     {func(_, f *signal.Message, _ *hands) { f.OverriddenReturnPort = 8443 }, DropReturnHost},
		"a request without identifiers": {func(_, f *signal.Message, _ *hands) { f.TransactionID = "" }, DropMalformed},
		"one more pointer":              {func(p, f *signal.Message, _ *hands) { f.Tunnel.Protocol = p.Tunnel.Protocol }, DropUnsupported},
		"another traffic protocol":      {func(_, f *signal.Message, _ *hands) { f.Tunnel.Protocol.Traffic = 0 }, DropUnsupported},
		"an unknown traffic protocol":   {func(_, f *signal.Message, _ *hands) { f.Tunnel.Protocol.Traffic = 77 }, DropUnsupported},
		"no JSON":                       {func(_, _ *signal.Message, h *hands) { h.document = []byte("<html>") }, DropMalformed},
		"nothing":                       {func(_, _ *signal.Message, h *hands) { h.document = []byte{} }, DropMalformed},
		"more than is read":             {func(_, _ *signal.Message, h *hands) { h.document = bytes.Repeat([]byte(" "), signal.MaxJSON+1) }, DropMalformed},
		"an end":                        {func(_, _ *signal.Message, h *hands) { h.hangUp = true }, DropFetchFailed},
		"a redirect":                    {func(_, _ *signal.Message, h *hands) { h.status = http.StatusTemporaryRedirect }, DropFetchFailed},
		"a refusal":                     {func(_, _ *signal.Message, h *hands) { h.status = http.StatusForbidden }, DropFetchFailed},
		"no WebSocket":                  {func(_, _ *signal.Message, h *hands) { h.status = http.StatusOK }, DropFetchFailed},
		"a pointer to an evil host":     {func(p, _ *signal.Message, _ *hands) { p.OverriddenReturnHost = "evil.example" }, DropReturnHost},
		"a pointer to another port":     {func(p, _ *signal.Message, _ *hands) { p.OverriddenReturnPort = 9352 }, DropReturnHost},
		"a pointer to nothing":          {func(p, _ *signal.Message, _ *hands) { p.Tunnel.Protocol.ConnectionID = "" }, DropMalformed},
		"a pointer that injects": {func(p, _ *signal.Message, _ *hands) {
			p.Tunnel.Protocol.ConnectionID = `x","MessageType":9,"y":"01234567890123456789`[:36]
		}, DropMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			fetched := request(t, "P@ssw0rd")
			p := pointer(fetched)
			h := s.hands(nil)
			tc.change(p, fetched, h)
			if h.document == nil {
				h.document = document(t, fetched)
			}
			c := s.meet()
			if reply := c.signal(p); reply.Kind != signal.KindResponse {
				t.Errorf("reply %+v: receipt is acknowledged in any case", reply)
			}
			s.observed.wait(t, "the request is dropped", func() bool { return len(s.observed.drops) == 1 })
			c.end()
			s.observed.wait(t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 })
			if s.observed.drops[0] != tc.want {
				t.Errorf("dropped for %s, want %s; log:\n%s", s.observed.drops[0], tc.want, s.logs)
			}
			if len(s.posts) != 0 || len(s.validator.asked) != 0 {
				t.Errorf("%d verdicts, %d validations", len(s.posts), len(s.validator.asked))
			}
		})
	}
}

func TestASlowProxyIsGivenUp(t *testing.T) {
	s := newStage(t)
	s.settings.Limit = answerReserve + 50*time.Millisecond
	r := request(t, "P@ssw0rd")
	h := s.hands(document(t, r))
	h.wait = make(chan struct{})
	defer close(h.wait)
	c := s.meet()
	c.signal(pointer(r))
	s.observed.wait(t, "the request is dropped", func() bool { return len(s.observed.drops) == 1 })
	c.end()
	s.observed.wait(t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 })
	if s.observed.drops[0] != DropFetchFailed || len(s.posts) != 0 || len(s.validator.asked) != 0 {
		t.Errorf("dropped for %s, %d verdicts, %d validations", s.observed.drops[0], len(s.posts), len(s.validator.asked))
	}
}

func TestAFetchedRequestIsValidatedOnce(t *testing.T) {
	s := newStage(t)
	r := request(t, "wrong")
	s.hands(document(t, r))
	for range 2 { // two pointers, with identifiers of their own, to one request
		p := pointer(r)
		p.RequestID = guid.New().String()
		c := s.meet()
		c.signal(p)
		c.end()
	}
	s.observed.wait(t, "both have ended", func() bool {
		return s.observed.flight == 0 && len(s.observed.drops) == 1 && len(s.observed.signIns) == 1
	})
	if len(s.validator.asked) != 1 || s.observed.drops[0] != DropReplay {
		t.Errorf("the directory was asked %d times; dropped for %v", len(s.validator.asked), s.observed.drops)
	}
}

func TestAFetchLeavesNoTraceOfThePassword(t *testing.T) {
	s := newStage(t)
	r := request(t, "canary-P@ss")
	s.hands(document(t, r))
	c := s.meet()
	c.signal(pointer(r))
	s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
	c.end()
	if strings.Contains(s.logs.String(), "canary") {
		t.Error("the log holds the password")
	}
	s.wiped()
}
