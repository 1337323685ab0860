// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

func TestASignIn(t *testing.T) {
	for name, tc := range map[string]struct {
		password string
		want     signal.Verdict
		noted    string
	}{
		"the right password": {"P@ssw0rd", signal.Verdict{Authenticated: true, UserPrincipalName: upn}, "true success 0 true"},
		"a wrong password":   {"other", signal.Verdict{Reason: signal.Reason{Code: 1326}}, "false user 1326 true"},
		"an empty password":  {"", signal.Verdict{Reason: signal.Reason{Code: 1326}}, "false user 1326 true"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			c := s.meet()
			r := request(t, tc.password)
			reply := c.signal(r)
			if reply.Kind != signal.KindResponse || reply.Response.ConnectorID != connector || reply.RelatesTo == "" {
				t.Errorf("reply %+v, want an acknowledgement from this connector", reply)
			}
			s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
			c.end()
			s.observed.wait(t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 })
			if diff := cmp.Diff(tc.want, s.verdict(0)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{tc.noted}, s.observed.signIns); diff != "" {
				t.Errorf("observer (-want +got):\n%s", diff)
			}
			if s.observed.foreign != 2 {
				t.Errorf("%d foreign entries were counted, want 2", s.observed.foreign)
			}
			s.wiped()
			s.headers(r)
		})
	}
}

// wiped checks that the buffers that the validator saw hold nothing any more.
func (s *stage) wiped() {
	s.t.Helper()
	for _, b := range s.validator.buffers {
		if strings.Trim(string(b), "\x00") != "" {
			s.t.Error("a password's buffer was not wiped")
		}
	}
}

// headers compares with protocol section 9.2.
func (s *stage) headers(r *signal.Message) {
	s.t.Helper()
	for name, want := range map[string]string{
		"x-cwap-dnscachelookup-result": "NotUsed", "x-cwap-connector-usesdefaultproxy": "InUse",
		"x-cwap-connector-version": "1.2.3", "x-cwap-datamodel-version": "1.2.3", "x-cwap-connector-sp-connections": "1",
		"x-cwap-transid": r.TransactionID, "x-cwap-sessionid": guid.GUID{}.String(),
		"x-cwap-certificate-authentication": "notProcessed", "x-cwap-headers-size": "0",
		"x-cwap-payload-total-attempts": "0", "x-cwap-connector-loadfactor": "0", "x-cwap-response-total-attempts": "1",
	} {
		if got := s.posts[0].Get(name); got != want {
			s.t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"x-cwap-connector-be-latency-ms", "x-cwap-connector-all-latency-ms"} {
		if s.posts[0].Get(name) == "" {
			s.t.Errorf("header %s is missing", name)
		}
	}
}

func TestRequestsThatMustNotBeBelievedGetNoAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*signal.Message)
		want   DropReason
	}{
		"another tenant":          {func(m *signal.Message) { m.SubscriptionID = guid.New().String() }, DropTenant},
		"a return host elsewhere": {func(m *signal.Message) { m.OverriddenReturnHost = "evil.example" }, DropReturnHost},
		"a return port elsewhere": {func(m *signal.Message) { m.OverriddenReturnPort = 25 }, DropReturnHost},
		"no override":             {func(m *signal.Message) { m.OverrideServiceHostEnabled = false }, DropReturnHost},
		"no request identifier":   {func(m *signal.Message) { m.RequestID = "" }, DropMalformed},
		"a forged transaction":    {func(m *signal.Message) { m.TransactionID = "x\r\nx-evil: 1" }, DropMalformed},
		"a kind that is not spoken": {func(m *signal.Message) {
			m.Tunnel.Protocol = signal.ProtocolContext{TypeName: "HttpContext", Traffic: 0, ConnectionID: guid.New().String()}
		}, DropUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			c := s.meet()
			r := request(t, "P@ssw0rd")
			tc.change(r)
			if reply := c.signal(r); reply.Kind != signal.KindResponse {
				t.Errorf("reply %+v: receipt is acknowledged in any case", reply)
			}
			s.observed.wait(t, "the request is dropped", func() bool { return len(s.observed.drops) == 1 })
			c.end()
			s.observed.wait(t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 })
			if s.observed.drops[0] != tc.want {
				t.Errorf("dropped for %s, want %s", s.observed.drops[0], tc.want)
			}
			if len(s.posts) != 0 || len(s.validator.asked) != 0 {
				t.Errorf("%d verdicts, %d validations", len(s.posts), len(s.validator.asked))
			}
		})
	}
}

