// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
)

// sessionBehaviour says where a connector departs from the straight path of a
// reliable session.
type sessionBehaviour struct {
	lose    int  // so many messages are taken for lost: neither acknowledged nor acted on
	repeat  bool // every reply is sent twice
	stray   bool // replies relate to the sequence, as those of some connectors do
	ask     bool // for acknowledgements, in envelopes of their own
	leave   bool // the session ends after the first reply
	hangUp  bool // the connection breaks instead of the first reply
	refuse  bool // no sequence is granted
	unknown bool // messages are answered with the fault for an unknown sequence
}

// conversation is one reliable session of the scripted connector. It is written
// by hand, without the state machine that the tenant uses.
type conversation struct {
	conn    net.Conn
	reader  *framing.Reader
	encoder *signal.Encoder
	decoder *signal.Decoder
	create  signal.Envelope

	granted        string
	received, sent int64
	lost           int
	closing        bool
}

func (v *conversation) send(e signal.Envelope) bool {
	e.To = signal.AnonymousAddress
	content, err := v.encoder.Encode(e)
	if err != nil {
		return false
	}
	_, err = v.conn.Write(framing.AppendSizedEnvelope(nil, content))
	return err == nil
}

// sequenced sends the next message of the sequence that the cloud offered.
func (v *conversation) sequenced(e signal.Envelope, repeat bool) {
	v.sent++
	e.Sequence = &signal.Sequence{Identifier: v.create.CreateSequence.Offer, MessageNumber: v.sent, Last: e.Kind == signal.KindLastMessage}
	v.send(e)
	if repeat {
		v.send(e)
	}
}

func (v *conversation) acknowledge() {
	v.send(signal.Envelope{Kind: signal.KindAcknowledgement, Acknowledgement: &signal.Acknowledgement{
		Identifier: v.granted, Ranges: []signal.Range{{Lower: 1, Upper: v.received}}, BufferRemaining: 8,
	}})
}

// last ends the connector's sequence.
func (v *conversation) last() {
	if !v.closing {
		v.closing = true
		v.sequenced(signal.Envelope{Kind: signal.KindLastMessage}, false)
	}
}

// converse serves a session until the cloud ends it.
func (c *connector) converse(ctx context.Context, v *conversation) {
	var answering sync.WaitGroup
	defer answering.Wait()
	if _, plan := c.plan(); plan.session.refuse {
		v.send(signal.Envelope{Kind: signal.KindFault, RelatesTo: v.create.MessageID, Fault: &signal.Fault{Code: "Receiver", Subcode: signal.SubcodeCreateSequenceRefused, Reason: "no"}})
	} else {
		v.granted = "urn:uuid:" + guid.New().String()
		v.send(signal.Envelope{Kind: signal.KindCreateSequenceResponse, RelatesTo: v.create.MessageID, CreateSequenceResponse: &signal.CreateSequenceResponse{
			Identifier: v.granted, AcksTo: v.create.To,
		}})
	}
	for {
		record, err := v.reader.ReadRecord()
		if err != nil {
			return
		}
		if record.Type == framing.RecordEnd {
			c.heard("end")
			c.wrote(v.conn, framing.AppendEnd(nil))
			return
		}
		e, err := v.decoder.Decode(record.Payload)
		if err != nil {
			c.t.Errorf("an envelope of a session: %v", err)
			return
		}
		if err := c.hear(ctx, v, e, &answering); err != nil {
			return
		}
	}
}

var errHangUp = errors.New("the connector hangs up")

// hear acts on one envelope.
func (c *connector) hear(ctx context.Context, v *conversation, e signal.Envelope, answering *sync.WaitGroup) error {
	_, plan := c.plan()
	switch {
	case e.Sequence != nil:
		c.heard(fmt.Sprintf("message %d", e.Sequence.MessageNumber))
		if v.lost < plan.session.lose {
			v.lost++
			return nil
		}
		if plan.session.unknown {
			v.send(signal.Envelope{Kind: signal.KindFault, RelatesTo: e.MessageID, Fault: &signal.Fault{Subcode: signal.SubcodeUnknownSequence, Sequence: v.granted}})
			return nil
		}
		fresh := e.Sequence.MessageNumber == v.received+1
		if fresh {
			v.received++
		}
		v.acknowledge()
		switch {
		case fresh && e.Kind == signal.KindLastMessage:
			v.last()
		case fresh:
			return c.take(ctx, v, e, answering)
		}
	case e.Kind == signal.KindAcknowledgement:
		ranges := e.Acknowledgement.Ranges
		c.heard(fmt.Sprintf("acknowledgement %v", ranges))
		if v.closing && len(ranges) == 1 && ranges[0].Upper == v.sent {
			v.send(signal.Envelope{Kind: signal.KindTerminateSequence, TerminateSequence: v.create.CreateSequence.Offer})
		}
	case e.Kind == signal.KindTerminateSequence:
		c.heard("terminate")
	case e.Kind == signal.KindAckRequested:
		v.acknowledge()
	case e.Kind == signal.KindPing:
		c.heard("ping")
	default:
		c.t.Errorf("the cloud sent %+v", e)
	}
	return nil
}

