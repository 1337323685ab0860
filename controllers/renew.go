// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

const (
	// keepPrevious is how long the pair before a renewal is kept once the new one
	// has carried a bootstrap: what was encrypted for the old key before that is
	// answered in seconds.
	keepPrevious = 5 * time.Minute

	// settleTime is how long a connector may take to find its new pair and to
	// bootstrap with it: nodes look at Secrets every minute or two, connectors
	// bootstrap every ten. The service is not asked with the new certificate before,
	// since it would forget the old one.
	settleTime = 15 * time.Minute

	// unconfirmedAfter is when a connector that has not bootstrapped with its new
	// certificate becomes a person's business.
	unconfirmedAfter = time.Hour

	// recheckOverlap is how soon a connector is asked again whether it has
	// bootstrapped with its new certificate, within settleTime and later.
	recheckOverlap     = 10 * time.Second
	recheckLateOverlap = time.Minute

	// recheckCertificates is how often certificates are looked at, come what may.
	recheckCertificates = 6 * time.Hour
)

// renewer renews one connector's certificate; enrolment.Registrar is the real one.
type renewer interface {
	Renew(ctx context.Context, req enrolment.RenewalRequest) (enrolment.Renewed, error)
}

// overlap is the time after a renewal in which the identity Secret holds the
// previous pair, too.
type overlap struct {
	// since is when the new pair was stored.
	since time.Time
	// until is the end of the previous certificate, when its pair is good for
	// nothing any more.
	until time.Time
	// confirmed is when the new certificate was first seen to have carried a
	// bootstrap; zero if it was not yet.
	confirmed time.Time
}

// over reports whether the previous pair can go.
func (v *overlap) over(now time.Time) bool {
	return !now.Before(v.until) || (v.isConfirmed() && !now.Before(v.confirmed.Add(keepPrevious)))
}

func (v *overlap) isConfirmed() bool { return !v.confirmed.IsZero() }

// next is when to look again.
func (v *overlap) next(now time.Time) time.Time {
	at := v.confirmed.Add(keepPrevious)
	if !v.isConfirmed() {
		at = now.Add(jittered(recheckOverlap))
		if now.After(v.since.Add(settleTime)) {
			at = now.Add(jittered(recheckLateOverlap))
		}
	}
	if v.until.Before(at) {
		return v.until
	}
	return at
}

// observeCertificates finds what belongs to the certificates beside the
// identities: overlaps and whether they are confirmed, and what is remembered.
func (r *Reconciler) observeCertificates(o *observation) {
	o.renewBefore = r.memory.renewBefore(o.connector.UID)
	if seconds := o.connector.Spec.Certificate.RenewBeforeSeconds; seconds != nil {
		o.renewBefore = time.Duration(*seconds) * time.Second
	}
	for i := range o.instances {
		in := &o.instances[i]
		in.renewal = r.memory.renewalAttempt(o.connector.UID, in.index)
		if in.overlap != nil && in.report != nil && in.report.BootstrapThumbprint == in.identity.Thumbprint {
			in.overlap.confirmed = r.memory.confirm(o.connector.UID, in.index, in.identity.Thumbprint, o.now)
		}
	}
}

// readOverlap reads when the pair before the current one, if the Secret holds
// one, was replaced and when its certificate ends. What cannot be read counts as
// ended.
func readOverlap(secret *corev1.Secret) *overlap {
	if len(secret.Data[v1alpha1.KeyPreviousCertificate]) == 0 && len(secret.Data[v1alpha1.KeyPreviousKey]) == 0 {
		return nil
	}
	v := &overlap{until: enrolment.NotAfter(secret.Data[v1alpha1.KeyPreviousCertificate])}
	if since, err := time.Parse(time.RFC3339, secret.Annotations[v1alpha1.AnnotationRenewed]); err == nil {
		v.since = since
	}
	return v
}

// awaitsConfirmation reports whether the connector has to be asked for the
// certificate of its last bootstrap.
func (i *instance) awaitsConfirmation() bool { return i.overlap != nil && i.identity != nil }

