// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/metrics"
	"github.com/passthrough-dev/connector-operator/connector/internal/rendezvous"
	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/connector/internal/validation"
)

const (
	proofInterval = 5 * time.Minute
	proofTimeout  = 15 * time.Second
	// Pauses while the validator cannot be proven.
	firstProofRetry = 2 * time.Second
	maxProofRetry   = time.Minute
)

func newLDAP(v config.Validation) (*validation.LDAP, error) {
	var forests []validation.Forest
	for _, f := range v.LDAP.Forests {
		forests = append(forests, validation.Forest{Suffixes: f.Suffixes, Servers: f.Servers, CAFile: f.CAFile})
	}
	return validation.NewLDAP(validation.LDAPOptions{Forests: forests, MaxConnections: v.MaxConcurrent})
}

// limited gives rendezvous the validator in the form it asks for, and never
// passes on what a validator says that has lost all credit.
type limited struct {
	*validation.Limit
	distrusted *atomic.Bool
}

// Validate implements rendezvous.Validator.
func (l limited) Validate(ctx context.Context, upn, domain string, password *secret.Buffer) rendezvous.Answer {
	var result validation.Result
	if !l.distrusted.Load() {
		result = l.Limit.Validate(ctx, upn, domain, password)
	}
	if l.distrusted.Load() { // it may have lost its credit in the meantime
		result = validation.Refused(validation.InternalError, validation.ErrAcceptsAnything)
	}
	accepted, code := result.Answer()
	return rendezvous.Answer{Accepted: accepted, Code: int32(code), Class: result.Class().String(), Err: result.Err}
}

// counted gives rendezvous the metrics in the form it asks for.
type counted struct {
	m       *metrics.Metrics
	foreign *foreign
	log     logr.Logger
}

// SignIn implements rendezvous.Observer.
func (c counted) SignIn(answer rendezvous.Answer, reason string, total, validated time.Duration, delivered bool) {
	if answer.Accepted {
		reason = "0"
	}
	c.m.SignIn(answer.Class, reason, total, validated, delivered)
}

// Dropped implements rendezvous.Observer.
func (c counted) Dropped(reason rendezvous.DropReason) { c.m.Dropped(string(reason)) }

// ForeignKeys implements rendezvous.Observer.
func (c counted) ForeignKeys(identifiers []string) {
	now := time.Now()
	for _, id := range c.foreign.note(identifiers, now) {
		c.log.Info("Requests are encrypted for another connector that was not seen before; make sure that it is one of yours", "connectorID", id)
	}
	connectors, certificates := c.foreign.count(now)
	c.m.ForeignKeys(len(identifiers), connectors, certificates)
}

// InFlight implements rendezvous.Observer.
func (c counted) InFlight(delta int) { c.m.Rendezvous(delta) }

// prove offers the validator a random credential once and reports what came
// of it.
func (a *agent) prove(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	err := validation.Prove(limited, a.ldap, a.ldap.ProbeSuffixes()...)
	now := time.Now()
	switch {
	case err == nil:
		a.metrics.Proof(metrics.Refused)
		a.tracker.ValidatorProven(now)
	case errors.Is(err, validation.ErrAcceptsAnything):
		a.distrusted.Store(true) // before anything else: requests are being answered
		a.metrics.Proof(metrics.AcceptedAnything)
		a.tracker.ValidatorAcceptsAnything(now, err)
		a.opts.Log.Error(err, "The validator accepted a random user with a random password. This connector serves no more sign-ins until it is restarted")
	case ctx.Err() != nil:
		// Stopping: the check was cut short and says nothing.
	default:
		a.metrics.Proof(metrics.Unproven)
		a.tracker.ValidatorFailing(now, err)
		a.opts.Log.Error(err, "The validator could not be checked")
	}
	return err
}

// proveFirst checks the validator until it is proven. False means that the
// connector must not serve.
func (a *agent) proveFirst(ctx context.Context) bool {
	for n := 0; ; n++ {
		err := a.prove(ctx)
		if err == nil {
			return true
		}
		if errors.Is(err, validation.ErrAcceptsAnything) {
			return false
		}
		ceiling := min(maxProofRetry, firstProofRetry<<min(n, 8))
		if !wait(ctx, ceiling/2+time.Duration(rand.Int64N(int64(ceiling/2)))) { //nolint:gosec // jitter
			return false
		}
	}
}

// keepProving checks the validator every few minutes, and returns when it
// accepts anything or ctx ends. A validator that cannot be asked for a while is
// no reason to stop listening: sign-ins are then answered with a code that says
// so, and the cloud tries another connector or tells the user, while silence
// would cost every user the full time limit.
func (a *agent) keepProving(ctx context.Context) {
	for {
		interval := proofInterval
		if a.tracker.Status(time.Now()).Validator.Message != "" {
			interval = maxProofRetry / 2
		}
		if !wait(ctx, interval-time.Duration(rand.Int64N(int64(interval/10)))) { //nolint:gosec // jitter
			return
		}
		if errors.Is(a.prove(ctx), validation.ErrAcceptsAnything) {
			return
		}
	}
}

// wait pauses; false means that ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
