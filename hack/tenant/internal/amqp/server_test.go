// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is an authorizer and registrar for tests.
type gate struct {
	refuse   error // what Authorize answers
	lifetime time.Duration
	tokens   chan string
	attached chan *Listener
	detached chan *Listener
}

func newGate() *gate {
	return &gate{lifetime: time.Hour, tokens: make(chan string, 16), attached: make(chan *Listener, 16), detached: make(chan *Listener, 16)}
}

func (g *gate) Authorize(address, token string) (Grant, error) {
	g.tokens <- token
	if token == "bad" {
		return Grant{}, &Refusal{ConditionUnauthorized, "the token is not good"}
	}
	return Grant{Principal: "agent", Expiry: time.Now().Add(g.lifetime)}, g.refuse
}
func (g *gate) Attached(l *Listener) { g.attached <- l }
func (g *gate) Detached(l *Listener) { g.detached <- l }

// peer is the client's end of a pipe, on which one read is one message.
type peer struct {
	t     *testing.T
	conn  net.Conn
	ended chan error
}

func connect(t *testing.T, g *gate, grace time.Duration) *peer {
	t.Helper()
	client, server := net.Pipe()
	p := &peer{t: t, conn: client, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		p.ended <- Serve(ctx, server, Options{
			Container: "0123456789abcdef0123456789abcdef_G7", TrackingSuffix: "_G7",
			Authorizer: g, Registrar: g, TokenGrace: grace,
		})
		close(p.ended)
	}()
	t.Cleanup(func() {
		client.Close()
		cancel()
		for range p.ended {
		}
	})
	return p
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("writing % X: %v", b, err)
	}
}

func (p *peer) read() []byte {
	p.t.Helper()
	b := make([]byte, MaxFrame)
	n, err := p.conn.Read(b)
	if err != nil {
		p.t.Fatalf("reading a message: %v", err)
	}
	return b[:n]
}

func (p *peer) expect(what string, want []byte) {
	p.t.Helper()
	if got := p.read(); !bytes.Equal(got, want) {
		p.t.Fatalf("%s:\n% X\nwant\n% X", what, got, want)
	}
}

// frame reads a message as a frame.
func (p *peer) frame(code uint64) frame {
	p.t.Helper()
	f, err := readFrame(bytes.NewReader(p.read()))
	if err != nil {
		p.t.Fatal(err)
	}
	if f.code != code {
		p.t.Fatalf("got performative %#02x %v, want %#02x", f.code, f.body, code)
	}
	return f
}

// begin plays the transcript up to and with the session.
func (p *peer) begin(v map[string][]byte) {
	p.t.Helper()
	p.write(headerSASL[:])
	p.expect("SASL header", headerSASL[:])
	p.expect("mechanisms", v["saslMechanisms.server"])
	p.write(v["saslInit.client"])
	p.expect("outcome", v["saslOutcome.server"])
	p.write(headerAMQP[:])
	p.expect("AMQP header", headerAMQP[:])
	p.write(v["open.client"])
	p.expect("open", v["open.server"])
	p.write(v["begin.client"])
	p.expect("begin", v["begin.server"])
}

// listen plays the transcript up to and with the links and their credit.
func (p *peer) listen(v map[string][]byte) {
	p.t.Helper()
	p.begin(v)
	p.write(v["attachOut.client"])
	p.expect("attach out", v["attachOut.server"])
	p.write(v["attachIn.client"])
	p.expect("attach in", v["attachIn.server"])
	if flow := p.frame(descFlow); flow.body.field(4) != uint32(0) || len(flow.body) != 11 {
		p.t.Errorf("flow %v, want 11 fields for handle 0", flow.body)
	}
	p.write(v["flow.client"])
	p.write(flowFrame(1, 5000, 1, 0, 1000))
}

func flowFrame(nextIncoming, window, handle, count, credit uint32) []byte {
	return encodeFrame(frameAMQP, 0, descFlow,
		list{nextIncoming, window, uint32(1), window, handle, count, credit, uint32(0), nil, false, nil}, 0)
}

// sync waits until everything written so far has been handled: the server
// answers a flow that asks for an echo.
func (p *peer) sync() {
	p.t.Helper()
	p.write(encodeFrame(frameAMQP, 0, descFlow, list{uint32(1), uint32(5000), uint32(1), uint32(5000), nil, nil, nil, nil, nil, true, nil}, 0))
	p.frame(descFlow)
}

