// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package reliable

import "github.com/passthrough-dev/connector-operator/connector/wire/signal"

// Window is how many messages beyond the last one in order a receiver keeps,
// and how many a sender has on the way at a time. It is WCF's default, and what
// the transcript's acknowledgements say (protocol section 6.6).
const Window = 8

// receiver is the end of a sequence where messages arrive.
type receiver struct {
	identifier string
	// next is the lowest number that was not delivered.
	next int64
	// ahead holds what arrived before its turn: at most Window-1 messages.
	ahead map[int64]signal.Envelope
	// last is the number of the last message; 0 while it is not known.
	last int64
	// terminated is set when the sender has ended the sequence.
	terminated bool
}

func newReceiver(identifier string) *receiver {
	return &receiver{identifier: identifier, next: 1, ahead: map[int64]signal.Envelope{}}
}

// receive takes a message and returns those whose turn it now is. A duplicate
// changes nothing, and neither does a message beyond the window: the sender
// learns from the acknowledgement that it has to send that again. It reports
// false if the number contradicts the one of the last message.
func (r *receiver) receive(env signal.Envelope) (deliver []signal.Envelope, ok bool) {
	n := env.Sequence.MessageNumber
	if r.last != 0 && (n > r.last || env.Sequence.Last && n != r.last) {
		return nil, false
	}
	if n < r.next {
		return nil, !env.Sequence.Last || n == r.last
	}
	if r.terminated || n-r.next >= Window {
		return nil, true
	}
	if _, ok := r.ahead[n]; ok {
		return nil, true
	}
	if env.Sequence.Last {
		for other := range r.ahead {
			if other > n {
				return nil, false
			}
		}
		r.last = n
	}
	r.ahead[n] = env
	for {
		env, ok := r.ahead[r.next]
		if !ok {
			return deliver, true
		}
		delete(r.ahead, r.next)
		r.next++
		deliver = append(deliver, env)
	}
}

// complete reports whether every message up to the last has been delivered.
func (r *receiver) complete() bool { return r.last != 0 && r.next > r.last }

// acknowledgement tells what has arrived. Before anything has, it holds no
// range.
func (r *receiver) acknowledgement() *signal.Acknowledgement {
	a := &signal.Acknowledgement{Identifier: r.identifier, BufferRemaining: int64(Window - len(r.ahead))}
	if r.next > 1 {
		a.Ranges = append(a.Ranges, signal.Range{Lower: 1, Upper: r.next - 1})
	}
	// Whatever is ahead lies in the window, so this is short. r.next itself is
	// not there, so that no range touches the first.
	for n := r.next; n-r.next < Window; n++ {
		if _, ok := r.ahead[n]; !ok {
			continue
		}
		if k := len(a.Ranges) - 1; k >= 0 && a.Ranges[k].Upper == n-1 {
			a.Ranges[k].Upper = n
		} else {
			a.Ranges = append(a.Ranges, signal.Range{Lower: n, Upper: n})
		}
	}
	return a
}