func TestARepeatedRequestIsValidatedOnce(t *testing.T) {
	s := newStage(t)
	r := request(t, "wrong")
	for range 3 {
		c := s.meet()
		repeated := *r
		repeated.RequestID = strings.ToUpper(r.RequestID)
		c.signal(&repeated)
		c.end()
	}
	s.observed.wait(t, "all three have ended", func() bool {
		return s.observed.flight == 0 && len(s.observed.drops) == 2 && len(s.observed.signIns) == 1
	})
	if len(s.validator.asked) != 1 {
		t.Errorf("the directory was asked %d times", len(s.validator.asked))
	}
}

func TestTroubleOfOursIsNeverAWrongPassword(t *testing.T) {
	for name, tc := range map[string]struct {
		arrange func(*stage, *signal.Message)
		want    signal.Reason
	}{
		"no entry for this connector": {func(_ *stage, m *signal.Message) {
			m.Tunnel.Protocol.PasswordValidation.EncryptedData[1].KeyIdentifier = "unknown"
		}, signal.Reason{Text: "EncryptionDataNotFound"}},
		"a ciphertext that does not open": {func(_ *stage, m *signal.Message) {
			m.Tunnel.Protocol.PasswordValidation.EncryptedData[1].Ciphertext[0] ^= 1
		}, signal.Reason{Code: 1359}},
		"a plaintext of another form": {func(_ *stage, m *signal.Message) {
			m.Tunnel.Protocol.PasswordValidation.EncryptedData[1].Ciphertext = encrypt(`{"Secret":"x"}`)
		}, signal.Reason{Code: 1359}},
		"a validator without a reason": {func(s *stage, _ *signal.Message) { s.validator.answer = Answer{} }, signal.Reason{Code: 1359}},
		"a directory that is down": {func(s *stage, _ *signal.Message) {
			s.validator.answer = Answer{Code: 1311, Class: "infrastructure", Err: errors.New("no server")}
		}, signal.Reason{Code: 1311}},
		"a directory that hangs": {func(s *stage, _ *signal.Message) {
			s.validator.block = true
			s.settings.Limit = answerReserve + 50*time.Millisecond
		}, signal.Reason{Code: 1726}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			r := request(t, "P@ssw0rd")
			tc.arrange(s, r)
			c := s.meet()
			c.signal(r)
			s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
			c.end()
			if diff := cmp.Diff(signal.Verdict{Reason: tc.want}, s.verdict(0)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			if want := "Passthrough Authentication request failed. RequestId: '" + r.RequestID + "'. Reason: '" + tc.want.String() + "'."; !strings.Contains(s.logs.String(), want) {
				t.Errorf("the log lacks the line that administrators know, %q:\n%s", want, s.logs)
			}
			s.wiped()
		})
	}
}

func TestAVerdictIsPostedAgainAfterAFailure(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse    int
		delivered bool
		posts     int
	}{
		"twice":    {2, true, 3},
		"for ever": {99, false, 5},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.refuse = tc.refuse
			c := s.meet()
			c.signal(request(t, "P@ssw0rd"))
			s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
			c.end()
			if got := strings.HasSuffix(s.observed.signIns[0], "true"); got != tc.delivered {
				t.Errorf("delivered %v, want %v", got, tc.delivered)
			}
			if len(s.posts) != tc.posts {
				t.Fatalf("%d attempts, want %d", len(s.posts), tc.posts)
			}
			for i, h := range s.posts {
				if got, want := h.Get("x-cwap-response-total-attempts"), string(rune('1'+i)); got != want {
					t.Errorf("attempt %d says it is number %s", i+1, got)
				}
			}
		})
	}
}