// take replies to a signal and answers its request.
func (c *connector) take(ctx context.Context, v *conversation, e signal.Envelope, answering *sync.WaitGroup) error {
	_, plan := c.plan()
	c.mu.Lock()
	c.signals = append(c.signals, *e.Signal)
	c.mu.Unlock()
	relates := e.MessageID
	if plan.session.stray {
		relates = v.create.CreateSequence.Offer
	}
	switch {
	case plan.session.hangUp:
		v.conn.Close()
		return errHangUp
	case plan.closing:
		v.sequenced(signal.Envelope{Kind: signal.KindClosingFault, RelatesTo: relates, Fault: &signal.Fault{Reason: "stopping"}}, plan.session.repeat)
		return nil
	case !plan.dontAck:
		id := c.identity.ConnectorID
		if plan.anotherID {
			id = guid.New().String()
		}
		v.sequenced(signal.Envelope{Kind: signal.KindResponse, RelatesTo: relates, Response: &signal.Response{ConnectorID: id}}, plan.session.repeat)
	}
	if plan.session.ask {
		v.send(signal.Envelope{Kind: signal.KindAckRequested, AckRequested: v.create.CreateSequence.Offer})
	}
	if plan.session.leave {
		v.last()
	}
	answering.Go(func() { c.answer(ctx, *e.Signal) })
	return nil
}

// heard remembers what a session brought.
func (c *connector) heard(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire = append(c.wire, what)
}

// overheard returns what the sessions brought so far.
func (c *connector) overheard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.wire...)
}

func TestEndpointsOfABootstrap(t *testing.T) {
	for name, tc := range map[string]struct {
		opts     cloud.Options
		suffixes []string // of the names, after namespace 1 to n
	}{
		"as the service":         {cloud.Options{}, []string{"1", "2", "3", "4", "1_reliable", "2_reliable", "3_reliable", "4_reliable"}},
		"plain, two namespaces":  {cloud.Options{Endpoints: signin.EndpointPlain, Namespaces: 2}, []string{"1", "2"}},
		"reliable, one of them":  {cloud.Options{Endpoints: signin.EndpointReliable, Namespaces: 1}, []string{"1_reliable"}},
		"both kinds in only one": {cloud.Options{Namespaces: 1}, []string{"1", "1_reliable"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := register(t, start(t, tc.opts).Ready(), "one")
			var got []string
			keys := map[string]bool{}
			for _, e := range c.bootstrap().Endpoints {
				suffix := strings.TrimPrefix(e.Namespace, "his-nam1-test")
				if e.Reliable {
					suffix += "_reliable"
				}
				if strings.HasSuffix(e.ServicePath, "_reliable") != e.Reliable || e.Name != e.Namespace+"/"+e.ServicePath {
					t.Errorf("endpoint %+v", e)
				}
				got = append(got, suffix)
				keys[e.SharedAccessKey] = true
			}
			if diff := cmp.Diff(tc.suffixes, got); diff != "" {
				t.Errorf("endpoints (-want +got):\n%s", diff)
			}
			if len(keys) != len(tc.suffixes) {
				t.Errorf("%d different keys for %d endpoints", len(keys), len(tc.suffixes))
			}
		})
	}
}

// soon signs in once a connector takes requests: its credit may come a moment
// after its link.
func soon(t *testing.T, ready cloud.Ready, password string) (got signin.Result) {
	t.Helper()
	eventually(t, "a connector takes a request", func() bool {
		got = signIn(t, ready, user, password)
		return got.Attempts > 0
	})
	return got
}

