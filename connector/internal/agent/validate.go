// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/metrics"
	"github.com/passthrough-dev/connector-operator/connector/internal/rendezvous"
	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/connector/internal/validation"
)

// directory is the validator that the configuration chooses, and how it is
// checked.
type directory struct {
	validation.Validator
	// canary is what the random credential is offered to: the validator past the
	// bound on users, so that a busy connector stays proven.
	canary validation.Validator
	// suffixes are what the random names end with, one for each directory.
	suffixes []string
	// patience is for how long it may fail to be proven before the process ends,
	// so that it is started again; 0 means for ever.
	patience time.Duration
	closer   func() // may be nil
}

func (d *directory) close() {
	if d.closer != nil {
		d.closer()
	}
}

// newDirectory makes the validator. logon is for the method LogonUser alone.
func newDirectory(v config.Validation, logon validation.LogonOptions, log logr.Logger) (*directory, error) {
	if v.Method == config.MethodLogonUser {
		return newLogons(v.LogonUser.Domains, logon)
	}
	ldap, err := newLDAP(v, log)
	if err != nil {
		return nil, err
	}
	return &directory{Validator: ldap, canary: ldap, suffixes: ldap.ProbeSuffixes(), closer: ldap.Close}, nil
}

func newLogons(domains []string, opts validation.LogonOptions) (*directory, error) {
	user, err := validation.NewLogonUser(opts)
	if err != nil {
		return nil, err
	}
	// One that hangs keeps the others from being made: a logon cannot be
	// cancelled, and each holds a thread.
	one := validation.NewLimit(user, validation.LimitOptions{MaxConcurrent: 1, Timeout: proofTimeout})
	return &directory{Validator: user, canary: one, suffixes: domains, patience: logonPatience}, nil
}

func newLDAP(v config.Validation, log logr.Logger) (*validation.LDAP, error) {
	var forests []validation.Forest
	for _, f := range v.LDAP.Forests {
		forest := validation.Forest{Suffixes: f.Suffixes, Servers: f.Servers, CAFile: f.CAFile, StartTLS: f.StartTLS}
		if d := f.Discovery; d != nil {
			forest.Discovery = &validation.Discovery{Domain: d.Domain, Site: d.Site}
		}
		forests = append(forests, forest)
	}
	return validation.NewLDAP(validation.LDAPOptions{Forests: forests, MaxConnections: v.MaxConcurrent, Located: located(log)})
}

// prove is the canary.
func (d *directory) prove(ctx context.Context) error {
	return validation.Prove(ctx, d.canary, d.suffixes...)
}

// located logs which domain controllers DNS names, when that changes, and why it
// names none.
func located(log logr.Logger) func(domain string, hosts []string, err error) {
	return func(domain string, hosts []string, err error) {
		if err != nil {
			log.Error(err, "Domain controllers could not be looked up; those that are known stay in use", "domain", domain)
			return
		}
		log.Info("Domain controllers were found", "domain", domain, "hosts", hosts)
	}
}

// observed tells the metrics how validations are doing, and asks for a check of
// the validator when one does not return.
type observed struct {
	*metrics.Metrics
	suspect func()
}

// Stuck implements validation.LimitObserver.
func (o observed) Stuck(n int) {
	o.Metrics.Stuck(n)
	if n > 0 {
		o.suspect()
	}
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
