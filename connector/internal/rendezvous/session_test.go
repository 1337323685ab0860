// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

const via = "sb://his-nam1-test1.servicebus.test/path_reliable"

// roundTripper answers requests without a network.
type roundTripper func(http.ResponseWriter, *http.Request)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r(w, req)
	return w.Result(), nil
}

// reliableCloud is the cloud of a reliable endpoint, written by hand: it sends
// what a test says, right or wrong.
type reliableCloud struct {
	*cloud
	offered, granted string
	create           signal.Envelope
	records          chan framing.Record // closed when the connection ends
}

// quiet makes a stage in which the only clock is the test's.
func quiet(t *testing.T, change ...func(*Options)) *stage {
	t.Helper()
	s := emptyStage(t)
	s.begin(&http.Client{Transport: roundTripper(s.serve)}, change...)
	return s
}

// session meets the handler and creates a sequence.
func (s *stage) session() *reliableCloud {
	s.t.Helper()
	c := &reliableCloud{cloud: s.meet(), offered: "urn:uuid:" + guid.New().String(), records: make(chan framing.Record, 64)}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.conn.Close() })
	go func() {
		defer close(c.records)
		for {
			record, err := c.r.ReadRecord()
			if err != nil {
				return
			}
			c.records <- record
		}
	}()
	c.create = signal.Envelope{
		Kind: signal.KindCreateSequence, MessageID: "urn:uuid:" + guid.New().String(), To: via,
		CreateSequence: &signal.CreateSequence{AcksTo: signal.AnonymousAddress, Offer: c.offered},
	}
	c.granted = c.created()
	return c
}

// created asks for the sequence and returns which one is granted.
func (c *reliableCloud) created() string {
	c.t.Helper()
	c.send(c.create)
	response := c.next()
	if response.Kind != signal.KindCreateSequenceResponse || response.RelatesTo != c.create.MessageID ||
		response.CreateSequenceResponse.AcksTo != via || !strings.HasPrefix(response.CreateSequenceResponse.Identifier, "urn:uuid:") {
		c.t.Fatalf("CreateSequence was answered with %+v", response)
	}
	return response.CreateSequenceResponse.Identifier
}

func (c *reliableCloud) send(e signal.Envelope) {
	c.t.Helper()
	content, err := c.enc.Encode(e)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(framing.AppendSizedEnvelope(nil, content))
}

// signal sends a request as a message of the sequence and returns its id.
func (c *reliableCloud) signal(n int64, m *signal.Message) string {
	c.t.Helper()
	id := fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012d", n)
	c.send(signal.Envelope{Kind: signal.KindSignal, MessageID: id, To: via, Sequence: &signal.Sequence{Identifier: c.granted, MessageNumber: n}, Signal: m})
	return id
}

func (c *reliableCloud) acknowledge(upper int64) {
	c.t.Helper()
	c.send(signal.Envelope{Kind: signal.KindAcknowledgement, To: via, Acknowledgement: &signal.Acknowledgement{
		Identifier: c.offered, Ranges: []signal.Range{{Lower: 1, Upper: upper}}, BufferRemaining: 8,
	}})
}