func TestServerSpeaksTheTranscript(t *testing.T) {
	v := transcript(t)
	g := newGate()
	p := connect(t, g, 0)
	p.listen(v)
	p.sync()
	listener := <-g.attached
	if want := "sb://his-nam1-test1.servicebus.windows.net/6f5e4d3c-2b1a-4908-8716-253443526170_9a8b7c6d-5e4f-4a3b-9c2d-1e0f1a2b3c4d_reliable/"; listener.Address != want {
		t.Errorf("the listener is at %q, want %q", listener.Address, want)
	}
	for range 2 {
		if token := <-g.tokens; !strings.HasSuffix(token, "&se=1767225600&skn=Connector") {
			t.Errorf("authorized with %q", token)
		}
	}

	sent := make(chan *Delivery, 1)
	go func() {
		d, err := listener.Send(v["transferPayload.server"][8:])
		if err != nil {
			t.Error(err)
		}
		sent <- d
	}()
	head := p.read()
	copy(head[19:35], v["transferHead.server"][19:35]) // the tag is random
	if !bytes.Equal(head, v["transferHead.server"]) {
		t.Errorf("the transfer's first message:\n% X\nwant\n% X", head, v["transferHead.server"])
	}
	p.expect("the transfer's second message", v["transferPayload.server"])
	delivery := <-sent
	p.write(v["disposition.client"])
	<-delivery.Done()
	if delivery.Outcome() != OutcomeAccepted {
		t.Errorf("outcome %v, want accepted", delivery.Outcome())
	}

	p.write(encodeFrame(frameAMQP, 0, descClose, list{nil}, 0))
	p.frame(descClose)
	if err := <-p.ended; err != nil {
		t.Errorf("closed in order, yet: %v", err)
	}
	if got := <-g.detached; got != listener {
		t.Error("another listener was withdrawn")
	}
}

func TestPipelinedClient(t *testing.T) {
	v := transcript(t)
	g := newGate()
	p := connect(t, g, 0)
	go func() { // everything in one write, without waiting for an answer
		var all []byte
		all = append(all, headerSASL[:]...)
		all = append(all, v["saslInit.client"]...)
		all = append(all, headerAMQP[:]...)
		for _, name := range []string{"open", "begin", "attachOut", "attachIn", "flow"} {
			all = append(all, v[name+".client"]...)
		}
		_, _ = p.conn.Write(all) // what fails here is missed below
	}()
	for _, name := range []string{"", "saslMechanisms", "saslOutcome", "", "open", "begin", "attachOut", "attachIn"} {
		got := p.read()
		if want := v[name+".server"]; name != "" && !bytes.Equal(got, want) {
			t.Fatalf("%s:\n% X\nwant\n% X", name, got, want)
		}
	}
	p.frame(descFlow)
}

func TestWrongSizesInsideAFrame(t *testing.T) {
	v := transcript(t)
	g := newGate()
	p := connect(t, g, 0)
	p.begin(v)
	out := bytes.Clone(v["attachOut.client"])
	out[14]++ // the size of the performative's list is one too large
	mapSize := bytes.Index(out, []byte{0xD1, 0, 0, 1, 0xD0})
	out[mapSize+3], out[mapSize+4] = 0, 7 // that of the properties plainly wrong
	p.write(out)
	p.expect("attach out", v["attachOut.server"])
}

func TestRefusedLink(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse error
		want   symbol
	}{
		"a refusal reaches the client":          {&Refusal{ConditionRelayNotFound, "no such path"}, ConditionRelayNotFound},
		"the text of other errors stays inside": {errors.New("the key is hunter2"), conditionInternal},
	} {
		t.Run(name, func(t *testing.T) {
			v := transcript(t)
			g := newGate()
			g.refuse = tc.refuse
			p := connect(t, g, 0)
			p.begin(v)
			p.write(v["attachIn.client"])
			attach := p.frame(descAttach)
			if len(attach.body) != 14 || attach.body[5] != nil || attach.body[6] != nil || attach.body[13] == nil {
				t.Errorf("attach %v, want 14 fields with neither source nor target", attach.body)
			}
			message := p.read()
			if bytes.Contains(message, []byte("hunter2")) {
				t.Error("the detach tells the inner error")
			}
			detach, err := readFrame(bytes.NewReader(message))
			if err != nil {
				t.Fatal(err)
			}
			_, fields, _ := performative(detach.body.field(2))
			if detach.code != descDetach || detach.body.field(1) != true || fields.field(0) != tc.want {
				t.Errorf("detach %v, want closed with %s", detach.body, tc.want)
			}
			p.write(flowFrame(1, 5000, 1, 0, 1000)) // was under way
			p.write(encodeFrame(frameAMQP, 0, descDetach, list{uint32(1), true, nil}, 0))
			p.sync()
			if len(g.attached) != 0 {
				t.Error("a refused link was announced as a listener")
			}
		})
	}
}

