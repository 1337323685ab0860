// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/vectors"
)

// Identifiers of the transcript (protocol section 12.4).
const (
	m1      = "urn:uuid:01020304-0506-0708-090a-0b0c0d0e0f10"
	m2      = "urn:uuid:11121314-1516-1718-191a-1b1c1d1e1f20"
	offered = "urn:uuid:a1a2a3a4-a5a6-a7a8-a9aa-abacadaeafb0"
	granted = "urn:uuid:c1c2c3c4-c5c6-c7c8-c9ca-cbcccdcecfd0"
	zero    = "00000000-0000-0000-0000-000000000000"
)

func signalOf(protocol ProtocolContext) *Message {
	return &Message{
		RequestID: "dff0f331-0000-4000-8000-b741343d6d00", SessionID: zero, SubscriptionID: vectors.Tenant,
		TransactionID:              "41bf611b-0000-4000-8000-2be2477279f4",
		OverrideServiceHostEnabled: true, OverriddenReturnHost: vectors.Proxy, OverriddenReturnPort: 443,
		ReturnHost: vectors.Proxy, ReturnPort: 10100,
		Tunnel: TunnelContext{
			ConfigurationHash: "-139793387", CorrelationID: "41bf611b-0000-4000-8000-2be2477279f4",
			Protocol: protocol,
		},
	}
}

func connectContext() ProtocolContext {
	return ProtocolContext{TypeName: "ConnectContext", Traffic: TrafficConnect, ConnectionID: "8457828f-0000-4000-8000-4044b1478cc1"}
}

// transcript are the envelopes of protocol section 12.4, each the first one of
// its direction.
func transcript() map[string]Envelope {
	return map[string]Envelope{
		"create-sequence": {
			Kind: KindCreateSequence, Action: ActionCreateSequence, MessageID: m1, To: vectors.Address,
			CreateSequence: &CreateSequence{AcksTo: anonymous, Offer: offered},
		},
		"create-sequence-response": {
			Kind: KindCreateSequenceResponse, Action: rmNamespace + "/CreateSequenceResponse", RelatesTo: m1, To: anonymous,
			CreateSequenceResponse: &CreateSequenceResponse{Identifier: granted, AcksTo: vectors.Address},
		},
		"signal-connect": {
			Kind: KindSignal, Action: ActionSignal, MessageID: m2, To: vectors.Address, AckRequested: granted,
			Sequence: &Sequence{Identifier: granted, MessageNumber: 1}, Signal: signalOf(connectContext()),
		},
		"sequence-acknowledgement": {
			Kind: KindAcknowledgement, Action: rmNamespace + "/SequenceAcknowledgement", To: anonymous,
			Acknowledgement: &Acknowledgement{Identifier: granted, Ranges: []Range{{1, 1}}, BufferRemaining: 8},
		},
		"signal-response": {
			Kind: KindResponse, Action: ActionResponse, RelatesTo: m2, To: anonymous, AckRequested: offered,
			Sequence: &Sequence{Identifier: offered, MessageNumber: 1}, Response: &Response{ConnectorID: vectors.Connector},
		},
		"ping": {
			Kind: KindPing, Action: ActionPing, To: strings.TrimSuffix(vectors.Address, "_reliable"),
		},
	}
}

func TestEnvelopesOfTheTranscript(t *testing.T) {
	for name, env := range transcript() {
		t.Run(name, func(t *testing.T) {
			want := vectors.Bytes(name)
			content, err := NewEncoder().Encode(env)
			if err != nil {
				t.Fatal(err)
			}
			if got := framing.AppendSizedEnvelope(nil, content); !bytes.Equal(got, want) {
				t.Errorf("Encode:\n% X\nwant\n% X", got, want)
			}
			got, err := NewDecoder().Decode(contentOf(t, want))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(env, got); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
		})
	}
}

// contentOf takes a sized envelope apart.
func contentOf(tb testing.TB, record []byte) []byte {
	tb.Helper()
	r, err := framing.NewReader(bytes.NewReader(record)).ReadRecord()
	if err != nil || r.Type != framing.RecordSizedEnvelope {
		tb.Fatalf("not a sized envelope: %v, %v", r.Type, err)
	}
	return r.Payload
}