func TestARedirectIsNotADelivery(t *testing.T) {
	s := newStage(t)
	s.refuse, s.refusal = 99, 307
	c := s.meet()
	c.signal(request(t, "P@ssw0rd"))
	s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
	c.end()
	if strings.HasSuffix(s.observed.signIns[0], "true") {
		t.Error("a redirect counts as delivered")
	}
}

func TestClosing(t *testing.T) {
	s := newStage(t)
	c := s.meet()
	s.validator.block = true
	s.settings.Limit = answerReserve + 100*time.Millisecond
	c.signal(request(t, "P@ssw0rd")) // held while the connector stops
	s.observed.wait(t, "the validator was asked", func() bool {
		s.validator.mu.Lock()
		defer s.validator.mu.Unlock()
		return len(s.validator.asked) == 1
	})
	drained := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { drained <- s.handler.Drain(ctx) }()
	<-s.handler.stopping
	if reply := c.signal(request(t, "P@ssw0rd")); reply.Kind != signal.KindClosingFault {
		t.Errorf("a new signal got %+v, want the closing fault", reply)
	}
	s.handler.Handle(relay.EncodeConnect(relay.Connect{ID: "x", InstanceDNSAddress: instance}))
	s.observed.wait(t, "a new rendezvous is dropped", func() bool { return len(s.observed.drops) >= 2 })
	c.end()
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	s.verdict(0) // the held one was answered
}

func TestAStormOnOneConnectionIsDeclined(t *testing.T) {
	s := newStage(t)
	s.validator.block = true
	s.settings.Limit = answerReserve + 300*time.Millisecond
	c := s.meet()
	kinds := map[signal.Kind]int{}
	for range 40 {
		kinds[c.signal(request(t, "P@ssw0rd")).Kind]++
	}
	if kinds[signal.KindResponse] < 4 || kinds[signal.KindClosingFault] == 0 || kinds[signal.KindResponse]+kinds[signal.KindClosingFault] != 40 {
		t.Errorf("answers by kind: %v; want four taken at a time and the rest declined", kinds)
	}
	c.end()
	s.observed.wait(t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 })
	if len(s.handler.requests) != 0 {
		t.Errorf("%d places are still taken", len(s.handler.requests))
	}
	if got := len(s.observed.signIns); got != kinds[signal.KindResponse] {
		t.Errorf("%d requests were decided, %d were taken", got, kinds[signal.KindResponse])
	}
}

func TestAStopEndsConnectionsThatHoldNothing(t *testing.T) {
	s := newStage(t)
	s.handler.lastCall = 10 * time.Millisecond
	idle, served, silent := s.meet(), s.meet(), s.meet()
	served.signal(request(t, "P@ssw0rd"))
	s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
	s.handler.Handle(relay.EncodeConnect(relay.Connect{ID: guid.New().String(), InstanceDNSAddress: instance}))
	unmet := <-s.relay // accepts, and hears nothing then
	if _, err := relay.ReadPrefixed(unmet, relay.MaxMessage); err != nil {
		t.Fatal(err)
	}
	if _, err := unmet.Write(relay.AppendPrefixed(nil, relay.EncodeAcceptReply())); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- s.handler.Drain(ctx) }()
	for _, c := range []*cloud{idle, served} {
		if rec := c.record(); rec.Type != framing.RecordEnd {
			t.Errorf("record %#02x, want an end", rec.Type)
		}
		c.write(framing.AppendEnd(nil))
	}
	silent.record() // and never answers the end
	if _, err := unmet.Read(make([]byte, 1)); err == nil {
		t.Error("something was sent on a connection whose preamble never came")
	}
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	if len(s.observed.drops) != 0 {
		t.Errorf("counted as dropped: %v", s.observed.drops)
	}
}