// next returns the connector's next envelope.
func (c *reliableCloud) next() signal.Envelope {
	c.t.Helper()
	record := c.nextRecord()
	if record.Type != framing.RecordSizedEnvelope {
		c.t.Fatalf("record %#02x, want an envelope", byte(record.Type))
	}
	e, err := c.dec.Decode(record.Payload)
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

func (c *reliableCloud) nextRecord() framing.Record {
	c.t.Helper()
	select {
	case record, ok := <-c.records:
		if !ok {
			c.t.Fatal("the connection has ended")
		}
		return record
	case <-time.After(time.Hour): // the bubble's
		c.t.Fatal("the connector says nothing")
	}
	return framing.Record{}
}

// wantAcknowledged reads an acknowledgement of the ranges, given as pairs.
func (c *reliableCloud) wantAcknowledged(bounds ...int64) {
	c.t.Helper()
	want := &signal.Acknowledgement{Identifier: c.granted, BufferRemaining: 8}
	for i := 0; i < len(bounds); i += 2 {
		want.Ranges = append(want.Ranges, signal.Range{Lower: bounds[i], Upper: bounds[i+1]})
		if bounds[i] > 1 {
			want.BufferRemaining -= bounds[i+1] - bounds[i] + 1
		}
	}
	if diff := cmp.Diff(want, c.next().Acknowledgement); diff != "" {
		c.t.Errorf("acknowledgement (-want +got):\n%s", diff)
	}
}

// wantReply reads the reply to a signal.
func (c *reliableCloud) wantReply(kind signal.Kind, n int64, relatesTo string) {
	c.t.Helper()
	e := c.next()
	if e.Kind != kind || e.RelatesTo != relatesTo || e.Sequence == nil || *e.Sequence != (signal.Sequence{Identifier: c.offered, MessageNumber: n}) {
		c.t.Errorf("got %+v, want kind %d as message %d in answer to %s", e, kind, n, relatesTo)
	}
}

// leave ends the session as the cloud does, sent and got being the numbers of
// the last messages of either direction.
func (c *reliableCloud) leave(sent, got int64) {
	c.t.Helper()
	c.send(signal.Envelope{Kind: signal.KindLastMessage, To: via, Sequence: &signal.Sequence{Identifier: c.granted, MessageNumber: sent + 1, Last: true}})
	c.wantAcknowledged(1, sent+1)
	last := c.next()
	if last.Kind != signal.KindLastMessage || last.Sequence.MessageNumber != got+1 {
		c.t.Fatalf("got %+v, want the last message", last)
	}
	c.acknowledge(got + 1)
	if e := c.next(); e.Kind != signal.KindTerminateSequence || e.TerminateSequence != c.offered {
		c.t.Fatalf("got %+v, want the end of the sequence", e)
	}
	c.send(signal.Envelope{Kind: signal.KindTerminateSequence, To: via, TerminateSequence: c.granted})
	if record := c.nextRecord(); record.Type != framing.RecordEnd {
		c.t.Fatalf("record %#02x, want an end", byte(record.Type))
	}
	c.write(framing.AppendEnd(nil))
	if _, open := <-c.records; open {
		c.t.Error("the connector says something after its end")
	}
}

// gone waits until the handler holds no connection, and checks what was dropped.
func (s *stage) gone(drops ...DropReason) {
	s.t.Helper()
	s.observed.wait(s.t, "the rendezvous has ended", func() bool { return s.observed.flight == 0 })
	if diff := cmp.Diff(drops, s.observed.drops); diff != "" {
		s.t.Errorf("drops (-want +got):\n%s", diff)
	}
	if len(s.handler.slots)+len(s.handler.sessions)+len(s.handler.requests) != 0 {
		s.t.Errorf("places are still taken: %d, %d, %d", len(s.handler.slots), len(s.handler.sessions), len(s.handler.requests))
	}
}

func TestManySignInsOnOneReliableConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet(t)
		c := s.session()
		for n := int64(1); n <= 20; n++ {
			id := c.signal(n, request(t, "P@ssw0rd"))
			c.wantAcknowledged(1, n)
			c.wantReply(signal.KindResponse, n, id)
			c.acknowledge(n)
			synctest.Wait()
		}
		c.leave(20, 20)
		s.gone()
		if len(s.posts) != 20 || len(s.validator.asked) != 20 {
			t.Errorf("%d verdicts, %d validations, want 20", len(s.posts), len(s.validator.asked))
		}
		for n := range s.posts {
			if !s.verdict(n).Authenticated {
				t.Errorf("verdict %d refuses the right password", n)
			}
		}
		s.wiped()
	})
}

func TestDuplicatesAndGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet(t)
		c := s.session()
		first, second, third := request(t, "P@ssw0rd"), request(t, "P@ssw0rd"), request(t, "P@ssw0rd")
		c.signal(1, first)
		c.wantAcknowledged(1, 1)
		c.wantReply(signal.KindResponse, 1, "urn:uuid:00000000-0000-4000-8000-000000000001")
		c.signal(1, first) // again: acknowledged and dropped
		c.wantAcknowledged(1, 1)
		c.signal(3, third) // ahead of its turn
		c.wantAcknowledged(1, 1, 3, 3)
		c.signal(100, request(t, "P@ssw0rd")) // beyond the window
		c.wantAcknowledged(1, 1, 3, 3)
		synctest.Wait()
		if len(s.validator.asked) != 1 {
			t.Errorf("%d validations before the gap is closed, want 1", len(s.validator.asked))
		}
		c.signal(2, second)
		c.wantAcknowledged(1, 3)
		c.wantReply(signal.KindResponse, 2, "urn:uuid:00000000-0000-4000-8000-000000000002")
		c.wantReply(signal.KindResponse, 3, "urn:uuid:00000000-0000-4000-8000-000000000003")
		c.send(signal.Envelope{Kind: signal.KindAckRequested, To: via, AckRequested: c.granted})
		c.wantAcknowledged(1, 3)
		if again := c.created(); again != c.granted {
			t.Errorf("CreateSequence, repeated, grants %s beside %s", again, c.granted)
		}
		c.acknowledge(3)
		c.leave(3, 3)
		s.gone()
		if len(s.validator.asked) != 3 {
			t.Errorf("%d validations, want one for each signal", len(s.validator.asked))
		}
	})
}

func TestRepliesAreSentUntilTheyAreAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet(t)
		c := s.session()
		id := c.signal(1, request(t, "P@ssw0rd"))
		c.wantAcknowledged(1, 1)
		began := time.Now()
		for range 3 {
			c.wantReply(signal.KindResponse, 1, id)
		}
		if took := time.Since(began); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("sent three times in %v, want growing pauses", took)
		}
		c.acknowledge(1)
		time.Sleep(9 * time.Minute) // within the idle limit: the connection stays
		synctest.Wait()
		if len(c.records) != 0 {
			t.Errorf("then something more is sent: %+v", c.next())
		}
		c.leave(1, 1)
		s.gone()
		if len(s.posts) != 1 {
			t.Errorf("%d verdicts, want 1", len(s.posts))
		}
	})
}

func TestACloudThatAcknowledgesNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet(t)
		c := s.session()
		c.signal(1, request(t, "P@ssw0rd"))
		c.wantAcknowledged(1, 1)
		replies := 0
		for range c.records {
			replies++
		}
		if replies != 8 {
			t.Errorf("the reply was sent %d times, want 8", replies)
		}
		s.gone(DropRelayFailed)
	})
}

func TestAnIdleSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet(t)
		c := s.session()
		began := time.Now()
		for range 10 { // kept by the cloud
			time.Sleep(5 * time.Minute)
			c.send(signal.Envelope{Kind: signal.KindPing, To: via})
		}
		if _, open := <-c.records; open {
			t.Error("a ping is answered")
		}
		if idle := time.Since(began) - 50*time.Minute; idle != sessionIdleLimit {
			t.Errorf("ended after %v without a word, want %v", idle, sessionIdleLimit)
		}
		s.gone(DropRelayFailed)
	})
}