// TestSessionTables holds the offsets that an independent client of the live
// service uses: 684 for the identifier of the first signal of a sequence, 59
// for later ones, whose strings are all known.
func TestSessionTables(t *testing.T) {
	env := transcript()["signal-connect"]
	enc, dec := NewEncoder(), NewDecoder()
	id := []byte{0x14, 0x13, 0x12, 0x11, 0x16, 0x15}
	for n := int64(1); n <= 3; n++ {
		env.Sequence.MessageNumber = n
		if n > 1 {
			env.AckRequested = ""
		}
		content, err := enc.Encode(env)
		if err != nil {
			t.Fatal(err)
		}
		record := framing.AppendSizedEnvelope(nil, content)
		want := 684
		if n > 1 {
			want = 59
		}
		if got := bytes.Index(record, id); got != want {
			t.Errorf("message %d: its identifier is at offset %d, want %d", n, got, want)
		}
		got, err := dec.Decode(content)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(env, got); diff != "" {
			t.Errorf("message %d (-want +got):\n%s", n, diff)
		}
	}
}

func passwordContext(entries int) ProtocolContext {
	v := &PasswordValidation{Domain: "CONTOSO", UserPrincipalName: "user@contoso.example"}
	for range entries {
		v.EncryptedData = append(v.EncryptedData, EncryptedData{
			Ciphertext:    bytes.Repeat([]byte{0xC5}, 256),
			KeyIdentifier: vectors.Connector + "_" + strings.Repeat("0123456789", 4),
		})
	}
	return ProtocolContext{TypeName: "PasswordValidationContext", Traffic: TrafficPasswordValidation, PasswordValidation: v}
}

// TestInlineRequest rebuilds the plain endpoint's request of protocol section
// 12.6, of which sizes and string table are known.
func TestInlineRequest(t *testing.T) {
	env := Envelope{
		Kind: KindSignal, Action: ActionSignal, MessageID: m2, To: strings.TrimSuffix(vectors.Address, "_reliable"),
		Signal: signalOf(passwordContext(1)),
	}
	content, err := NewEncoder().Encode(env)
	if err != nil {
		t.Fatal(err)
	}
	if record := framing.AppendSizedEnvelope(nil, content); len(record) != 1755 {
		t.Errorf("the request has %d bytes, want 1755", len(record))
	}
	dec := NewDecoder()
	got, err := dec.Decode(content)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(env, got); diff != "" {
		t.Errorf("Decode (-want +got):\n%s", diff)
	}
	if dec.session.Len() != 32 {
		t.Errorf("the string table has %d entries, want 32", dec.session.Len())
	}
	for _, mark := range [][]byte{{0x9B, 0x58, 0x01}, {0x99, 0x4D}} {
		if !bytes.Contains(content, mark) {
			t.Errorf("no record % X", mark)
		}
	}
	response := Envelope{Kind: KindResponse, RelatesTo: m2, To: anonymous, Response: &Response{ConnectorID: vectors.Connector}}
	if content, err = NewEncoder().Encode(response); err != nil {
		t.Fatal(err)
	}
	if record := framing.AppendSizedEnvelope(nil, content); len(record) != 408 {
		t.Errorf("the response has %d bytes, want 408", len(record))
	}
}