// schedule is when what becomes due for a connector's certificate.
func (o *observation) schedule(identity trust.Identity) enrolment.Schedule {
	before := o.renewBefore
	if before <= 0 {
		before = enrolment.DefaultRenewBefore
	}
	return enrolment.ScheduleOf(identity, before)
}

// planRenewals chooses the certificates to renew now and the previous pairs that
// can go. One certificate is renewed at a time, and the next only when a bootstrap
// has shown that the new one works: a service that issues bad ones breaks one
// connector, not all. What is about to end does not wait.
func planRenewals(p *plan, o observation, _ string) {
	var due, urgent []int
	unconfirmed := false
	for i := range o.instances {
		in := &o.instances[i]
		if in.identity == nil {
			continue
		}
		if in.overlap != nil {
			if in.overlap.over(o.now) {
				p.endOverlap = append(p.endOverlap, i)
			} else {
				p.wake(in.overlap.next(o.now))
			}
			if !in.overlap.over(o.now) && !in.overlap.isConfirmed() {
				unconfirmed = true
				if o.now.Before(in.overlap.since.Add(settleTime)) {
					continue // its new certificate must not be used before it does
				}
			}
		}
		schedule := o.schedule(*in.identity)
		p.wake(schedule.Next(o.now))
		phase := schedule.Phase(o.now)
		switch {
		case phase == enrolment.Fresh:
		case p.configurationProblem != nil:
			p.renewalProblem = p.configurationProblem
		case !in.renewal.due("", o.now):
			p.wake(in.renewal.next)
			unconfirmed = unconfirmed || phase == enrolment.Due // a failure holds the others up, too
		case phase == enrolment.Due:
			due = append(due, i)
		default:
			urgent = append(urgent, i)
		}
	}
	if !unconfirmed && len(due) > 0 {
		first := slices.MinFunc(due, func(a, b int) int {
			return cmp.Or(o.instances[a].identity.NotAfter.Compare(o.instances[b].identity.NotAfter), cmp.Compare(a, b))
		})
		urgent = append(urgent, first)
	}
	p.renew = urgent[:min(len(urgent), registrationsPerPass)]
}

// wake makes sure that there is a pass at that time.
func (p *plan) wake(at time.Time) {
	if !at.IsZero() && (p.wakeAt.IsZero() || at.Before(p.wakeAt)) {
		p.wakeAt = at
	}
}

// renew carries out what planRenewals planned. Like a registration, a renewal
// that was begun is not given up when the pass is.
func (r *Reconciler) renew(ctx context.Context, o observation, p plan, done *outcome) {
	done.renewed, done.renewalProblems = map[int]trust.Identity{}, map[int]error{}
	for _, index := range p.endOverlap {
		if err := r.endOverlap(ctx, o.connector, o.instances[index].secret); err != nil {
			done.errs = append(done.errs, err)
		}
	}
	if ctx.Err() != nil || len(p.renew) == 0 {
		return
	}
	detached := context.WithoutCancel(ctx)
	var (
		wg sync.WaitGroup
		mu sync.Mutex // protects done
	)
	for _, index := range p.renew {
		wg.Go(func() {
			renewed, err := r.renewOne(detached, o, &o.instances[index])
			mu.Lock()
			defer mu.Unlock()
			r.noteRenewal(ctx, o, &o.instances[index], renewed, err, done)
		})
	}
	wg.Wait()
}

