// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package reliable

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/connector/wire/vectors"
)

// Identifiers of the transcript (protocol section 12.4).
const (
	m1      = "urn:uuid:01020304-0506-0708-090a-0b0c0d0e0f10"
	m2      = "urn:uuid:11121314-1516-1718-191a-1b1c1d1e1f20"
	offered = "urn:uuid:a1a2a3a4-a5a6-a7a8-a9aa-abacadaeafb0"
	granted = "urn:uuid:c1c2c3c4-c5c6-c7c8-c9ca-cbcccdcecfd0"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ids hands out the given identifiers, then numbered ones.
func ids(fixed ...string) func() string {
	n := 0
	return func() string {
		n++
		if n <= len(fixed) {
			return fixed[n-1]
		}
		return fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012d", n)
	}
}

func still() float64 { return 0 }

func cloudSession() *Session {
	return Initiate(Options{To: vectors.Address, NewID: ids(offered, m1), Random: still})
}

func connectorSession() *Session { return Accept(Options{NewID: ids(granted), Random: still}) }

func take(t *testing.T, s *Session, now time.Time) []signal.Envelope {
	t.Helper()
	envelopes, err := s.Take(now)
	if err != nil {
		t.Fatal(err)
	}
	return envelopes
}

func receive(t *testing.T, s *Session, now time.Time, envelopes ...signal.Envelope) []signal.Envelope {
	t.Helper()
	var all []signal.Envelope
	for _, e := range envelopes {
		delivered, err := s.Receive(e, now)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, delivered...)
	}
	return all
}

// established returns both ends after their first exchange.
func established(t *testing.T) (cloud, connector *Session) {
	t.Helper()
	cloud, connector = cloudSession(), connectorSession()
	receive(t, connector, start, take(t, cloud, start)...)
	receive(t, cloud, start, take(t, connector, start)...)
	if !cloud.Established() || !connector.Established() {
		t.Fatal("there is no session")
	}
	return cloud, connector
}

// TestTheTranscript holds both ends to the bytes of protocol section 12.4.
func TestTheTranscript(t *testing.T) {
	cloud, connector := cloudSession(), connectorSession()
	encoders := map[*Session]*signal.Encoder{cloud: signal.NewEncoder(), connector: signal.NewEncoder()}
	decoders := map[*Session]*signal.Decoder{cloud: signal.NewDecoder(), connector: signal.NewDecoder()}
	// says lets one end write, compares, and gives the bytes to the other.
	says := func(from, to *Session, want ...string) []signal.Envelope {
		t.Helper()
		envelopes := take(t, from, start)
		if len(envelopes) != len(want) {
			t.Fatalf("%d envelopes %+v, want %v", len(envelopes), envelopes, want)
		}
		var delivered []signal.Envelope
		for i, e := range envelopes {
			content, err := encoders[from].Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := framing.AppendSizedEnvelope(nil, content), vectors.Bytes(want[i]); !bytes.Equal(got, want) {
				t.Errorf("wrote\n% X\nwant\n% X", got, want)
			}
			read, err := decoders[to].Decode(content)
			if err != nil {
				t.Fatal(err)
			}
			delivered = append(delivered, receive(t, to, start, read)...)
		}
		return delivered
	}
	says(cloud, connector, "create-sequence")
	says(connector, cloud, "create-sequence-response")

	request, err := signal.NewDecoder().Decode(content(t, "signal-connect"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal, MessageID: m2, Signal: request.Signal}); err != nil {
		t.Fatal(err)
	}
	delivered := says(cloud, connector, "signal-connect")
	if len(delivered) != 1 || delivered[0].MessageID != m2 {
		t.Fatalf("delivered %+v, want the signal", delivered)
	}
	if err := connector.Send(signal.Envelope{Kind: signal.KindResponse, RelatesTo: m2, Response: &signal.Response{ConnectorID: vectors.Connector}}); err != nil {
		t.Fatal(err)
	}
	delivered = says(connector, cloud, "sequence-acknowledgement", "signal-response")
	if len(delivered) != 1 || delivered[0].RelatesTo != m2 {
		t.Fatalf("delivered %+v, want the response", delivered)
	}
	if n := cloud.Unacknowledged(); n != 0 {
		t.Errorf("%d messages of the cloud are not acknowledged", n)
	}
}

func content(tb testing.TB, name string) []byte {
	tb.Helper()
	r, err := framing.NewReader(bytes.NewReader(vectors.Bytes(name))).ReadRecord()
	if err != nil {
		tb.Fatal(err)
	}
	return r.Payload
}

