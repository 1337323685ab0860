// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backoff decides how long a crashed container waits before it is
// started again, as the kubelet does: the first restart is immediate, then the
// delay doubles up to a limit, and a container that ran long enough starts
// with a clean slate.
package backoff

import "time"

// Policy bounds the delays. The zero Policy never delays.
type Policy struct {
	// Base is the delay before the second restart.
	Base time.Duration
	// Max is the longest delay.
	Max time.Duration
	// ResetAfter is how long a container must have run to be forgiven.
	ResetAfter time.Duration
}

// Crashes counts the crashes of one container in a row. It is a plain value
// for one goroutine.
type Crashes struct {
	policy Policy
	delay  time.Duration
	seen   bool
}

// New starts counting under the policy.
func New(policy Policy) *Crashes { return &Crashes{policy: policy} }

// Next records that the container ended after running for ran, and returns
// how long to wait before the next start.
func (c *Crashes) Next(ran time.Duration) time.Duration {
	if !c.seen || ran >= c.policy.ResetAfter {
		c.seen, c.delay = true, 0
		return 0
	}
	c.delay = min(max(2*c.delay, c.policy.Base), c.policy.Max)
	return c.delay
}