// A link comes a moment before its credit. A request that finds links and no
// credit waits for it.
func TestARequestWaitsForCredit(t *testing.T) {
	ready := start(t, cloud.Options{Namespaces: 1}).Ready()
	asked := make(chan struct{})
	connect(t, ready, "server1", right, behaviour{creditAfter: asked})
	results := make(chan signin.Result, 1)
	go func() {
		var got signin.Result
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(asked) }})
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, ready.Web+"/api/signin", strings.NewReader(fmt.Sprintf(`{"username":%q,"password":%q}`, user, right)))
		if err != nil {
			t.Error(err)
		}
		request.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Error(err)
			close(results)
			return
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		results <- got
	}()
	if got := <-results; got.Verdict != "success" || got.Attempts != 1 {
		t.Errorf("got %+v, want a success", got)
	}
}

// reliableTenant offers one reliable endpoint.
func reliableTenant(t *testing.T, change func(*cloud.Options)) *tenant {
	t.Helper()
	opts := cloud.Options{Endpoints: signin.EndpointReliable, Namespaces: 1}
	if change != nil {
		change(&opts)
	}
	return start(t, opts)
}

func TestSignInsShareAReliableSession(t *testing.T) {
	ready := reliableTenant(t, nil).Ready()
	c := connect(t, ready, "server1", right, behaviour{})
	for n := range 12 {
		password, verdict := right, "success"
		if n%3 == 2 {
			password, verdict = "wrong", "failure"
		}
		got := soon(t, ready, password)
		if got.Verdict != verdict || got.Attempts != 1 || got.Endpoint != signin.EndpointReliable || !strings.HasSuffix(got.Via, "_reliable") {
			t.Fatalf("sign-in %d: %+v", n, got)
		}
	}
	if got := stats(t, ready); got["sessions"] != 1 || got["defectRelatesTo"] != 0 || got["defectConnectorID"] != 0 {
		t.Errorf("stats %v, want one session and no defect", got)
	}
	eventually(t, "the last reply is acknowledged", func() bool {
		heard := c.overheard()
		return strings.Contains(heard[len(heard)-1], "acknowledgement [{1 12}]")
	})
}

func TestManySignInsAtATimeOnReliableEndpoints(t *testing.T) {
	ready := reliableTenant(t, nil).Ready()
	connect(t, ready, "server1", right, behaviour{})
	var signIns sync.WaitGroup
	results := make(chan signin.Result, 30)
	for range cap(results) {
		signIns.Go(func() { results <- soon(t, ready, right) })
	}
	signIns.Wait()
	close(results)
	for r := range results {
		if r.Verdict != "success" || r.Attempts != 1 {
			t.Errorf("sign-in %+v", r)
		}
	}
	if got := stats(t, ready); got["sessions"] > cap(results)/2 {
		t.Errorf("%d sessions for %d sign-ins", got["sessions"], cap(results))
	}
}

func TestDeparturesOfAReliableSession(t *testing.T) {
	for name, tc := range map[string]struct {
		behave   behaviour
		sessions int // for two sign-ins
		defect   string
	}{
		"the straight path":                {behaviour{}, 1, ""},
		"the preamble, acknowledged early": {behaviour{earlyAck: true}, 1, ""},
		"a lost message":                   {behaviour{session: sessionBehaviour{lose: 1}}, 1, ""},
		"replies that are repeated":        {behaviour{session: sessionBehaviour{repeat: true}}, 1, ""},
		"acknowledgements asked for":       {behaviour{session: sessionBehaviour{ask: true}}, 1, ""},
		"replies that relate elsewhere":    {behaviour{session: sessionBehaviour{stray: true}}, 1, "defectRelatesTo"},
		"an id of its own":                 {behaviour{anotherID: true}, 1, "defectConnectorID"},
		"a session that ends early":        {behaviour{session: sessionBehaviour{leave: true}}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ready := reliableTenant(t, func(o *cloud.Options) { o.AcceptTimeout = 20 * time.Second }).Ready()
			c := connect(t, ready, "server1", right, tc.behave)
			for n := range 2 {
				if got := soon(t, ready, right); got.Verdict != "success" || got.Attempts != 1 {
					t.Errorf("got %+v, want a success at the first attempt", got)
				}
				if tc.sessions == 2 && n == 0 {
					eventually(t, "the first session is over", func() bool {
						heard := c.overheard()
						return heard[len(heard)-1] == "end"
					})
				}
			}
			if got := stats(t, ready)["sessions"]; got != tc.sessions {
				t.Errorf("%d sessions, want %d", got, tc.sessions)
			}
			if tc.defect != "" { // seen in the reply, which the verdict may overtake
				eventually(t, "the defect is counted twice", func() bool { return stats(t, ready)[tc.defect] == 2 })
			}
		})
	}
}