func TestABrokenConnectionIsNotMalformed(t *testing.T) {
	s := newStage(t)
	c := s.meet()
	c.signal(request(t, "P@ssw0rd"))
	s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
	c.conn.Close()
	s.observed.wait(t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 })
	if len(s.observed.drops) != 0 {
		t.Errorf("a served connection that closes is counted as %v", s.observed.drops)
	}
	s.meet().conn.Close()
	s.observed.wait(t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 && len(s.observed.drops) == 1 })
	if s.observed.drops[0] != DropRelayFailed {
		t.Errorf("one that closes before its request is counted as %s", s.observed.drops[0])
	}
}

// A connection that went away between two records shows it first in whatever
// touches it next, which may be a deadline.
func TestEveryUseOfABrokenConnectionShowsThatItBroke(t *testing.T) {
	for name, use := range map[string]func(net.Conn) error{
		"a read":           func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"a write":          func(c net.Conn) error { _, err := c.Write([]byte{0}); return err },
		"a read deadline":  func(c net.Conn) error { return c.SetReadDeadline(time.Now().Add(time.Hour)) },
		"a write deadline": func(c net.Conn) error { return c.SetWriteDeadline(time.Now().Add(time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			theirs.Close()
			s := &stream{Conn: ours}
			if err := use(s); err == nil {
				t.Fatal("it did not fail")
			}
			if !s.failed.Load() {
				t.Error("it does not count as broken")
			}
		})
	}
}

func TestAnAnswerGoesWhereItWasCheckedToGo(t *testing.T) {
	for name, tc := range map[string]struct{ format, want string }{
		"the documented format":   {"https://{0}:{1}/subscriber/connection", "https://proxy-1.msappproxy.test:443/subscriber/connection"},
		"a port that is implied":  {"https://{0}/subscriber/connection", "https://proxy-1.msappproxy.test/subscriber/connection"},
		"a query of its own":      {"https://{0}:{1}/x?a=b", "https://proxy-1.msappproxy.test:443/x?a=b"},
		"without TLS":             {"http://{0}:{1}/subscriber/connection", ""},
		"another host":            {"https://evil.example/{0}:{1}", ""},
		"a host that is appended": {"https://{0}.evil.example:{1}/", ""},
		"the host as a user name": {"https://{0}:{1}@evil.example/", ""},
		"another port":            {"https://{0}:1{1}/", ""},
		"nothing":                 {"", ""},
		"no URL":                  {"https://{0}:{1}/%zz", ""},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := answerURL(tc.format, proxyHost, 443)
			if tc.want == "" {
				if err == nil {
					t.Errorf("%q leads to %s, want an error", tc.format, u)
				}
				return
			}
			if err != nil || u.String() != tc.want {
				t.Errorf("%v, %v, want %s", u, err, tc.want)
			}
		})
	}
	s := newStage(t)
	s.settings.ResponseEndpointFormat = "http://{0}:{1}/"
	c := s.meet()
	c.signal(request(t, "P@ssw0rd"))
	s.observed.wait(t, "the request is dropped", func() bool { return len(s.observed.drops) == 1 })
	c.end()
	if s.observed.drops[0] != DropReturnHost || len(s.validator.asked) != 0 {
		t.Errorf("dropped for %s after %d validations", s.observed.drops[0], len(s.validator.asked))
	}
}

func TestDrainGivesUp(t *testing.T) {
	s := newStage(t)
	c := s.meet()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.handler.Drain(ctx); err == nil {
		t.Error("Drain returned without an error while a connection was open")
	}
	c.end()
	s.observed.wait(t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 })
}

func TestARendezvousPortThatIsNotPinnedIsNotDialled(t *testing.T) {
	s := newStage(t)
	s.handler.Handle(relay.EncodeConnect(relay.Connect{ID: guid.New().String(), InstanceDNSAddress: instance, IPPort: 445}))
	s.observed.wait(t, "it is dropped", func() bool { return len(s.observed.drops) == 1 })
	if s.observed.drops[0] != DropRelayHost || len(s.relay) != 0 {
		t.Errorf("dropped for %s, %d dialled", s.observed.drops[0], len(s.relay))
	}
}

