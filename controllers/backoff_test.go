// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

func TestPausesGrowAndStayBounded(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 30 * time.Second, 2: time.Minute, 3: 2 * time.Minute, 4: 4 * time.Minute, 5: 8 * time.Minute, 6: 8 * time.Minute, 1000: 8 * time.Minute} {
		for range 100 {
			if got := pause(failures, firstRetry); got < want || got > want+want/4 {
				t.Errorf("after %d failures the pause is %s, want %s and up to a quarter more", failures, got, want)
			}
		}
	}
}

func TestPausesDiffer(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 20 {
		seen[pause(3, firstRetry)] = true
	}
	if len(seen) < 2 {
		t.Error("twenty pauses were the same: resources that failed together would call together")
	}
}

func TestAttempts(t *testing.T) {
	now := time.Now()
	failed := errors.New("unreachable")
	m := newMemory()
	if !m.attempt("uid").due("inputs", now) {
		t.Error("the first registration has to wait")
	}
	next := m.fail("uid", "inputs", now, failed, time.Minute)
	for name, tc := range map[string]struct {
		inputs string
		now    time.Time
		want   bool
	}{
		"too early":                  {"inputs", next.Add(-time.Nanosecond), false},
		"on time":                    {"inputs", next, true},
		"too early with a new token": {"other inputs", now, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := m.attempt("uid").due(tc.inputs, tc.now); got != tc.want {
				t.Errorf("due is %t, want %t", got, tc.want)
			}
		})
	}
	t.Run("failures in a row add up", func(t *testing.T) {
		if again := m.fail("uid", "inputs", now, failed, time.Minute); again.Sub(now) < 2*time.Minute {
			t.Errorf("the second pause is %s", again.Sub(now))
		}
	})
	t.Run("other inputs start a new row", func(t *testing.T) {
		if again := m.fail("uid", "other inputs", now, failed, time.Minute); again.Sub(now) >= 2*time.Minute {
			t.Errorf("the first pause with other inputs is %s", again.Sub(now))
		}
	})
	t.Run("a success ends the row", func(t *testing.T) {
		m.succeed("uid")
		if !m.attempt("uid").due("other inputs", now) {
			t.Error("a registration has to wait after a success")
		}
	})
}

func TestMemoryForgetsWhatIsGone(t *testing.T) {
	name := types.NamespacedName{Namespace: "passthrough", Name: "corp"}
	fill := func() *memory {
		m := newMemory()
		m.meet(name, "first")
		m.fail("first", "inputs", time.Now(), errors.New("unreachable"), time.Minute)
		m.keep("first", 1, enrolment.Issued{})
		return m
	}
	for what, end := range map[string]func(*memory){
		"a resource that was deleted":                     func(m *memory) { m.forget(name) },
		"a resource that was replaced by one of its name": func(m *memory) { m.meet(name, "second") },
	} {
		t.Run(what, func(t *testing.T) {
			m := fill()
			m.meet(name, "first")
			if _, kept := m.kept("first", 1); !kept {
				t.Fatal("an identity was forgotten while its resource exists")
			}
			end(m)
			if _, kept := m.kept("first", 1); kept || m.attempt("first").failures != 0 {
				t.Error("something is remembered")
			}
		})
	}
}
