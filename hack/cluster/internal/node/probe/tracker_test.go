// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestTracker(t *testing.T) {
	tests := map[string]struct {
		kind    Kind
		probe   corev1.Probe
		results []bool
		want    []Verdict
		changes []bool
	}{
		"readiness starts as failing and one success is enough by default": {
			kind: Readiness, results: []bool{true}, want: []Verdict{Passing}, changes: []bool{true},
		},
		"readiness needs successes in a row": {
			kind: Readiness, probe: corev1.Probe{SuccessThreshold: 2},
			results: []bool{true, false, true, true},
			want:    []Verdict{Failing, Failing, Failing, Passing},
			changes: []bool{false, false, false, true},
		},
		"readiness is lost only after failures in a row": {
			kind: Readiness, probe: corev1.Probe{FailureThreshold: 3},
			results: []bool{true, false, false, true, false, false, false},
			want:    []Verdict{Passing, Passing, Passing, Passing, Passing, Passing, Failing},
			changes: []bool{true, false, false, false, false, false, true},
		},
		"liveness starts as passing": {
			kind: Liveness, probe: corev1.Probe{FailureThreshold: 2},
			results: []bool{false, false}, want: []Verdict{Passing, Failing}, changes: []bool{false, true},
		},
		"startup is undecided until it passes": {
			kind: Startup, probe: corev1.Probe{FailureThreshold: 3},
			results: []bool{false, false, true}, want: []Verdict{Undecided, Undecided, Passing}, changes: []bool{false, false, true},
		},
		"startup fails at its threshold": {
			kind: Startup, probe: corev1.Probe{FailureThreshold: 2},
			results: []bool{false, false}, want: []Verdict{Undecided, Failing}, changes: []bool{false, true},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tracker := NewTracker(test.kind, &test.probe)
			var verdicts []Verdict
			var changes []bool
			for _, result := range test.results {
				verdict, changed := tracker.Observe(result)
				verdicts, changes = append(verdicts, verdict), append(changes, changed)
			}
			if diff := cmp.Diff(test.want, verdicts); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.changes, changes); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}