func TestBoundsOfHandle(t *testing.T) {
	connect := func(host string) []byte {
		return relay.EncodeConnect(relay.Connect{ID: guid.New().String(), InstanceDNSAddress: host})
	}
	s := newStage(t, func(o *Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, to relay.Connect) (net.Conn, error) {
			if to.InstanceDNSAddress == "down.servicebus.test" {
				return nil, errors.New("connection refused")
			}
			return dial(ctx, to)
		}
	})
	s.handler.Handle([]byte("garbage"))
	s.handler.Handle(connect("evil.example"))
	s.handler.Handle(connect("down.servicebus.test"))
	s.observed.wait(t, "three are dropped", func() bool { return len(s.observed.drops) == 3 && s.observed.flight == 0 })
	var open []net.Conn
	for range 5 { // one more than allowed
		s.handler.Handle(connect(instance))
	}
	for range 4 {
		open = append(open, <-s.relay)
	}
	s.observed.wait(t, "the fifth is dropped", func() bool { return len(s.observed.drops) == 4 })
	for _, c := range open {
		c.Close()
	}
	s.observed.wait(t, "all have ended", func() bool { return s.observed.flight == 0 })
	want := []DropReason{DropMalformed, DropRelayHost, DropRelayFailed, DropOverload, DropRelayFailed, DropRelayFailed, DropRelayFailed, DropRelayFailed}
	if diff := cmp.Diff(want, s.observed.drops); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}

func TestGarbageEndsTheConnection(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"an envelope of noise":  framing.AppendSizedEnvelope(nil, []byte("noise")),
		"a record out of place": {0x00},
		"an oversized envelope": {0x06, 0xFF, 0xFF, 0xFF, 0x7F},
		"a fault":               framing.AppendFault(nil, "urn:fault"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			c := s.meet()
			c.write(bytes)
			s.observed.wait(t, "the connection ended", func() bool { return s.observed.flight == 0 && len(s.observed.drops) == 1 })
			if s.observed.drops[0] != DropMalformed {
				t.Errorf("counted as %s", s.observed.drops[0])
			}
			if len(s.posts) != 0 {
				t.Error("a verdict was posted")
			}
		})
	}
}

func TestRecentForgetsWithTimeAndNotUnderLoad(t *testing.T) {
	r := newRecent()
	now := time.Now()
	if !r.first("a", now) || r.first("a", now.Add(rememberFor)) {
		t.Error("an identifier is not remembered")
	}
	if !r.first("a", now.Add(rememberFor+time.Second)) {
		t.Error("an identifier is remembered for ever")
	}
	for i := range rememberMost {
		r.first(strconv.Itoa(i), now)
	}
	if r.first("one too many", now) {
		t.Error("the memory has no bound")
	}
}

// TestPasswordsAppearNowhere sends recognisable passwords down every path and
// searches what was written.
func TestPasswordsAppearNowhere(t *testing.T) {
	const canary = "Canary-Zebra-77"
	s := newStage(t)
	s.settings.Limit = answerReserve + 50*time.Millisecond
	s.validator.password = canary
	run := func(password string, change func(*signal.Message)) {
		c := s.meet()
		r := request(t, password)
		if change != nil {
			change(r)
		}
		c.signal(r)
		c.end()
		s.observed.wait(t, "it has ended", func() bool { return s.observed.flight == 0 })
	}
	run(canary, nil)
	run(canary+"-wrong", nil)
	run(canary, func(m *signal.Message) { m.SubscriptionID = guid.New().String() })
	run(canary, func(m *signal.Message) {
		m.Tunnel.Protocol.PasswordValidation.EncryptedData[1].Ciphertext = encrypt(`{"Password":"` + canary + `\x"}`)
	})
	s.validator.block = true
	run(canary, nil)
	if len(s.observed.signIns) != 4 {
		t.Fatalf("sign-ins: %v", s.observed.signIns)
	}
	for _, out := range append([]string{s.logs.String()}, s.observed.signIns...) {
		if strings.Contains(out, "Canary") {
			t.Errorf("a password was written: %s", out)
		}
		if strings.Contains(out, upn) {
			t.Errorf("a user's name was written: %s", out)
		}
	}
	s.wiped()
}