// message is a signal with a number, as the cloud sends it to the granted
// sequence.
func message(n int64) signal.Envelope {
	return signal.Envelope{Kind: signal.KindSignal, MessageID: fmt.Sprint(n), Sequence: &signal.Sequence{Identifier: granted, MessageNumber: n}}
}

func lastMessage(n int64) signal.Envelope {
	return signal.Envelope{Kind: signal.KindLastMessage, Sequence: &signal.Sequence{Identifier: granted, MessageNumber: n, Last: true}}
}

func names(envelopes []signal.Envelope) string {
	var all []string
	for _, e := range envelopes {
		all = append(all, e.MessageID)
	}
	return strings.Join(all, " ")
}

func TestMessagesAreDeliveredOnceAndInOrder(t *testing.T) {
	_, connector := established(t)
	for _, step := range []struct {
		n         int64
		delivered string
		ranges    []signal.Range
		room      int64
	}{
		{1, "1", []signal.Range{{Lower: 1, Upper: 1}}, 8},
		{1, "", []signal.Range{{Lower: 1, Upper: 1}}, 8}, // a duplicate
		{3, "", []signal.Range{{Lower: 1, Upper: 1}, {Lower: 3, Upper: 3}}, 7},
		{5, "", []signal.Range{{Lower: 1, Upper: 1}, {Lower: 3, Upper: 3}, {Lower: 5, Upper: 5}}, 6},
		{4, "", []signal.Range{{Lower: 1, Upper: 1}, {Lower: 3, Upper: 5}}, 5},
		{4, "", []signal.Range{{Lower: 1, Upper: 1}, {Lower: 3, Upper: 5}}, 5}, // a duplicate out of order
		{10, "", []signal.Range{{Lower: 1, Upper: 1}, {Lower: 3, Upper: 5}}, 5},
		{1 << 62, "", []signal.Range{{Lower: 1, Upper: 1}, {Lower: 3, Upper: 5}}, 5},
		{9, "", []signal.Range{{Lower: 1, Upper: 1}, {Lower: 3, Upper: 5}, {Lower: 9, Upper: 9}}, 4}, // the window's end
		{2, "2 3 4 5", []signal.Range{{Lower: 1, Upper: 5}, {Lower: 9, Upper: 9}}, 7},
	} {
		if got := names(receive(t, connector, start, message(step.n))); got != step.delivered {
			t.Errorf("message %d delivered %q, want %q", step.n, got, step.delivered)
		}
		want := []signal.Envelope{{
			Kind: signal.KindAcknowledgement, To: signal.AnonymousAddress,
			Acknowledgement: &signal.Acknowledgement{Identifier: granted, Ranges: step.ranges, BufferRemaining: step.room},
		}}
		if diff := cmp.Diff(want, take(t, connector, start)); diff != "" {
			t.Errorf("after message %d (-want +got):\n%s", step.n, diff)
		}
	}
}

func TestAnAcknowledgementIsGivenWhenAskedFor(t *testing.T) {
	_, connector := established(t)
	receive(t, connector, start, message(1), message(2))
	if n := len(take(t, connector, start)); n != 1 {
		t.Errorf("%d envelopes for two messages, want one acknowledgement", n)
	}
	if got := take(t, connector, start); len(got) != 0 {
		t.Errorf("unasked: %+v", got)
	}
	receive(t, connector, start, signal.Envelope{Kind: signal.KindAckRequested, AckRequested: granted})
	got := take(t, connector, start)
	if len(got) != 1 || got[0].Kind != signal.KindAcknowledgement || got[0].Acknowledgement.Ranges[0].Upper != 2 {
		t.Errorf("asked: %+v", got)
	}
}