func TestTokenEndsUnlessRenewed(t *testing.T) {
	v := transcript(t)
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := connect(t, g, 5*time.Minute)
		p.listen(v)
		listener := <-g.attached
		time.Sleep(time.Hour + 4*time.Minute) // over, within the grace time
		for handle := range uint32(2) {
			p.write(encodeFrame(frameAMQP, 0, descFlow, list{uint32(1), uint32(5000), uint32(1), uint32(5000), handle,
				uint32(0), uint32(1000), nil, nil, false, mapping{{symbol("com.microsoft:swt"), "renewed"}}}, 0))
		}
		time.Sleep(time.Hour + 4*time.Minute)
		if !listener.Ready() {
			t.Fatal("the listener is gone although its token was renewed")
		}
		for range 2 { // nobody renews now: both links end
			detach := p.frame(descDetach)
			_, fields, _ := performative(detach.body.field(2))
			if fields.field(0) != symbol(ConditionUnauthorized) {
				t.Errorf("detached with %v, want %s", fields.field(0), ConditionUnauthorized)
			}
		}
		if got := <-g.detached; got != listener || listener.Ready() {
			t.Error("the listener was not withdrawn")
		}
	})
}

func TestRenewalWithABadTokenEndsTheLink(t *testing.T) {
	v := transcript(t)
	g := newGate()
	p := connect(t, g, 0)
	p.listen(v)
	p.write(encodeFrame(frameAMQP, 0, descFlow, list{uint32(1), uint32(5000), uint32(1), uint32(5000), uint32(1),
		uint32(0), uint32(1000), nil, nil, false, mapping{{symbol("com.microsoft:swt"), "bad"}}}, 0))
	p.frame(descDetach)
	<-g.detached
	p.sync() // the connection lives on
}

func TestEmptyFramesOnlyWhenAskedFor(t *testing.T) {
	v := transcript(t)
	for name, tc := range map[string]struct {
		idle any
		want time.Duration // until the first; zero: none in a day
	}{
		"the client set no idle time-out":       {nil, 0},
		"the client set an idle time-out of 1m": {uint32(60000), 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, newGate(), 0)
				open := list{"client", nil, nil, nil, tc.idle}
				p.begin(map[string][]byte{
					"saslMechanisms.server": v["saslMechanisms.server"], "saslInit.client": v["saslInit.client"], "saslOutcome.server": v["saslOutcome.server"],
					"open.client": encodeFrame(frameAMQP, 0, descOpen, open, 0), "open.server": v["open.server"],
					"begin.client": v["begin.client"], "begin.server": v["begin.server"],
				})
				start := time.Now()
				if err := p.conn.SetReadDeadline(start.Add(24 * time.Hour)); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 64)
				n, err := p.conn.Read(b)
				if tc.want == 0 {
					if err == nil {
						t.Errorf("the server sent % X unasked", b[:n])
					}
					return
				}
				if err != nil || !bytes.Equal(b[:n], emptyFrame) || time.Since(start) != tc.want {
					t.Errorf("got % X, %v after %s; want an empty frame after %s", b[:n], err, time.Since(start), tc.want)
				}
				p.conn.Close()
			})
		})
	}
}

