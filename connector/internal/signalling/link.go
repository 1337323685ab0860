// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
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
	// maxAge is when a connection is replaced although nothing is wrong with it, as
	// the service's own agent does (protocol section 4.4, LeaseTimeout): behind a
	// proxy, a far side that vanished may not show in any other way.
	maxAge = 6 * time.Hour
)

// link keeps one address's connection up. There is one link for each address,
// so that the states it reports never contradict each other.
type link struct {
	name     string
	opts     Options
	lifetime func() time.Duration // of tokens
	attempts int                  // since the link was last steady
	// replaces is set when the service has ended a link whose token had been
	// renewed: from then on a new connection takes its place before that.
	replaces bool
	changed  chan struct{} // holds a token when endpoint has changed

	mu       sync.Mutex // protects endpoint
	endpoint Endpoint
}

func newLink(e Endpoint, opts Options, lifetime func() time.Duration) *link {
	return &link{name: e.Name(), opts: opts, lifetime: lifetime, endpoint: e, changed: make(chan struct{}, 1)}
}

// change gives the link another key for its address. A connection that was
// opened with the old one serves until the new one is up.
func (k *link) change(e Endpoint) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.endpoint == e {
		return
	}
	k.endpoint = e
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

func (k *link) current() Endpoint {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.endpoint
}

// run connects, serves and reconnects until ctx ends.
func (k *link) run(ctx context.Context) {
	var current *attachment // nil while nothing is attached
	defer func() {
		if current != nil {
			current.close()
		}
		k.opts.Notify(k.name, Closed, nil)
	}()
	for {
		if current == nil {
			k.opts.Notify(k.name, Connecting, nil)
		}
		next, err := k.attach(ctx, k.current())
		if ctx.Err() != nil {
			if next != nil {
				next.close()
			}
			return
		}
		if err != nil {
			k.opts.Log.Info("Attaching to a signalling endpoint failed", "endpoint", k.name, "error", err.Error(), "renewal", current != nil)
			if current == nil {
				k.opts.Notify(k.name, Waiting, err)
			}
			if !k.pause(ctx, err, &current) {
				return
			}
			continue
		}
		if current != nil {
			current.close() // only now: the new connection listens already
		}
		current = next
		k.opts.Notify(k.name, Attached, nil)
		k.opts.Log.Info("Attached to a signalling endpoint", "endpoint", k.name)
		if !k.serve(ctx, &current) {
			return
		}
	}
}

// serve waits until the connection is lost, which clears current, or must be
// replaced, which leaves it. It returns false when ctx has ended.
func (k *link) serve(ctx context.Context, current **attachment) bool {
	began, renewed := time.Now(), false
	// Renewed in the last tenth to fifth of the token's life.
	next := func() time.Duration {
		lifetime := k.lifetime()
		return lifetime - lifetime/10 - time.Duration(rand.Int64N(int64(lifetime/10))) //nolint:gosec // jitter needs no secret randomness
	}
	renew := time.NewTimer(next())
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-renew.C:
			k.attempts = 0
			if time.Since(began) >= maxAge || !k.renewInPlace(*current) {
				return true
			}
			renewed = true
			renew.Reset(next())
			continue
		case <-k.changed:
			k.attempts = 0
			return true
		case <-(*current).done:
		}
		if time.Since(began) >= steady {
			k.attempts = 0
		}
		err := k.lose(current)
		k.opts.Log.Info("Lost a signalling link", "endpoint", k.name, "error", err.Error(), "after", time.Since(began).Round(time.Second).String())
		if renewed && errors.Is(err, ErrRefused) {
			k.replaces = true
			k.opts.Log.Info("The service did not take a renewed token: from now on connections are replaced before theirs ends", "endpoint", k.name)
			err = errors.New("the token was not renewed") // a new connection has a good one
		}
		return k.pause(ctx, err, current)
	}
}

// renewInPlace gives the service a new token for the links of a connection. False
// means that another connection must take its place.
func (k *link) renewInPlace(a *attachment) bool {
	if k.replaces {
		return false
	}
	if err := a.stream.renew(k.token(k.current())); err != nil {
		k.opts.Log.Info("Renewing the token of a signalling link failed", "endpoint", k.name, "error", err.Error())
		return false
	}
	k.opts.Log.V(1).Info("Renewed the token of a signalling link", "endpoint", k.name)
	return true
}

// lose gives up the current attachment, which has ended, and returns why.
func (k *link) lose(current **attachment) error {
	err := (*current).err
	(*current).close()
	*current = nil
	k.opts.Notify(k.name, Waiting, err)
	return err
}

// pause waits before the next attempt; false means that ctx has ended. A new
// key ends it early. While an attachment still serves, its loss is reported at
// once and not only after the pause.
func (k *link) pause(ctx context.Context, cause error, current **attachment) bool {
	k.attempts++
	timer := time.NewTimer(pauseBefore(k.attempts, errors.Is(cause, ErrRefused), rand.Float64())) //nolint:gosec // jitter
	defer timer.Stop()
	for {
		var lost <-chan struct{}
		if *current != nil {
			lost = (*current).done
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-k.changed:
			k.attempts = 0
			return true
		case <-lost:
			err := k.lose(current)
			k.opts.Log.Info("Lost a signalling link that was to be renewed", "endpoint", k.name, "error", err.Error())
		}
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
