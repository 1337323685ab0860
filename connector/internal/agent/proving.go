// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/internal/health"
	"github.com/passthrough-dev/connector-operator/connector/internal/metrics"
	"github.com/passthrough-dev/connector-operator/connector/internal/validation"
)

const (
	proofInterval = 5 * time.Minute
	proofTimeout  = 15 * time.Second
	// Pauses while the validator cannot be proven.
	firstProofRetry = 2 * time.Second
	maxProofRetry   = time.Minute
	// suspectPause is the least between two checks that sign-ins gave rise to.
	suspectPause = 10 * time.Second
	// logonPatience is for how long Windows may fail to validate. A container that
	// has lost its trust in the domain gets it back by a restart, if at all.
	logonPatience = 5 * time.Minute
)

// errUnproven ends the process: the validator could not be proven for so long
// that another process may do better.
var errUnproven = errors.New("the connector ends, so that it is started again")

// proving checks the validator with random credentials for as long as the
// connector runs, and reports what comes of it.
type proving struct {
	directory *directory
	// exhausted tells that no validation has returned for so long that none is
	// made any more.
	exhausted func() bool
	// distrusted is set when the validator has accepted anything.
	distrusted *atomic.Bool
	tracker    *health.Tracker
	metrics    *metrics.Metrics
	log        logr.Logger
	// suspicion holds a token when a sign-in has met trouble that the next check
	// should not be waited for.
	suspicion chan struct{}
}

// suspect asks for a check soon. It does not block.
func (p *proving) suspect() {
	select {
	case p.suspicion <- struct{}{}:
	default: // asked already
	}
}

// run checks the validator until ctx ends. It calls serve once it is proven: only
// then may anything be validated. The error says why the connector must not go
// on; it is validation.ErrAcceptsAnything or errUnproven.
//
// A validator that cannot be asked for a while is no reason to stop listening:
// sign-ins are then answered with a code that says so, and the cloud tries
// another connector or tells the user, while silence would cost every user the
// full time limit.
func (p *proving) run(ctx context.Context, serve func()) error {
	var failing time.Time // since when; zero if the last check went well
	serving := false
	for failures := 0; ; {
		err := p.check(ctx)
		switch {
		case errors.Is(err, validation.ErrAcceptsAnything):
			return err
		case ctx.Err() != nil:
			// The check was cut short and says nothing; the pause ends at once.
		case err == nil:
			failing, failures = time.Time{}, 0
			if !serving {
				serving = true
				serve()
			}
		default:
			failures++
			if failing.IsZero() {
				failing = time.Now()
			}
			if since := time.Since(failing); p.directory.patience > 0 && since >= p.directory.patience {
				return fmt.Errorf("%w: for %s now, %w", errUnproven, since.Round(time.Second), err)
			}
		}
		select {
		case <-p.suspicion: // the check's own, or older than it
		default:
		}
		if !p.pause(ctx, interval(serving, failures)) {
			return nil
		}
	}
}

// interval is how long to pause after so many failures in a row.
func interval(serving bool, failures int) time.Duration {
	jitter := func(least, most time.Duration) time.Duration {
		return least + rand.N(most-least) //nolint:gosec // jitter
	}
	switch {
	case failures == 0:
		return jitter(proofInterval*9/10, proofInterval)
	case serving: // sign-ins fail meanwhile
		return jitter(maxProofRetry*9/20, maxProofRetry/2)
	default:
		ceiling := min(maxProofRetry, firstProofRetry<<min(failures-1, 8))
		return jitter(ceiling/2, ceiling)
	}
}

// pause waits, or less long if there is suspicion. False means that ctx has ended.
func (p *proving) pause(ctx context.Context, d time.Duration) bool {
	began := time.Now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-p.suspicion:
		return wait(ctx, min(d, suspectPause)-time.Since(began))
	}
}

// check offers the validator a random credential once and reports what came of
// it.
func (p *proving) check(ctx context.Context) error {
	err := p.ask(ctx)
	now := time.Now()
	switch {
	case err == nil:
		p.metrics.Proof(metrics.Refused)
		p.tracker.ValidatorProven(now)
	case errors.Is(err, validation.ErrAcceptsAnything):
		p.distrusted.Store(true) // before anything else: requests are being answered
		p.metrics.Proof(metrics.AcceptedAnything)
		p.tracker.ValidatorAcceptsAnything(now, err)
		p.log.Error(err, "The validator accepted a random user with a random password. This connector serves no more sign-ins until it is restarted")
	case ctx.Err() != nil:
		// Stopping.
	default:
		p.metrics.Proof(metrics.Unproven)
		if errors.Is(err, validation.ErrSecureChannel) || errors.Is(err, validation.ErrStuck) {
			p.tracker.ValidatorLost(now, err)
		} else {
			p.tracker.ValidatorFailing(now, err)
		}
		p.log.Error(err, "The validator could not be checked")
	}
	return err
}

func (p *proving) ask(ctx context.Context) error {
	if p.exhausted() {
		return fmt.Errorf("%w: %w, as many as are made at a time", validation.ErrNotProven, validation.ErrStuck)
	}
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	return p.directory.prove(ctx)
}
