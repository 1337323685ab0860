// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package probe judges containers.
//
// A [Tracker] folds single results into a verdict by the probe's thresholds,
// without clocks or sockets. [Prepare] turns a probe of a pod into a function
// that asks once. When to ask is the business of the pod's own loop.
package probe

import corev1 "k8s.io/api/core/v1"

// Kind is what a probe is for; it decides what is believed before the first result.
type Kind string

// The kinds of probe a container can have.
const (
	Startup   Kind = "Startup"
	Readiness Kind = "Readiness"
	Liveness  Kind = "Liveness"
)

// Verdict is what is believed about the container now.
type Verdict int

// Undecided holds for a startup probe until a threshold is reached.
const (
	Undecided Verdict = iota
	Passing
	Failing
)

// Tracker counts results in a row. It is a plain value for one goroutine.
type Tracker struct {
	success, failure int
	verdict          Verdict
	last             bool
	streak           int
}

// NewTracker starts with what the kubelet believes before any result: a
// container is not ready, alive, and neither started nor failed.
func NewTracker(kind Kind, spec *corev1.Probe) *Tracker {
	tracker := &Tracker{success: max(1, int(spec.SuccessThreshold)), failure: max(1, int(spec.FailureThreshold))}
	switch kind {
	case Readiness:
		tracker.verdict = Failing
	case Liveness:
		tracker.verdict = Passing
	case Startup:
		tracker.verdict = Undecided
	}
	return tracker
}

// Observe adds one result and returns the verdict that now holds, and whether
// this result changed it.
func (t *Tracker) Observe(success bool) (verdict Verdict, changed bool) {
	if success != t.last {
		t.last, t.streak = success, 0
	}
	t.streak++
	before := t.verdict
	switch {
	case success && t.streak >= t.success:
		t.verdict = Passing
	case !success && t.streak >= t.failure:
		t.verdict = Failing
	}
	return t.verdict, t.verdict != before
}