// noteRenewal remembers and tells how a renewal went.
func (r *Reconciler) noteRenewal(ctx context.Context, o observation, in *instance, renewed *trust.Identity, err error, done *outcome) {
	switch waiting := (*waitingError)(nil); {
	case errors.As(err, &waiting):
		done.soon(o.now.Add(waiting.after))
	case err != nil:
		countRenewal(o.connector, false)
		at := r.memory.failRenewal(o.connector.UID, in.index, o.now, err, r.firstRetry)
		done.renewalProblems[in.index] = err
		done.soon(at)
		_, message := describe(err, v1alpha1.ReasonRenewalFailed)
		log.FromContext(ctx).Info("Could not renew a certificate", "connector", in.name, "message", message, "retryAt", at)
	case renewed == nil:
		// Not due after all, or renewed by another pass.
		r.memory.succeedRenewal(o.connector.UID, in.index)
		done.soon(o.now.Add(jittered(recheckUnready)))
	default:
		countRenewal(o.connector, true)
		r.memory.succeedRenewal(o.connector.UID, in.index)
		done.renewed[in.index] = *renewed
		done.soon(o.now.Add(jittered(recheckOverlap)))
		log.FromContext(ctx).Info("Renewed a certificate", "connector", in.name, "connectorID", renewed.ConnectorID, "thumbprint", renewed.Thumbprint, "notAfter", renewed.NotAfter)
		r.recorder.Eventf(o.connector, nil, corev1.EventTypeNormal, "CertificateRenewed", "Renew", "%s",
			noteText(fmt.Sprintf("the certificate of %s was renewed; it ends at %s", in.name, renewed.NotAfter.UTC().Format(time.RFC3339))))
	}
}

// soon makes sure that there is a pass at that time.
func (d *outcome) soon(at time.Time) {
	if d.wakeAt.IsZero() || at.Before(d.wakeAt) {
		d.wakeAt = at
	}
}

// renewOne renews the certificate of one connector. It returns nil if that is not
// needed after all: the Secret holds another certificate by now, or the service
// wants to be asked later.
func (r *Reconciler) renewOne(ctx context.Context, o observation, in *instance) (*trust.Identity, error) {
	pc := o.connector
	secret, err := r.claim(ctx, pc, in)
	if err != nil || secret == nil {
		return nil, err
	}
	if kept, ok := r.memory.keptRenewal(pc.UID, in.index, in.identity.Thumbprint); ok {
		return r.storeRenewal(ctx, pc, in, secret, kept)
	}
	request, err := r.renewalRequest(o, in, secret)
	if err != nil {
		return nil, err
	}
	renewed, err := r.renewals.Renew(ctx, request)
	if err != nil {
		r.release(ctx, secret)
		return nil, err
	}
	r.memory.learnRenewBefore(pc.UID, renewed.RenewBefore)
	if renewed.Issued == nil {
		r.release(ctx, secret)
		return nil, nil
	}
	r.memory.keepRenewal(pc.UID, in.index, in.identity.Thumbprint, *renewed.Issued)
	return r.storeRenewal(ctx, pc, in, secret, *renewed.Issued)
}

func (r *Reconciler) renewalRequest(o observation, in *instance, secret *corev1.Secret) (enrolment.RenewalRequest, error) {
	endpoints, err := desired.Endpoints(o.connector)
	if err != nil {
		return enrolment.RenewalRequest{}, &blockedError{reason: v1alpha1.ReasonConfigurationInvalid, message: err.Error()}
	}
	pinned := config.Service{ServiceSuffixes: endpoints.ServiceSuffixes}
	return enrolment.RenewalRequest{
		BootstrapURL: endpoints.BootstrapURL,
		AllowURL:     pinned.AllowServiceURL,
		Due: func(renewBefore time.Duration) bool {
			if o.connector.Spec.Certificate.RenewBeforeSeconds != nil {
				return true // the specification says when
			}
			return enrolment.ScheduleOf(*in.identity, renewBefore).Phase(o.now) != enrolment.Fresh
		},
		TenantID:       o.connector.Spec.TenantID,
		MachineName:    desired.MachineName(o.connector, in.index),
		CertificatePEM: secret.Data[corev1.TLSCertKey],
		KeyPEM:         secret.Data[corev1.TLSPrivateKeyKey],
		Roots:          roots(o.bundles),
		ProxyURL:       o.connector.Spec.Service.ProxyURL,
	}, nil
}
