// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"time"
)

// replica is one connector as a rollout sees it.
type replica struct {
	index int
	// exists says that there is a Deployment.
	exists bool
	// outdated says that making it what it should be would replace its pod.
	outdated bool
	// automatic says that it is outdated because of the operator's release alone:
	// nobody changed the specification.
	automatic bool
	// available says that it has been ready for minReadySeconds, by a status that
	// speaks of the Deployment as it is now.
	available bool
	// since is when it was last updated or became unavailable, whatever is later.
	// The deadline counts from it.
	since time.Time
}

// rolloutInput is all that decides over a rollout.
type rolloutInput struct {
	replicas       []replica
	maxUnavailable int
	deadline       time.Duration
	now            time.Time
	// paused says that the specification asks for no replacement.
	paused bool
	// halted says that the rollout failed earlier and that nothing has changed since.
	halted bool
	// windowOpen says that connectors may be replaced because of the operator's
	// release.
	windowOpen bool
}

// rolloutPhase is how a rollout stands.
type rolloutPhase int

// The phases of a rollout.
const (
	// rolloutComplete: every connector is up to date and available.
	rolloutComplete rolloutPhase = iota
	// rolloutProgressing: connectors are being replaced, or awaited.
	rolloutProgressing
	// rolloutPaused: some are outdated, and the specification asks to wait.
	rolloutPaused
	// rolloutWaiting: some are outdated, and wait for the maintenance window.
	rolloutWaiting
	// rolloutHalted: one that was replaced did not become available in time.
	rolloutHalted
)

// rolloutDecision is what may happen now.
type rolloutDecision struct {
	phase rolloutPhase
	// update are the indexes whose pods may be replaced now, in order.
	update []int
	// failed is the index that did not become available in time; -1 if there is
	// none.
	failed int
	// awaited is the index whose availability the rollout waits for; -1 if there is
	// none.
	awaited int
	// proven says that a connector that is up to date is available.
	proven bool
}

// decideRollout says which connectors may be replaced now. It relies on nothing
// but its input, so whatever happened before, the next call is right:
//
//   - Connectors that are up to date and not available come first: while the first
//     of them, the canary, has not become available, no other is touched; once its
//     deadline has passed, none is.
//   - Then those that are outdated and unavailable: replacing them takes nothing
//     away. So a correction repairs a broken fleet.
//   - Then those that serve, as many as maxUnavailable leaves.
//
// A connector without a Deployment takes part in nothing: it takes no place, and
// is made with the right revision.
func decideRollout(in rolloutInput) rolloutDecision {
	d := rolloutDecision{failed: -1, awaited: -1}
	unavailable, outdated := 0, 0
	for _, r := range in.replicas {
		if !r.exists {
			continue
		}
		if !r.available {
			unavailable++
		}
		switch {
		case r.outdated:
			outdated++
		case r.available:
			d.proven = true
		default:
			if d.awaited < 0 {
				d.awaited = r.index
			}
			if d.failed < 0 && in.now.Sub(r.since) > in.deadline {
				d.failed = r.index
			}
		}
	}
	switch {
	case in.halted, d.failed >= 0:
		d.phase = rolloutHalted
		return d
	case outdated == 0 && d.awaited < 0:
		return d
	case outdated > 0 && in.paused:
		d.phase = rolloutPaused
		return d
	}
	d.phase = rolloutProgressing
	candidates := in.candidates()
	switch {
	case len(candidates) == 0:
		if outdated > 0 && d.awaited < 0 {
			d.phase = rolloutWaiting
		}
	case d.proven:
		d.update = within(candidates, in.maxUnavailable-unavailable)
	case d.awaited < 0:
		d.update = within(candidates[:1], in.maxUnavailable-unavailable) // the canary
	}
	return d
}

// candidates are the connectors to replace, in the order of their turns.
func (in rolloutInput) candidates() []replica {
	var all []replica
	for _, r := range in.replicas {
		if r.exists && r.outdated && (in.windowOpen || !r.automatic) {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b replica) int {
		switch {
		case a.available == b.available:
			return a.index - b.index
		case b.available:
			return -1
		default:
			return 1
		}
	})
	return all
}

// within are all that are unavailable, and free of those that are available.
func within(candidates []replica, free int) []int {
	var update []int
	for _, r := range candidates {
		if r.available {
			if free <= 0 {
				break
			}
			free--
		}
		update = append(update, r.index)
	}
	return update
}