func TestAnotherConnectorTakesOverFromAReliableSession(t *testing.T) {
	for name, first := range map[string]behaviour{
		"that is closing":           {closing: true},
		"that breaks":               {session: sessionBehaviour{hangUp: true}},
		"that is refused":           {session: sessionBehaviour{refuse: true}},
		"that is forgotten":         {session: sessionBehaviour{unknown: true}},
		"on which nothing is heard": {session: sessionBehaviour{lose: 1000}},
		"without a reply":           {dontAck: true, dontRespond: true},
	} {
		t.Run(name, func(t *testing.T) {
			ready := reliableTenant(t, func(o *cloud.Options) { o.AcceptTimeout = 2 * time.Second }).Ready()
			connect(t, ready, "server1", right, first)
			good := connect(t, ready, "server2", right, behaviour{})
			retried := false
			for range 2 { // they take turns, so one of the two begins with the first
				got := soon(t, ready, right)
				if got.Verdict != "success" || got.ConnectorID != good.identity.ConnectorID {
					t.Errorf("got %+v, want a success by the second connector", got)
				}
				retried = retried || got.Attempts == 2
			}
			if !retried {
				t.Error("nobody was asked twice")
			}
			if got := stats(t, ready); first.closing && got["closingFaults"] == 0 {
				t.Errorf("closing faults are not counted: %v", got)
			}
		})
	}
}

func TestAnIdleReliableSessionEnds(t *testing.T) {
	ready := reliableTenant(t, func(o *cloud.Options) { o.SessionIdle = 10 * time.Millisecond }).Ready()
	c := connect(t, ready, "server1", right, behaviour{})
	for n := 1; n <= 2; n++ {
		if got := soon(t, ready, right); got.Verdict != "success" {
			t.Errorf("got %+v", got)
		}
		eventually(t, "the session ends in order", func() bool {
			ends := 0
			for _, what := range c.overheard() {
				if what == "end" {
					ends++
				}
			}
			return ends == n
		})
	}
	heard := strings.Join(c.overheard(), ", ")
	if !strings.HasPrefix(heard, "message 1, ") || strings.Count(heard, "message 2, ") != 2 || strings.Count(heard, "terminate") != 2 {
		t.Errorf("the sessions brought %s; want one message, the last message and the end of the sequence in each", heard)
	}
}

func TestAStoppingTenantEndsItsSessions(t *testing.T) {
	running := reliableTenant(t, nil)
	c := connect(t, running.Ready(), "server1", right, behaviour{})
	if got := soon(t, running.Ready(), right); got.Verdict != "success" {
		t.Errorf("got %+v", got)
	}
	running.stop()
	heard := c.overheard()
	if got := strings.Join(heard, ", "); !strings.Contains(got, "terminate") || heard[len(heard)-1] != "end" {
		t.Errorf("the session brought %s, want its end", got)
	}
}

func TestASignInMayAskForAKindOfEndpoint(t *testing.T) {
	ready := start(t, cloud.Options{Namespaces: 1}).Ready()
	connect(t, ready, "server1", right, behaviour{})
	for _, endpoint := range []signin.Endpoint{signin.EndpointPlain, signin.EndpointReliable} {
		for range 3 {
			var got signin.Result
			status := api(t, ready, http.MethodPost, "/api/signin", fmt.Sprintf(`{"username":%q,"password":%q,"endpoint":%q}`, user, right, endpoint), &got)
			if status != http.StatusOK || got.Verdict != "success" || got.Endpoint != endpoint {
				t.Errorf("status %d, %+v; want a success on a %s endpoint", status, got, endpoint)
			}
		}
	}
	var refused struct{ Error string }
	if status := api(t, ready, http.MethodPost, "/api/signin", `{"username":"`+user+`","password":"x","endpoint":"round"}`, &refused); status != http.StatusBadRequest || !strings.Contains(refused.Error, "round") {
		t.Errorf("status %d, %+v", status, refused)
	}
}
