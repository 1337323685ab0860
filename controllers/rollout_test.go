// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fleet makes replicas from letters: o outdated and available, O outdated and
// unavailable, a the same as o because of the operator alone, u up to date and
// available, U up to date and unavailable, F the same for longer than the
// deadline, - none.
func fleet(letters string) []replica {
	var all []replica
	for i, letter := range letters {
		r := replica{index: i, exists: letter != '-', since: testNow}
		switch letter {
		case 'o', 'O', 'a':
			r.outdated = true
			r.automatic = letter == 'a'
		case 'F':
			r.since = testNow.Add(-time.Hour)
		}
		r.available = letter == 'o' || letter == 'a' || letter == 'u'
		all = append(all, r)
	}
	return all
}

func TestDecideRollout(t *testing.T) {
	for name, tc := range map[string]struct {
		fleet          string
		maxUnavailable int // 1 if zero
		change         func(*rolloutInput)
		wantPhase      rolloutPhase
		wantUpdate     []int
		wantFailed     int // -1 unless Halted
	}{
		"nothing exists":                                {fleet: "--", wantPhase: rolloutComplete},
		"all is done":                                   {fleet: "uuu", wantPhase: rolloutComplete},
		"the canary":                                    {fleet: "ooo", wantPhase: rolloutProgressing, wantUpdate: []int{0}},
		"one canary whatever the limit":                 {fleet: "ooooo", maxUnavailable: 5, wantPhase: rolloutProgressing, wantUpdate: []int{0}},
		"the canary is awaited":                         {fleet: "Uoo", maxUnavailable: 3, wantPhase: rolloutProgressing},
		"the next after the canary":                     {fleet: "uoo", wantPhase: rolloutProgressing, wantUpdate: []int{1}},
		"as many as may":                                {fleet: "uoooo", maxUnavailable: 2, wantPhase: rolloutProgressing, wantUpdate: []int{1, 2}},
		"one that is replaced takes a place":            {fleet: "uUooo", maxUnavailable: 2, wantPhase: rolloutProgressing, wantUpdate: []int{2}},
		"one that is broken takes a place":              {fleet: "uUoo", wantPhase: rolloutProgressing},
		"a broken one is the canary":                    {fleet: "ooOo", wantPhase: rolloutProgressing, wantUpdate: []int{2}},
		"all broken ones follow the canary at once":     {fleet: "uOOO", wantPhase: rolloutProgressing, wantUpdate: []int{1, 2, 3}},
		"broken ones first, and then none":              {fleet: "uoOo", wantPhase: rolloutProgressing, wantUpdate: []int{2}},
		"broken ones first, and then what is left":      {fleet: "uoOo", maxUnavailable: 2, wantPhase: rolloutProgressing, wantUpdate: []int{2, 1}},
		"what does not exist takes no place":            {fleet: "uo-o", wantPhase: rolloutProgressing, wantUpdate: []int{1}},
		"the canary fails":                              {fleet: "Foo", wantPhase: rolloutHalted, wantFailed: 0},
		"a later one fails":                             {fleet: "uFo", maxUnavailable: 2, wantPhase: rolloutHalted, wantFailed: 1},
		"the last one fails":                            {fleet: "uuF", wantPhase: rolloutHalted, wantFailed: 2},
		"halted stays halted though the canary is well": {fleet: "uoo", change: func(in *rolloutInput) { in.halted = true }, wantPhase: rolloutHalted, wantFailed: -1},
		"paused":                    {fleet: "uoO", change: func(in *rolloutInput) { in.paused = true }, wantPhase: rolloutPaused},
		"paused with nothing to do": {fleet: "uuu", change: func(in *rolloutInput) { in.paused = true }, wantPhase: rolloutComplete},
		"the window is closed":      {fleet: "aaa", change: func(in *rolloutInput) { in.windowOpen = false }, wantPhase: rolloutWaiting},
		"the window is open":        {fleet: "aaa", wantPhase: rolloutProgressing, wantUpdate: []int{0}},
		"the window does not hold a changed specification": {
			fleet: "aoa", change: func(in *rolloutInput) { in.windowOpen = false }, wantPhase: rolloutProgressing, wantUpdate: []int{1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := rolloutInput{replicas: fleet(tc.fleet), maxUnavailable: max(tc.maxUnavailable, 1), deadline: time.Minute, now: testNow, windowOpen: true}
			if tc.change != nil {
				tc.change(&in)
			}
			got := decideRollout(in)
			wantFailed := tc.wantFailed
			if tc.wantPhase != rolloutHalted {
				wantFailed = -1
			}
			if got.phase != tc.wantPhase || got.failed != wantFailed {
				t.Errorf("phase %d, failed %d; want %d, %d", got.phase, got.failed, tc.wantPhase, wantFailed)
			}
			if diff := cmp.Diff(tc.wantUpdate, got.update); diff != "" {
				t.Errorf("update (-want +got):\n%s", diff)
			}
		})
	}
}