func TestFaults(t *testing.T) {
	for name, env := range map[string]Envelope{
		"an unknown sequence": {
			Kind: KindFault, Action: ActionFault, RelatesTo: m2, To: anonymous,
			Fault: &Fault{Code: "Sender", Subcode: SubcodeUnknownSequence, Reason: "The value of wsrm:Identifier is not a known Sequence identifier.", Sequence: granted},
		},
		"a connector that closes": {
			Kind: KindClosingFault, Action: ActionClosingFault, RelatesTo: m2, To: anonymous,
			Fault: &Fault{Code: "Sender", Reason: "The connector is shutting down."},
		},
		"a sequence that ends": {Kind: KindTerminateSequence, Action: rmNamespace + "/TerminateSequence", To: anonymous, TerminateSequence: granted},
		"an acknowledgement is asked for": {
			Kind: KindAckRequested, Action: rmNamespace + "/AckRequested", To: anonymous, AckRequested: granted,
		},
		"gaps in a sequence": {
			Kind: KindAcknowledgement, Action: rmNamespace + "/SequenceAcknowledgement", To: anonymous,
			Acknowledgement: &Acknowledgement{Identifier: "not-a-guid", Ranges: []Range{{1, 3}, {5, 500}}, BufferRemaining: -1},
		},
		"a message that is missed": {
			Kind: KindAcknowledgement, Action: rmNamespace + "/SequenceAcknowledgement", To: anonymous,
			Acknowledgement: &Acknowledgement{Identifier: granted, Ranges: []Range{{1, 3}, {6, 6}}, Nacks: []int64{4, 5}, BufferRemaining: 7},
		},
		"the last message of a sequence": {
			Kind: KindLastMessage, Action: ActionLastMessage, To: anonymous, AckRequested: offered,
			Sequence: &Sequence{Identifier: offered, MessageNumber: 2, Last: true},
		},
		"a response that is the last message and acknowledges": {
			Kind: KindResponse, Action: ActionResponse, RelatesTo: m2, To: anonymous,
			Sequence:        &Sequence{Identifier: offered, MessageNumber: 300, Last: true},
			Acknowledgement: &Acknowledgement{Identifier: granted, Ranges: []Range{{1, 300}}, BufferRemaining: 8},
			Response:        &Response{ConnectorID: vectors.Connector},
		},
		"a sequence that is refused": {
			Kind: KindFault, Action: ActionFault, RelatesTo: m1, To: anonymous,
			Fault: &Fault{Code: "Receiver", Subcode: SubcodeCreateSequenceRefused, Reason: "no"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := NewEncoder().Encode(env)
			if err != nil {
				t.Fatal(err)
			}
			got, err := NewDecoder().Decode(content)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(env, got); diff != "" {
				t.Errorf("round trip (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEncodeRefusesAnIncompleteEnvelope(t *testing.T) {
	for kind := KindUnknown; kind <= KindLastMessage; kind++ {
		_, err := NewEncoder().Encode(Envelope{Kind: kind})
		if kind != KindPing && err == nil {
			t.Errorf("kind %d without its member was written", kind)
		}
	}
	large := Envelope{Kind: KindSignal, Signal: signalOf(passwordContext(200))}
	if _, err := NewEncoder().Encode(large); err == nil {
		t.Error("an envelope of more than 64 KiB was written")
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := contentOf(t, vectors.Bytes("signal-connect"))
	for name, content := range map[string][]byte{
		"nothing":                        {},
		"a table longer than the rest":   {0x7F, 1, 2},
		"no document":                    {0},
		"a document cut short":           good[:len(good)-40],
		"strings of an unknown session":  append([]byte{0}, good[2+602:]...),
		"another document":               {0, 0x40, 1, 'x', 1},
		"a message number below one":     bytes.Replace(good, []byte{0x55, 0x40, 0x83}, []byte{0x55, 0x40, 0x81}, 1),
		"a boolean that is not one":      bytes.Replace(good, []byte{0x45, 0x17, 0x87}, []byte{0x45, 0x17, 0x89, 0x07}, 1),
		"a port with a sign":             bytes.Replace(good, []byte{0x45, 0x1F, 0x8B, 0x74, 0x27}, []byte{0x45, 0x1F, 0x8B, 0x74, 0xFF}, 1),
		"a port of the size of a number": bytes.Replace(good, []byte{0x45, 0x1F, 0x8B, 0x74, 0x27}, []byte{0x45, 0x1F, 0x8D, 0x74, 0x27, 0x01, 0x00}, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if env, err := NewDecoder().Decode(content); err == nil {
				t.Errorf("decoded to %+v", env)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for name := range transcript() {
		f.Add(contentOf(f, vectors.Bytes(name)), []byte{})
	}
	first := contentOf(f, vectors.Bytes("signal-connect"))
	f.Add(first, append([]byte{0}, first[2+602:]...))
	for _, env := range []Envelope{
		{Kind: KindLastMessage, Sequence: &Sequence{Identifier: offered, MessageNumber: 2, Last: true}},
		{Kind: KindTerminateSequence, TerminateSequence: granted},
		{Kind: KindAcknowledgement, Acknowledgement: &Acknowledgement{Identifier: granted, Ranges: []Range{{1, 3}, {5, 7}}, Nacks: []int64{4}, BufferRemaining: 7}},
		{Kind: KindFault, Fault: &Fault{Subcode: SubcodeUnknownSequence, Sequence: granted}},
	} {
		content, err := NewEncoder().Encode(env)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, content)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		dec := NewDecoder()
		env, err := dec.Decode(first)
		if err != nil {
			return
		}
		if env.Kind != KindUnknown {
			if content, err := NewEncoder().Encode(env); err == nil {
				again, err := NewDecoder().Decode(content)
				if err != nil {
					t.Fatalf("what was written cannot be read: %v", err)
				}
				if again.Kind != env.Kind {
					t.Errorf("kind %d became %d", env.Kind, again.Kind)
				}
			}
		}
		_, _ = dec.Decode(second)
	})
}

func BenchmarkDecodeInlineRequest(b *testing.B) {
	content, err := NewEncoder().Encode(Envelope{Kind: KindSignal, MessageID: m2, To: vectors.Address, Signal: signalOf(passwordContext(2))})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewDecoder().Decode(content); err != nil {
			b.Fatal(err)
		}
	}
}
