// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package reliable

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

// network carries the envelopes of two sessions and does to them what bytes
// say. What it checks holds whatever is lost, repeated or overtaken.
type network struct {
	t     *testing.T
	now   time.Time
	ends  [2]*Session
	wire  [2][]signal.Envelope // to each end
	sent  [2]int               // by each end
	got   [2]int               // delivered to each end
	trips [2]map[int64]bool    // numbers that ever reached each end
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	return &network{
		t: t, now: start, ends: [2]*Session{cloudSession(), connectorSession()},
		trips: [2]map[int64]bool{{}, {}},
	}
}

func (n *network) send(end int) {
	if n.ends[end].Send(signal.Envelope{Kind: signal.KindSignal, MessageID: fmt.Sprint(n.sent[end])}) == nil {
		n.sent[end]++
	}
}

func (n *network) take(end int) {
	envelopes, err := n.ends[end].Take(n.now)
	if err != nil && !n.ends[end].Over() {
		n.t.Fatalf("end %d fails without being over: %v", end, err)
	}
	for _, e := range envelopes {
		if a := e.Acknowledgement; a != nil {
			n.truthful(end, a)
		}
	}
	if room := 64 - len(n.wire[1-end]); len(envelopes) > room {
		envelopes = envelopes[:max(0, room)] // lost
	}
	n.wire[1-end] = append(n.wire[1-end], envelopes...)
}

// truthful checks that nothing is acknowledged that has not arrived, and that
// ranges are in order and apart.
func (n *network) truthful(end int, a *signal.Acknowledgement) {
	below := int64(-1)
	for _, r := range a.Ranges {
		if r.Lower <= below+1 || r.Upper < r.Lower {
			n.t.Fatalf("ranges %+v", a.Ranges)
		}
		below = r.Upper
		for k := r.Lower; k <= r.Upper; k++ {
			if !n.trips[end][k] {
				n.t.Fatalf("end %d acknowledges message %d, which it never got: %+v", end, k, a.Ranges)
			}
		}
	}
	if a.BufferRemaining < 1 || a.BufferRemaining > Window {
		n.t.Fatalf("room for %d messages", a.BufferRemaining)
	}
}

// deliver gives an end the envelope at a place of its wire, and keeps it there
// if it is to come again.
func (n *network) deliver(end, place int, again bool) {
	if len(n.wire[end]) == 0 {
		return
	}
	place %= len(n.wire[end])
	e := n.wire[end][place]
	if !again {
		n.wire[end] = append(n.wire[end][:place:place], n.wire[end][place+1:]...)
	}
	if e.Sequence != nil {
		n.trips[end][e.Sequence.MessageNumber] = true
	}
	delivered, _ := n.ends[end].Receive(e, n.now)
	for _, d := range delivered {
		if want := fmt.Sprint(n.got[end]); d.MessageID != want {
			n.t.Fatalf("end %d got message %s, want %s", end, d.MessageID, want)
		}
		n.got[end]++
	}
	if n.got[end] > n.sent[1-end] {
		n.t.Fatalf("end %d got more than was sent", end)
	}
	n.bounded()
}

func (n *network) bounded() {
	for end, s := range n.ends {
		if s.in != nil && len(s.in.ahead) >= Window || s.out != nil && len(s.out.pending) > MaxQueued || len(s.faults) > maxFaults {
			n.t.Fatalf("end %d holds too much", end)
		}
	}
}

// settle lets the network work properly until nothing more happens, and checks
// that everything has arrived.
func (n *network) settle() {
	for range 1000 {
		for end := range n.ends {
			n.take(end)
		}
		if len(n.wire[0])+len(n.wire[1]) == 0 {
			if n.ends[0].Unacknowledged()+n.ends[1].Unacknowledged() == 0 || n.ends[0].Over() || n.ends[1].Over() {
				break
			}
			for _, s := range n.ends {
				if at := s.Wake(); at.After(n.now) {
					n.now = at
				}
			}
		}
		for end := range n.ends {
			for len(n.wire[end]) > 0 {
				n.deliver(end, 0, false)
			}
		}
	}
	for end, s := range n.ends {
		if s.failed != nil || n.ends[1-end].failed != nil {
			return // given up while the network lost everything
		}
		if n.got[end] != n.sent[1-end] || n.ends[1-end].Unacknowledged() > 0 {
			n.t.Errorf("end %d got %d of %d messages", end, n.got[end], n.sent[1-end])
		}
	}
}