func TestCreditIsRespected(t *testing.T) {
	v := transcript(t)
	g := newGate()
	p := connect(t, g, 0)
	p.listen(v)
	listener := <-g.attached
	go io.Copy(io.Discard, p.conn) //nolint:errcheck // ends with the connection
	p.write(flowFrame(1, 5000, 1, 0, 1))
	for !listener.Ready() { // flows are handled in order; this one ends it
		p.write(emptyFrame)
	}
	p.write(flowFrame(1, 5000, 1, 0, 2))
	p.write(emptyFrame)
	p.write(emptyFrame) // taken from the pipe once the flow has been handled
	for range 2 {
		if _, err := listener.Send([]byte("message")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := listener.Send([]byte("message")); !errors.Is(err, ErrNoCredit) {
		t.Errorf("a third message with a credit of two: %v, want ErrNoCredit", err)
	}
	if _, err := listener.Send(make([]byte, MaxFrame)); !errors.Is(err, ErrNoCredit) && !errors.Is(err, ErrTooLarge) {
		t.Errorf("a message larger than a frame: %v", err)
	}
}

func TestStopTellsTheClient(t *testing.T) {
	v := transcript(t)
	client, server := net.Pipe()
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	g := newGate()
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, server, Options{Container: "0123456789abcdef0123456789abcdef_G7", TrackingSuffix: "_G7", Authorizer: g, Registrar: g})
	}()
	p := &peer{t: t, conn: client}
	p.listen(v)
	<-g.attached
	cancel()
	closing := p.frame(descClose)
	if _, fields, _ := performative(closing.body.field(0)); fields.field(0) != symbol(conditionForced) {
		t.Errorf("closed with %v, want %s", closing.body, conditionForced)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve ended with %v, want that it was stopped", err)
	}
	<-g.detached
}

func TestBadClients(t *testing.T) {
	v := transcript(t)
	for name, tc := range map[string]struct {
		send [][]byte
		want string // in the error of Serve
	}{
		"HTTP instead of AMQP":             {[][]byte{[]byte("GET / HT")}, "protocol header"},
		"a frame larger than allowed":      {[][]byte{{0, 1, 0, 1, 2, 0, 0, 0}}, "bytes; 8 to 65536 are allowed"},
		"a frame smaller than its header":  {[][]byte{{0, 0, 0, 7, 2, 0, 0, 0}}, "bytes; 8 to 65536 are allowed"},
		"a body that points outside":       {[][]byte{{0, 0, 0, 8, 9, 0, 0, 0}}, "data offset"},
		"an unknown frame type":            {[][]byte{{0, 0, 0, 8, 2, 7, 0, 0}}, "neither AMQP nor SASL"},
		"a second session":                 {[][]byte{v["begin.client"]}, "one session"},
		"an attach without a role":         {[][]byte{encodeFrame(frameAMQP, 0, descAttach, list{"l", uint32(0)}, 0)}, "lacks name, handle or role"},
		"a handle used twice":              {[][]byte{v["attachOut.client"], v["attachOut.client"]}, "taken"},
		"a flow for a handle never used":   {[][]byte{flowFrame(1, 1, 77, 0, 1)}, "not attached"},
		"a detach for a handle never used": {[][]byte{encodeFrame(frameAMQP, 0, descDetach, list{uint32(5)}, 0)}, "not attached"},
		"a name longer than allowed":       {[][]byte{encodeFrame(frameAMQP, 0, descAttach, list{strings.Repeat("n", 3000), uint32(0), true}, 0)}, "at most 2048 bytes"},
		"values nested without end":        {[][]byte{nested(200)}, "nested more than"},
		"arrays of nothing, many times":    {[][]byte{manyNothings()}, "values"},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, newGate(), 0)
			if strings.HasPrefix(name, "HTTP") {
				p.write(tc.send[0])
				p.read()
			} else {
				p.begin(v)
				go io.Copy(io.Discard, p.conn) //nolint:errcheck // ends with the connection
				for _, b := range tc.send {
					p.write(b)
				}
			}
			if err := <-p.ended; err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Serve ended with %v, want an error about %q", err, tc.want)
			}
		})
	}
}

// nested is an open with lists in lists.
func nested(depth int) []byte {
	var v any = list{true}
	for range depth {
		v = list{v}
	}
	return encodeFrame(frameAMQP, 0, descFlow, list{v}, 0)
}

// manyNothings is a flow with arrays whose elements take no bytes.
func manyNothings() []byte {
	body := []byte{0x00, 0x53, descFlow, 0xC0, 0, 200}
	for range 200 {
		body = append(body, 0xE0, 2, 255, 0x40)
	}
	return append([]byte{0, 0, byte((len(body) + 8) >> 8), byte(len(body) + 8), 2, 0, 0, 0}, body...)
}
