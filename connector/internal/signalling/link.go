// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	attachTimeout = 30 * time.Second
	// Pauses between attempts (protocol section 5.7), drawn at random below a
	// ceiling that doubles.
	firstPause = 2500 * time.Millisecond
	maxPause   = time.Minute
	// refusedPause is the ceiling for refusals that another attempt will hardly
	// change: they end with a new bootstrap, not with time.
	refusedPause = 5 * time.Minute
	// steady is how long a link must have been up before the pauses begin small
	// again: one that is lost right after each attach must not be tried in a
	// tight loop.
	steady = time.Minute
)

// link keeps one endpoint's connection up.
type link struct {
	endpoint Endpoint
	opts     Options
	attempts int // since the link was last steady
}

// run connects, serves and reconnects until ctx ends.
func (k *link) run(ctx context.Context) {
	var current *attachment
	defer func() {
		if current != nil {
			current.close()
		}
		k.opts.Notify(k.endpoint.Name(), Closed, nil)
	}()
	for {
		if current == nil {
			k.opts.Notify(k.endpoint.Name(), Connecting, nil)
		}
		next, err := k.attach(ctx)
		if ctx.Err() != nil {
			if next != nil {
				next.close()
			}
			return
		}
		if err != nil {
			if current != nil && current.ended() {
				current.close()
				current = nil
			}
			if current == nil {
				k.opts.Notify(k.endpoint.Name(), Waiting, err)
			}
			k.opts.Log.Info("Attaching to a signalling endpoint failed", "endpoint", k.endpoint.Name(), "error", err.Error(), "renewal", current != nil)
			if !k.pause(ctx, err) {
				return
			}
			continue
		}
		if current != nil {
			current.close() // only now: the new connection listens already
		}
		current = next
		k.opts.Notify(k.endpoint.Name(), Attached, nil)
		k.opts.Log.Info("Attached to a signalling endpoint", "endpoint", k.endpoint.Name())
		if !k.serve(ctx, &current) {
			return
		}
	}
}

// serve waits until the connection is lost, which clears current, or must be
// renewed, which leaves it. It returns false when ctx has ended.
func (k *link) serve(ctx context.Context, current **attachment) bool {
	began := time.Now()
	// Renewed in the last tenth to fifth of the token's life.
	lifetime := k.opts.TokenLifetime
	renew := time.NewTimer(lifetime - lifetime/10 - time.Duration(rand.Int64N(int64(lifetime/10)))) //nolint:gosec // jitter needs no secret randomness
	defer renew.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-renew.C:
		k.attempts = 0
		return true
	case <-(*current).done:
	}
	err := (*current).err
	(*current).close()
	*current = nil
	if time.Since(began) >= steady {
		k.attempts = 0
	}
	k.opts.Notify(k.endpoint.Name(), Waiting, err)
	k.opts.Log.Info("Lost a signalling link", "endpoint", k.endpoint.Name(), "error", err.Error(), "after", time.Since(began).Round(time.Second).String())
	return k.pause(ctx, err)
}

// pause waits before the next attempt; false means that ctx has ended.
func (k *link) pause(ctx context.Context, err error) bool {
	k.attempts++
	timer := time.NewTimer(pauseBefore(k.attempts, errors.Is(err, ErrRefused), rand.Float64())) //nolint:gosec // jitter
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// pauseBefore is the pause after the n-th failure in a row, n from 1; random
// is drawn from [0, 1). A tenth of the first pause is the least there is.
func pauseBefore(n int, refused bool, random float64) time.Duration {
	limit := maxPause
	if refused {
		limit = refusedPause
	}
	ceiling := min(limit, firstPause<<min(n-1, 10))
	return max(firstPause/10, time.Duration(random*float64(ceiling)))
}