func TestLostMessagesAreSentAgain(t *testing.T) {
	cloud, connector := established(t)
	for range 3 {
		if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal, MessageID: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	sent := take(t, cloud, start)
	if len(sent) != 3 || sent[0].AckRequested != granted || sent[1].AckRequested != "" {
		t.Fatalf("sent %+v", sent)
	}
	// The second one is lost, and so is the first acknowledgement.
	receive(t, connector, start, sent[0], sent[2])
	take(t, connector, start)
	if early := take(t, cloud, cloud.Wake().Add(-1)); len(early) != 0 {
		t.Errorf("sent before the time: %+v", early)
	}
	now := cloud.Wake()
	if now != start.Add(firstPause) {
		t.Errorf("sent again at %v, want after %v", now, firstPause)
	}
	again := take(t, cloud, now)
	if len(again) != 3 || again[1].AckRequested != granted || again[1].Sequence.MessageNumber != 2 {
		t.Fatalf("sent again %+v", again)
	}
	if got := receive(t, connector, now, again...); len(got) != 2 {
		t.Errorf("delivered %+v, want the second and the third", got)
	}
	receive(t, cloud, now, take(t, connector, now)...)
	if cloud.Unacknowledged() != 0 || !cloud.Wake().IsZero() {
		t.Errorf("%d unacknowledged, wakes at %v", cloud.Unacknowledged(), cloud.Wake())
	}
}

func TestWhatIsMissedIsSentAtOnce(t *testing.T) {
	cloud, _ := established(t)
	for range 2 {
		if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal}); err != nil {
			t.Fatal(err)
		}
	}
	take(t, cloud, start)
	receive(t, cloud, start, signal.Envelope{Kind: signal.KindAcknowledgement, Acknowledgement: &signal.Acknowledgement{
		Identifier: granted, Ranges: []signal.Range{{Lower: 2, Upper: 2}}, Nacks: []int64{1, 7}, BufferRemaining: -1,
	}})
	if got := take(t, cloud, start); len(got) != 1 || got[0].Sequence.MessageNumber != 1 {
		t.Errorf("sent %+v, want the first message", got)
	}
}

func TestAPeerThatAcknowledgesNothingIsGivenUp(t *testing.T) {
	cloud, _ := established(t)
	if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal}); err != nil {
		t.Fatal(err)
	}
	now, times := start, 0
	for {
		sent, err := cloud.Take(now)
		if errors.Is(err, ErrSilent) {
			break
		}
		if err != nil || len(sent) != 1 || times > maxAttempts {
			t.Fatalf("%+v, %v after %d attempts", sent, err, times)
		}
		times++
		now = cloud.Wake()
	}
	if times != maxAttempts || !cloud.Over() || now.Sub(start) < 2*time.Minute {
		t.Errorf("%d attempts in %v, over: %v", times, now.Sub(start), cloud.Over())
	}
	if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal}); !errors.Is(err, ErrClosed) {
		t.Errorf("sending then: %v", err)
	}
}

func TestTheWindow(t *testing.T) {
	cloud, connector := established(t)
	for n := range MaxQueued {
		if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal, MessageID: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("one more than %d: %v", MaxQueued, err)
	}
	sent := take(t, cloud, start)
	if len(sent) != Window {
		t.Fatalf("%d messages on the way, want %d", len(sent), Window)
	}
	receive(t, connector, start, sent...)
	answer := take(t, connector, start)
	receive(t, cloud, start, answer...)
	if next := take(t, cloud, start); len(next) != Window || next[0].Sequence.MessageNumber != Window+1 {
		t.Errorf("then %d messages from %d", len(next), next[0].Sequence.MessageNumber)
	}
}

func TestAReceiverWithoutRoomIsAskedAgain(t *testing.T) {
	cloud, _ := established(t)
	ack := func(upper, room int64) signal.Envelope {
		return signal.Envelope{Kind: signal.KindAcknowledgement, Acknowledgement: &signal.Acknowledgement{
			Identifier: granted, Ranges: []signal.Range{{Lower: 1, Upper: upper}}, BufferRemaining: room,
		}}
	}
	send := func() {
		t.Helper()
		if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal}); err != nil {
			t.Fatal(err)
		}
	}
	send()
	take(t, cloud, start)
	receive(t, cloud, start, ack(1, 0))
	send()
	if got := take(t, cloud, start); len(got) != 0 {
		t.Fatalf("sent without room: %+v", got)
	}
	now := cloud.Wake()
	if got := take(t, cloud, now); len(got) != 1 || got[0].Kind != signal.KindAckRequested {
		t.Fatalf("after a while: %+v, want a request for an acknowledgement", got)
	}
	receive(t, cloud, now, ack(1, 2))
	if got := take(t, cloud, now); len(got) != 1 || got[0].Sequence == nil || got[0].Sequence.MessageNumber != 2 {
		t.Errorf("with room: %+v", got)
	}
}