func FuzzNetwork(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{4, 0, 4, 8, 1, 5, 9, 2, 6})                          // the transcript
	f.Add([]byte{0, 0, 0, 4, 8, 5, 1, 1, 10, 9, 3, 12, 4, 8, 13, 14}) // loss, repetition, time
	f.Add([]byte{4, 8, 5, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0x78, 0x68, 0x58, 0x48, 0x38, 0x28, 0x18, 0x08, 5, 9, 4})
	f.Add([]byte{4, 8, 5, 9, 0, 2, 4, 8, 8, 5, 9, 9, 3, 5, 9, 4, 8})
	f.Fuzz(func(t *testing.T, steps []byte) {
		n := newNetwork(t)
		for _, step := range steps[:min(len(steps), 4096)] {
			place := int(step >> 4)
			switch step & 0x0F {
			case 0, 1:
				n.send(int(step & 1))
			case 2, 3:
				n.ends[step&1].Close()
			case 4, 5:
				n.take(int(step & 1))
			case 6, 7: // lost
				if end := step & 1; len(n.wire[end]) > 0 {
					n.wire[end] = n.wire[end][1:]
				}
			case 8, 9, 14, 15:
				n.deliver(1-int(step&1), place, false)
			case 10, 11:
				n.deliver(1-int(step&1), place, true)
			default:
				n.now = n.now.Add(time.Duration(place) * time.Second)
			}
		}
		n.settle()
	})
}

// FuzzReceive feeds a session what no peer of ours would send.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 2, 9, 3, 1, 5, 0, 1, 3})
	f.Add([]byte{1, 1, 2, 2, 4, 1, 3, 0, 6, 7, 7, 7})
	f.Add([]byte{1, 255, 2, 255, 1, 3, 4, 9})
	f.Fuzz(func(t *testing.T, steps []byte) {
		s := connectorSession()
		receive(t, s, start, signal.Envelope{Kind: signal.KindCreateSequence, MessageID: m1, CreateSequence: &signal.CreateSequence{Offer: offered}})
		now, highest := start, int64(0)
		identifiers := []string{granted, granted, granted, offered, ""}
		for i := 0; i+1 < min(len(steps), 4096); i += 2 {
			step, n := steps[i], int64(steps[i+1])
			if n > 200 {
				n = math.MaxInt64 - (255 - n) // up to the largest number there is
			}
			id := identifiers[int(step>>4)%len(identifiers)]
			env := signal.Envelope{}
			switch step & 7 {
			case 0:
				env.Kind, env.TerminateSequence = signal.KindTerminateSequence, id
			case 1:
				env.Kind, env.Sequence = signal.KindSignal, &signal.Sequence{Identifier: id, MessageNumber: max(1, n)}
			case 2:
				env.Kind, env.Sequence = signal.KindLastMessage, &signal.Sequence{Identifier: id, MessageNumber: max(1, n), Last: true}
			case 3:
				env.Kind, env.Acknowledgement = signal.KindAcknowledgement, &signal.Acknowledgement{
					Identifier: offered, Ranges: []signal.Range{{Lower: n / 2, Upper: n}}, Nacks: []int64{n}, BufferRemaining: n - 1,
				}
			case 4:
				env.Kind, env.AckRequested = signal.KindAckRequested, id
			case 5:
				now = now.Add(time.Duration(n % 64))
				_ = s.Send(signal.Envelope{Kind: signal.KindResponse})
			case 6:
				env.Kind, env.MessageID, env.CreateSequence = signal.KindCreateSequence, m1, &signal.CreateSequence{Offer: id}
			default:
				_, _ = s.Take(now)
			}
			delivered, _ := s.Receive(env, now)
			for _, d := range delivered {
				if d.Sequence.MessageNumber != highest+1 || d.Kind == signal.KindLastMessage {
					t.Fatalf("message %d was delivered after %d", d.Sequence.MessageNumber, highest)
				}
				highest = d.Sequence.MessageNumber
			}
			if len(s.in.ahead) >= Window || len(s.out.pending) > MaxQueued || len(s.faults) > maxFaults {
				t.Fatal("the session holds too much")
			}
		}
	})
}