func TestBrokenRulesOfASession(t *testing.T) {
	stranger := "urn:uuid:" + guid.New().String()
	for name, tc := range map[string]struct {
		breaks  func(*reliableCloud)
		subcode string
		goesOn  bool
		drops   []DropReason
	}{
		"a signal of another sequence": {func(c *reliableCloud) {
			c.send(signal.Envelope{Kind: signal.KindSignal, Sequence: &signal.Sequence{Identifier: stranger, MessageNumber: 1}, Signal: request(c.t, "P@ssw0rd")})
		}, signal.SubcodeUnknownSequence, true, nil},
		"a second session": {func(c *reliableCloud) {
			c.send(signal.Envelope{Kind: signal.KindCreateSequence, MessageID: stranger, CreateSequence: &signal.CreateSequence{Offer: stranger}})
		}, signal.SubcodeCreateSequenceRefused, true, nil},
		"a plain signal": {func(c *reliableCloud) {
			c.send(signal.Envelope{Kind: signal.KindSignal, Signal: request(c.t, "P@ssw0rd")})
		}, "", false, []DropReason{DropMalformed}},
		"an acknowledgement of what was never sent": {func(c *reliableCloud) { c.acknowledge(7) }, signal.SubcodeInvalidAcknowledgement, false, []DropReason{DropMalformed}},
		"the end before a message": {func(c *reliableCloud) {
			c.signal(2, request(c.t, "P@ssw0rd"))
			c.wantAcknowledged(2, 2)
			c.send(signal.Envelope{Kind: signal.KindTerminateSequence, TerminateSequence: c.granted})
		}, signal.SubcodeSequenceTerminated, false, []DropReason{DropMalformed}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := quiet(t)
				c := s.session()
				tc.breaks(c)
				if e := c.next(); e.Kind != signal.KindFault || e.Fault.Subcode != tc.subcode {
					t.Errorf("answered with %+v, want the fault %q", e, tc.subcode)
				}
				if tc.goesOn {
					c.leave(0, 0)
				} else if _, open := <-c.records; open {
					t.Error("the connection goes on")
				}
				s.gone(tc.drops...)
				if len(s.validator.asked) != 0 {
					t.Errorf("%d validations", len(s.validator.asked))
				}
			})
		})
	}
	t.Run("a sequence that nobody created", func(t *testing.T) {
		s := newStage(t)
		c := s.meet()
		content, err := c.enc.Encode(signal.Envelope{
			Kind: signal.KindSignal, Sequence: &signal.Sequence{Identifier: stranger, MessageNumber: 1}, Signal: request(t, "P@ssw0rd"),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.write(framing.AppendSizedEnvelope(nil, content))
		reply, err := c.dec.Decode(c.record().Payload)
		if err != nil || reply.Kind != signal.KindFault || reply.Fault.Sequence != stranger {
			t.Errorf("answered with %+v, %v", reply, err)
		}
		c.end()
		s.gone()
	})
	t.Run("a fault of the cloud", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := quiet(t)
			c := s.session()
			c.send(signal.Envelope{Kind: signal.KindFault, Fault: &signal.Fault{Subcode: signal.SubcodeUnknownSequence, Reason: "who?"}})
			if _, open := <-c.records; open {
				t.Error("the connection goes on")
			}
			s.gone(DropRelayFailed)
		})
	})
}

// TestAStopWithReliableSessions is what the cloud sees of a stop: what is held
// gets its verdict, what comes gets the closing fault, and both sequences end.
func TestAStopWithReliableSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet(t)
		s.validator.block = true
		s.settings.Limit = answerReserve + 5*time.Second
		busy, idle, deaf := s.session(), s.session(), s.session()
		id := busy.signal(1, request(t, "P@ssw0rd"))
		busy.wantAcknowledged(1, 1)
		busy.wantReply(signal.KindResponse, 1, id)
		busy.acknowledge(1)
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		drained := make(chan error, 1)
		go func() { drained <- s.handler.Drain(ctx) }()
		synctest.Wait()
		late := busy.signal(2, request(t, "P@ssw0rd"))
		busy.wantAcknowledged(1, 2)
		busy.wantReply(signal.KindClosingFault, 2, late)
		busy.acknowledge(2)

		for _, c := range []*reliableCloud{idle, busy} {
			got := int64(0)
			if c == busy {
				got = 2
			}
			last := c.next()
			if last.Kind != signal.KindLastMessage || last.Sequence.MessageNumber != got+1 {
				t.Fatalf("got %+v, want the last message", last)
			}
			c.acknowledge(got + 1)
			if e := c.next(); e.Kind != signal.KindTerminateSequence {
				t.Fatalf("got %+v, want the end of the sequence", e)
			}
			c.send(signal.Envelope{Kind: signal.KindTerminateSequence, To: via, TerminateSequence: c.granted})
			if record := c.nextRecord(); record.Type != framing.RecordEnd {
				t.Fatalf("record %#02x, want an end", byte(record.Type))
			}
			c.write(framing.AppendEnd(nil))
		}
		for range deaf.records { // and says nothing to all that
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		s.gone(DropClosing)
		if got := s.verdict(0).Reason.Code; got != 1726 {
			t.Errorf("the request that was held was answered with %d", got)
		}
	})
}

func TestSessionsTakeNoPlaceOfARendezvous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet(t)
		var open []*reliableCloud
		for range maxSessions + cap(s.handler.slots) {
			open = append(open, s.session())
			synctest.Wait()
		}
		s.handler.Handle(relay.EncodeConnect(relay.Connect{ID: "x", InstanceDNSAddress: instance}))
		s.observed.wait(t, "one too many is dropped", func() bool { return len(s.observed.drops) == 1 })
		for _, c := range open {
			c.leave(0, 0)
		}
		s.gone(DropOverload)
	})
}
