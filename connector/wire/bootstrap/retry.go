// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"cmp"
	"fmt"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/internal/datacontract"
)

const retryNS = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.FlightingFeatures.RetryStrategies"

// RetryStrategy says how long to wait between attempts. It is a tree that the
// service sends: exactly one member is set, or none for a strategy that allows
// no attempt.
type RetryStrategy struct {
	AndThen            *AndThen
	Periodic           *Periodic
	Randomized         *Randomized
	ExponentialBackoff *ExponentialBackoff
}

// AndThen uses the first strategy until it is exhausted, then the second.
type AndThen struct{ First, Second RetryStrategy }

// Periodic always waits the same time.
type Periodic struct {
	Interval    time.Duration
	MaxAttempts int // 0: without end, sent as nil
}

// Randomized changes the delays of another strategy by up to a percentage.
type Randomized struct {
	Strategy           RetryStrategy
	PlusOrMinusPercent int // 0 to 100
}

// ExponentialBackoff doubles the delay from MinDelay up to MaxDelay.
type ExponentialBackoff struct {
	MaxAttempts int // 0: without end
	MinDelay    time.Duration
	MaxDelay    time.Duration
}

// DefaultRetryStrategy is the strategy the service has been seen to send: once
// after 10 minutes, then five times from 3 seconds doubling, then hourly for
// ever, all but the first by 20 % more or less.
func DefaultRetryStrategy() RetryStrategy {
	return RetryStrategy{AndThen: &AndThen{
		First: RetryStrategy{Periodic: &Periodic{Interval: 10 * time.Minute, MaxAttempts: 1}},
		Second: RetryStrategy{Randomized: &Randomized{
			PlusOrMinusPercent: 20,
			Strategy: RetryStrategy{AndThen: &AndThen{
				First:  RetryStrategy{ExponentialBackoff: &ExponentialBackoff{MaxAttempts: 5, MinDelay: 3 * time.Second, MaxDelay: time.Hour}},
				Second: RetryStrategy{Periodic: &Periodic{Interval: time.Hour}},
			}},
		}},
	}}
}

// Delay returns how long to wait after the n-th failure in a row, counted from
// 1. The caller draws random from [0, 1), anew each time. The result is false if
// the strategy allows no further attempt; a connector that must go on then keeps
// its last delay. The service may send a delay of nothing: set a floor.
func (s RetryStrategy) Delay(n int, random float64) (time.Duration, bool) {
	switch {
	case n < 1:
		return 0, false
	case s.AndThen != nil:
		if d, ok := s.AndThen.First.Delay(n, random); ok {
			return d, true
		}
		first := s.AndThen.First.attempts() // has an end, since n is behind it
		return s.AndThen.Second.Delay(n-first, random)
	case s.Periodic != nil:
		return s.Periodic.Interval, s.Periodic.MaxAttempts == 0 || n <= s.Periodic.MaxAttempts
	case s.Randomized != nil:
		d, ok := s.Randomized.Strategy.Delay(n, random)
		factor := 1 + (2*random-1)*float64(s.Randomized.PlusOrMinusPercent)/100
		if f := float64(d) * factor; f < float64(Infinite) {
			return time.Duration(f), ok
		}
		return Infinite, ok
	case s.ExponentialBackoff != nil:
		return s.ExponentialBackoff.delay(n)
	}
	return 0, false
}

func (e ExponentialBackoff) delay(n int) (time.Duration, bool) {
	d := e.MinDelay
	for range n - 1 {
		if d >= e.MaxDelay/2 {
			d = e.MaxDelay
			break
		}
		if d *= 2; d == 0 { // nothing doubles to nothing
			break
		}
	}
	return min(d, e.MaxDelay), e.MaxAttempts == 0 || n <= e.MaxAttempts
}

// attempts counts the attempts of a strategy that has an end.
func (s RetryStrategy) attempts() int {
	switch {
	case s.AndThen != nil:
		return s.AndThen.First.attempts() + s.AndThen.Second.attempts()
	case s.Periodic != nil:
		return s.Periodic.MaxAttempts
	case s.Randomized != nil:
		return s.Randomized.Strategy.attempts()
	case s.ExponentialBackoff != nil:
		return s.ExponentialBackoff.MaxAttempts
	}
	return 0
}

func (s RetryStrategy) write(w *datacontract.Writer) {
	switch {
	case s.AndThen != nil:
		w.Element("a:AndThen", func() {
			w.Element("a:First", func() { s.AndThen.First.write(w) })
			w.Element("a:Second", func() { s.AndThen.Second.write(w) })
		})
	case s.Periodic != nil:
		w.Element("a:Periodic", func() {
			w.Text("a:Interval", FormatTimeSpan(s.Periodic.Interval))
			writeAttempts(w, s.Periodic.MaxAttempts)
		})
	case s.Randomized != nil:
		w.Element("a:Randomized", func() {
			s.Randomized.Strategy.write(w)
			w.Int("a:PlusOrMinusPercent", int64(s.Randomized.PlusOrMinusPercent))
		})
	case s.ExponentialBackoff != nil:
		w.Element("a:ExponentialBackoff", func() {
			writeAttempts(w, s.ExponentialBackoff.MaxAttempts)
			w.Text("a:MaxDelay", FormatTimeSpan(s.ExponentialBackoff.MaxDelay))
			w.Text("a:MinDelay", FormatTimeSpan(s.ExponentialBackoff.MinDelay))
		})
	}
}

func writeAttempts(w *datacontract.Writer, n int) {
	if n == 0 {
		w.Nil("a:MaxAttempts")
		return
	}
	w.Int("a:MaxAttempts", int64(n))
}

// readStrategy reads the strategy that is a child of n. The depth of the tree
// is bounded by that of the document.
func readStrategy(n *datacontract.Node) (s RetryStrategy, err error) {
	if c := n.Child("AndThen"); c != nil {
		s.AndThen = &AndThen{}
		if s.AndThen.First, err = readStrategy(c.Child("First")); err == nil {
			s.AndThen.Second, err = readStrategy(c.Child("Second"))
		}
		return s, err
	}
	if c := n.Child("Periodic"); c != nil {
		p := &Periodic{}
		return RetryStrategy{Periodic: p}, cmp.Or(
			readDuration(c, "Interval", &p.Interval),
			c.Int("MaxAttempts", 0, &p.MaxAttempts))
	}
	if c := n.Child("Randomized"); c != nil {
		r := &Randomized{}
		r.Strategy, err = readStrategy(c)
		err = cmp.Or(err, c.Int("PlusOrMinusPercent", 0, &r.PlusOrMinusPercent))
		if err == nil && r.PlusOrMinusPercent > 100 {
			err = fmt.Errorf("element PlusOrMinusPercent holds %d, want at most 100", r.PlusOrMinusPercent)
		}
		return RetryStrategy{Randomized: r}, err
	}
	if c := n.Child("ExponentialBackoff"); c != nil {
		e := &ExponentialBackoff{}
		return RetryStrategy{ExponentialBackoff: e}, cmp.Or(
			c.Int("MaxAttempts", 0, &e.MaxAttempts),
			readDuration(c, "MaxDelay", &e.MaxDelay),
			readDuration(c, "MinDelay", &e.MinDelay))
	}
	return s, nil
}
