// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package backoff

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNext(t *testing.T) {
	policy := Policy{Base: time.Second, Max: 5 * time.Second, ResetAfter: time.Minute}
	tests := map[string]struct {
		policy Policy
		ran    []time.Duration
		want   []time.Duration
	}{
		"the first restart is immediate and then delays double to the limit": {
			policy: policy,
			ran:    make([]time.Duration, 6),
			want:   []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second},
		},
		"a long run is forgiven": {
			policy: policy,
			ran:    []time.Duration{0, 0, time.Minute, 0},
			want:   []time.Duration{0, time.Second, 0, time.Second},
		},
		"a run a little too short is not": {
			policy: policy,
			ran:    []time.Duration{0, 0, time.Minute - 1},
			want:   []time.Duration{0, time.Second, 2 * time.Second},
		},
		"no policy is no delay": {
			ran:  []time.Duration{0, 0},
			want: []time.Duration{0, 0},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			crashes := New(test.policy)
			var got []time.Duration
			for _, ran := range test.ran {
				got = append(got, crashes.Next(ran))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("delays (-want +got):\n%s", diff)
			}
		})
	}
}
