// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"sync"
	"time"
)

const (
	// rememberFor is how long a request identifier is remembered: longer than any
	// answer can matter to the cloud.
	rememberFor = 2 * time.Minute
	// rememberMost bounds the memory that a flood of requests can take.
	rememberMost = 100_000
)

// recent remembers request identifiers, so that a repeated request cannot
// count twice against a user's lockout. When it is full it refuses what is new:
// forgetting the oldest would open the door again.
type recent struct {
	mu     sync.Mutex
	seen   map[string]struct{}
	oldest []entry // in order of arrival
}

type entry struct {
	id string
	at time.Time
}

func newRecent() *recent { return &recent{seen: map[string]struct{}{}} }

// first reports whether an identifier has not been seen lately, and remembers
// it.
func (r *recent) first(id string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.oldest) > 0 && now.Sub(r.oldest[0].at) > rememberFor {
		delete(r.seen, r.oldest[0].id)
		r.oldest = r.oldest[1:]
	}
	if _, ok := r.seen[id]; ok || len(r.oldest) >= rememberMost {
		return false
	}
	r.seen[id] = struct{}{}
	r.oldest = append(r.oldest, entry{id: id, at: now})
	return true
}