func TestBothSequencesEnd(t *testing.T) {
	cloud, connector := established(t)
	if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal, MessageID: m2}); err != nil {
		t.Fatal(err)
	}
	cloud.Close()
	cloud.Close() // once is enough
	if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal}); !errors.Is(err, ErrClosed) {
		t.Errorf("sending after the end: %v", err)
	}
	var wire []string
	for range 8 {
		for _, way := range []struct{ from, to *Session }{{cloud, connector}, {connector, cloud}} {
			for _, e := range take(t, way.from, start) {
				wire = append(wire, fmt.Sprint(way.from == cloud, e.Kind))
				for _, d := range receive(t, way.to, start, e) {
					if d.Kind == signal.KindSignal {
						if err := connector.Send(signal.Envelope{Kind: signal.KindResponse, RelatesTo: d.MessageID}); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if way.to.PeerDone() {
				way.to.Close()
			}
		}
	}
	if !cloud.Over() || !connector.Over() {
		t.Errorf("the sequences have not ended; on the wire: %v", wire)
	}
	want := []string{
		fmt.Sprint(true, signal.KindSignal), fmt.Sprint(true, signal.KindLastMessage),
		fmt.Sprint(false, signal.KindAcknowledgement), fmt.Sprint(false, signal.KindResponse), fmt.Sprint(false, signal.KindLastMessage),
		fmt.Sprint(true, signal.KindAcknowledgement), fmt.Sprint(true, signal.KindTerminateSequence),
		fmt.Sprint(false, signal.KindTerminateSequence),
	}
	if diff := cmp.Diff(want, wire); diff != "" {
		t.Errorf("the end on the wire (-want +got):\n%s", diff)
	}
}

// TestTerminationWithoutALastMessage is what a peer does that leaves the last
// message out, which the standard allows.
func TestTerminationWithoutALastMessage(t *testing.T) {
	_, connector := established(t)
	receive(t, connector, start, message(1), signal.Envelope{Kind: signal.KindTerminateSequence, TerminateSequence: granted})
	if !connector.PeerDone() {
		t.Error("the peer is not done")
	}
	if got := receive(t, connector, start, message(2)); len(got) != 0 {
		t.Errorf("delivered after the end: %+v", got)
	}
}

func TestFaults(t *testing.T) {
	other := "urn:uuid:99999999-9999-4999-8999-999999999999"
	create := func(id, offer string) signal.Envelope {
		return signal.Envelope{Kind: signal.KindCreateSequence, MessageID: id, CreateSequence: &signal.CreateSequence{Offer: offer}}
	}
	strange := message(1)
	strange.Sequence.Identifier = other
	unplaced := message(1)
	unplaced.Sequence = nil
	for name, tc := range map[string]struct {
		envelopes []signal.Envelope
		subcode   string
		ends      bool
	}{
		"a message of an unknown sequence":          {[]signal.Envelope{strange}, signal.SubcodeUnknownSequence, false},
		"an acknowledgement of an unknown sequence": {[]signal.Envelope{{Kind: signal.KindAcknowledgement, Acknowledgement: &signal.Acknowledgement{Identifier: granted}}}, signal.SubcodeUnknownSequence, false},
		"a request to acknowledge an unknown one":   {[]signal.Envelope{{Kind: signal.KindAckRequested, AckRequested: offered}}, signal.SubcodeUnknownSequence, false},
		"the end of an unknown sequence":            {[]signal.Envelope{{Kind: signal.KindTerminateSequence, TerminateSequence: other}}, signal.SubcodeUnknownSequence, false},
		"the end of no sequence":                    {[]signal.Envelope{{Kind: signal.KindTerminateSequence}}, signal.SubcodeUnknownSequence, false},
		"another session":                           {[]signal.Envelope{create("another", offered)}, signal.SubcodeCreateSequenceRefused, false},
		"another offer":                             {[]signal.Envelope{create(m1, other)}, signal.SubcodeCreateSequenceRefused, false},
		"no offer":                                  {[]signal.Envelope{create(m1, "")}, signal.SubcodeCreateSequenceRefused, false},
		"an acknowledgement of what was never sent": {[]signal.Envelope{{Kind: signal.KindAcknowledgement, Acknowledgement: &signal.Acknowledgement{Identifier: offered, Ranges: []signal.Range{{Lower: 1, Upper: 1}}}}}, signal.SubcodeInvalidAcknowledgement, true},
		"a message after the last":                  {[]signal.Envelope{lastMessage(1), message(2)}, signal.SubcodeLastMessageNumberExceeded, true},
		"a last message before others":              {[]signal.Envelope{message(1), message(4), lastMessage(3)}, signal.SubcodeLastMessageNumberExceeded, true},
		"two last messages":                         {[]signal.Envelope{lastMessage(3), lastMessage(2)}, signal.SubcodeLastMessageNumberExceeded, true},
		"the end before a message":                  {[]signal.Envelope{message(2), {Kind: signal.KindTerminateSequence, TerminateSequence: granted}}, signal.SubcodeSequenceTerminated, true},
		"a message without a place":                 {[]signal.Envelope{unplaced}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, connector := established(t)
			var err error
			for _, e := range tc.envelopes {
				_, err = connector.Receive(e, start)
			}
			if tc.ends != errors.Is(err, ErrViolated) || tc.ends != connector.Over() {
				t.Errorf("error %v, over: %v", err, connector.Over())
			}
			sent := take(t, connector, start)
			if len(sent) != 1 || sent[0].Kind != signal.KindFault || sent[0].Fault.Subcode != tc.subcode {
				t.Fatalf("sent %+v, want a fault %s", sent, tc.subcode)
			}
			if _, err := signal.NewEncoder().Encode(sent[0]); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("from the peer", func(t *testing.T) {
		cloud, _ := established(t)
		_, err := cloud.Receive(signal.Envelope{Kind: signal.KindFault, Fault: &signal.Fault{Subcode: signal.SubcodeUnknownSequence}}, start)
		if !errors.Is(err, ErrFault) || !cloud.Over() {
			t.Errorf("error %v, over: %v", err, cloud.Over())
		}
	})
	t.Run("many at once", func(t *testing.T) {
		_, connector := established(t)
		for range 1000 {
			receive(t, connector, start, strange)
		}
		if n := len(take(t, connector, start)); n != maxFaults {
			t.Errorf("%d faults are kept, want %d", n, maxFaults)
		}
	})
}

func TestCreateSequenceIsRepeatedAndAnsweredAgain(t *testing.T) {
	cloud, connector := cloudSession(), connectorSession()
	if err := cloud.Send(signal.Envelope{Kind: signal.KindSignal, MessageID: m2}); err != nil {
		t.Fatal(err)
	}
	if first := take(t, cloud, start); len(first) != 1 {
		t.Fatalf("sent %+v, want nothing before there is a sequence", first)
	}
	now := cloud.Wake()
	again := take(t, cloud, now)
	receive(t, connector, now, again...)
	first := take(t, connector, now)
	receive(t, connector, now, again...)
	if diff := cmp.Diff(first, take(t, connector, now)); diff != "" {
		t.Errorf("the second answer (-first +second):\n%s", diff)
	}
	receive(t, cloud, now, first[0], first[0])
	if sent := take(t, cloud, now); len(sent) != 1 || sent[0].MessageID != m2 {
		t.Errorf("sent %+v, want what waited", sent)
	}
	another := first[0]
	another.CreateSequenceResponse = &signal.CreateSequenceResponse{Identifier: "another"}
	if _, err := cloud.Receive(another, now); !errors.Is(err, ErrViolated) {
		t.Errorf("a second sequence: %v", err)
	}
}

func TestNobodyGrantsASequence(t *testing.T) {
	cloud := cloudSession()
	now := start
	for range maxAttempts {
		if sent := take(t, cloud, now); len(sent) != 1 || sent[0].Kind != signal.KindCreateSequence {
			t.Fatalf("sent %+v", sent)
		}
		now = cloud.Wake()
	}
	if _, err := cloud.Take(now); !errors.Is(err, ErrSilent) {
		t.Errorf("then %v, want %v", err, ErrSilent)
	}
}

// TestWhatIsNotOfASession is a plain connection, which stays one.
func TestWhatIsNotOfASession(t *testing.T) {
	s := connectorSession()
	for _, kind := range []signal.Kind{signal.KindSignal, signal.KindPing, signal.KindUnknown, signal.KindFault} {
		if s.Concerns(signal.Envelope{Kind: kind}) {
			t.Errorf("kind %d concerns a session that does not exist", kind)
		}
	}
	if !s.Concerns(message(1)) {
		t.Fatal("a numbered message does not concern the session")
	}
	receive(t, s, start, message(1))
	if sent := take(t, s, start); len(sent) != 1 || sent[0].Fault == nil || sent[0].Fault.Subcode != signal.SubcodeUnknownSequence || sent[0].Fault.Sequence != granted {
		t.Errorf("a sequence that nobody created is answered with %+v", sent)
	}
	if _, err := s.Receive(signal.Envelope{Kind: signal.KindSignal}, start); !errors.Is(err, ErrViolated) {
		t.Errorf("a plain signal: %v", err)
	}
}