// simulated is a connector of a simulated cluster.
type simulated struct {
	revision  int // that its pod runs
	available bool
	// ours says that it is unavailable because a rollout replaced it.
	ours  bool
	since time.Time
}

// simulation plays a fleet, the cluster and an administrator in random order.
type simulation struct {
	t              *testing.T
	rng            *rand.Rand
	now            time.Time
	fleet          []simulated
	target         int
	bad            map[int]bool // revisions that never become available
	maxUnavailable int
	halted         bool
	deadline       time.Duration
	log            []string
}

func (s *simulation) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *simulation) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\nfleet %+v, target %d\nhistory: %v", fmt.Sprintf(format, args...), s.fleet, s.target, s.log)
}

func (s *simulation) input() rolloutInput {
	in := rolloutInput{maxUnavailable: s.maxUnavailable, deadline: s.deadline, now: s.now, halted: s.halted, windowOpen: true}
	for i, c := range s.fleet {
		in.replicas = append(in.replicas, replica{index: i, exists: true, outdated: c.revision != s.target, available: c.available, since: c.since})
	}
	return in
}

// operator makes a pass and checks what it does.
func (s *simulation) operator() {
	before := append([]simulated(nil), s.fleet...)
	d := decideRollout(s.input())
	if s.halted && len(d.update) > 0 {
		s.fail("a halted rollout replaces %v", d.update)
	}
	s.halted = s.halted || d.phase == rolloutHalted
	proven := false
	for _, c := range before {
		proven = proven || (c.revision == s.target && c.available)
	}
	if !proven && len(d.update) > 1 {
		s.fail("%v are replaced although no canary has succeeded", d.update)
	}
	for _, i := range d.update {
		if before[i].revision == s.target {
			s.fail("%d is replaced although it is up to date", i)
		}
		for j, c := range before {
			if c.revision == s.target && !c.available && !proven {
				s.fail("%d is replaced while the canary %d is awaited", i, j)
			}
		}
		took := s.fleet[i].available
		s.fleet[i] = simulated{revision: s.target, ours: took || before[i].ours, since: s.now}
		if took {
			down := 0
			for _, c := range s.fleet {
				if !c.available {
					down++
				}
			}
			if down > s.maxUnavailable {
				s.fail("%d was taken down, and %d are down, more than %d", i, down, s.maxUnavailable)
			}
		}
		s.note("update %d to %d", i, s.target)
	}
	ours := 0
	for _, c := range s.fleet {
		if c.ours && !c.available {
			ours++
		}
	}
	if ours > s.maxUnavailable {
		s.fail("%d connectors are down because of rollouts, more than %d", ours, s.maxUnavailable)
	}
}

// cluster lets something happen to one connector.
func (s *simulation) cluster() {
	i := s.rng.IntN(len(s.fleet))
	c := &s.fleet[i]
	switch {
	case !c.available && !s.bad[c.revision]:
		c.available, c.ours = true, false
		s.note("%d is available", i)
	case c.available && s.rng.IntN(8) == 0:
		c.available, c.since = false, s.now
		s.note("%d breaks", i)
	}
}

// administrator changes the specification, sometimes to one that is bad.
func (s *simulation) administrator(good bool) {
	s.target++
	s.bad[s.target] = !good && s.rng.IntN(2) == 0
	s.halted = false
	s.note("specification %d, bad %t", s.target, s.bad[s.target])
}

func (s *simulation) step() {
	switch s.rng.IntN(12) {
	case 0:
		s.administrator(false)
	case 1:
		s.now = s.now.Add(s.deadline / 2)
	case 2, 3, 4, 5:
		s.cluster()
	default:
		s.operator()
	}
}

// TestRolloutsInRandomOrder plays fleets in random order and checks after each
// step what must always hold, and at last that a good specification repairs
// whatever was left.
func TestRolloutsInRandomOrder(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 42))
		s := &simulation{
			t: t, rng: rng, now: testNow, bad: map[int]bool{}, deadline: time.Minute,
			fleet: make([]simulated, 1+rng.IntN(8)), maxUnavailable: 1 + rng.IntN(3),
		}
		for i := range s.fleet {
			s.fleet[i] = simulated{available: true, since: s.now}
		}
		s.note("seed %d, %d connectors, at most %d unavailable", seed, len(s.fleet), s.maxUnavailable)
		for range 200 {
			s.step()
		}
		s.administrator(true)
		for range 10 * len(s.fleet) {
			s.operator()
			for i := range s.fleet { // everything that can become available does
				if !s.bad[s.fleet[i].revision] {
					s.fleet[i].available, s.fleet[i].ours = true, false
				}
			}
		}
		if d := decideRollout(s.input()); d.phase != rolloutComplete {
			s.fail("a good specification ends in phase %d", d.phase)
		}
	}
}
