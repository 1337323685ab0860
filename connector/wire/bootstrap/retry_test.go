// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"testing"
	"time"
)

func TestTheServicesRetryStrategy(t *testing.T) {
	s := DefaultRetryStrategy()
	const middle = 0.5 // of the range: no change
	for n, want := range map[int]time.Duration{
		1: 10 * time.Minute,
		2: 3 * time.Second, 3: 6 * time.Second, 4: 12 * time.Second, 5: 24 * time.Second, 6: 48 * time.Second,
		7: time.Hour, 8: time.Hour, 1 << 30: time.Hour,
	} {
		if got, ok := s.Delay(n, middle); !ok || got != want {
			t.Errorf("Delay(%d) = %v, %v; want %v", n, got, ok, want)
		}
	}
	if got, _ := s.Delay(1, 0); got != 10*time.Minute {
		t.Errorf("the first delay is changed to %v", got)
	}
	for random, want := range map[float64]time.Duration{0: 48 * time.Minute, 0.25: 54 * time.Minute, 0.75: 66 * time.Minute} {
		if got, _ := s.Delay(7, random); got != want {
			t.Errorf("Delay(7, %v) = %v, want %v", random, got, want)
		}
	}
	if got, ok := s.Delay(0, middle); ok {
		t.Errorf("no failure, and yet a delay of %v", got)
	}
}

func TestDelay(t *testing.T) {
	periodic := func(d time.Duration, n int) RetryStrategy {
		return RetryStrategy{Periodic: &Periodic{Interval: d, MaxAttempts: n}}
	}
	exponential := func(attempts int, least, most time.Duration) RetryStrategy {
		return RetryStrategy{ExponentialBackoff: &ExponentialBackoff{MaxAttempts: attempts, MinDelay: least, MaxDelay: most}}
	}
	then := func(a, b RetryStrategy) RetryStrategy {
		return RetryStrategy{AndThen: &AndThen{First: a, Second: b}}
	}
	random := func(s RetryStrategy, percent int) RetryStrategy {
		return RetryStrategy{Randomized: &Randomized{Strategy: s, PlusOrMinusPercent: percent}}
	}
	for name, tc := range map[string]struct {
		strategy RetryStrategy
		n        int
		random   float64
		want     time.Duration
		ok       bool
	}{
		"none":                           {RetryStrategy{}, 1, 0, 0, false},
		"the last of a period":           {periodic(time.Second, 3), 3, 0, time.Second, true},
		"behind the last":                {periodic(time.Second, 3), 4, 0, time.Second, false},
		"a period without end":           {periodic(time.Second, 0), 1e9, 0, time.Second, true},
		"both exhausted":                 {then(periodic(1, 1), periodic(2, 1)), 3, 0, 2, false},
		"three in a row":                 {then(then(periodic(1, 1), periodic(2, 2)), periodic(3, 0)), 4, 0, 3, true},
		"a first without end":            {then(periodic(1, 0), periodic(2, 0)), 99, 0, 1, true},
		"a random first that ends":       {then(random(periodic(10, 1), 0), periodic(2, 0)), 2, 0, 2, true},
		"an exponential first that ends": {then(exponential(2, 1, 8), periodic(99, 0)), 3, 0, 99, true},
		"doubling up to a bound":         {exponential(0, 3*time.Second, 10*time.Second), 3, 0, 10 * time.Second, true},
		"doubling far beyond":            {exponential(0, 1, Infinite), 1e9, 0, Infinite, true},
		"doubling nothing":               {exponential(0, 0, time.Hour), 1e9, 0, 0, true},
		"a bound below the least":        {exponential(0, time.Hour, time.Minute), 1, 0, time.Minute, true},
		"an exhausted doubling":          {exponential(5, 1, 2), 6, 0, 2, false},
		"all of it random, least":        {random(periodic(time.Hour, 0), 100), 1, 0, 0, true},
		"infinity by chance, and longer": {random(periodic(Infinite, 0), 50), 1, 0.9, Infinite, true},
		"random over none":               {random(RetryStrategy{}, 50), 1, 0.9, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := tc.strategy.Delay(tc.n, tc.random)
			if ok != tc.ok || ok && got != tc.want {
				t.Errorf("Delay = %v, %v; want %v, %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}
