// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// enrol stores identities that wait for it and registers the connectors that the
// plan names, side by side, once there is a token. It notes a failure once for the
// whole resource, since they all fail for the same reasons.
//
// What follows a call that may have registered a connector is not given up when
// the pass is: the operator stops only after it was stored.
func (r *Reconciler) enrol(ctx context.Context, o observation, p plan, done *outcome) {
	if ctx.Err() != nil || len(p.store)+len(p.register) == 0 {
		return
	}
	detached := context.WithoutCancel(ctx)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex // protects done and problem
		problem error
	)
	if p.obtain != stepNone {
		o.token, problem = r.obtain(ctx, &o, p.obtain, done)
		if problem == nil {
			problem = ctx.Err() // nothing is begun that cannot be ended in time
		}
		if problem != nil {
			p.register = nil
		}
	}
	run := func(index int, one func() (trust.Identity, error)) {
		wg.Go(func() {
			identity, err := one()
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				done.issued[index] = identity
			} else if problem == nil {
				problem = err
			}
		})
	}
	for _, index := range p.store {
		run(index, func() (trust.Identity, error) {
			return r.finish(detached, o.connector, index, o.instances[index].unsaved)
		})
	}
	for _, index := range p.register {
		run(index, func() (trust.Identity, error) { return r.enrolOne(detached, o, index) })
	}
	wg.Wait()
	r.note(ctx, o, problem, done)
}

// note remembers how the registrations of a pass went.
func (r *Reconciler) note(ctx context.Context, o observation, problem error, done *outcome) {
	if len(done.issued) > 0 || problem == nil {
		r.memory.succeed(o.connector.UID)
	}
	if problem == nil {
		return
	}
	done.registrationProblem = problem
	if _, blocked := errors.AsType[*blockedError](problem); blocked {
		return
	}
	done.retryAt = r.memory.fail(o.connector.UID, o.inputs, o.now, problem, r.firstRetry)
	reason, message := describe(problem, v1alpha1.ReasonRegistering)
	log.FromContext(ctx).Info("Could not register a connector", "reason", reason, "message", message, "retryAt", done.retryAt)
}

// enrolOne registers one connector.
func (r *Reconciler) enrolOne(ctx context.Context, o observation, index int) (trust.Identity, error) {
	pc := o.connector
	endpoints, err := desired.Endpoints(pc)
	if err != nil {
		return trust.Identity{}, &blockedError{reason: v1alpha1.ReasonConfigurationInvalid, message: err.Error()}
	}
	request := enrolment.Request{
		URL:         endpoints.RegistrationURL,
		TenantID:    pc.Spec.TenantID,
		Token:       o.token,
		MachineName: desired.MachineName(pc, index),
		ProxyURL:    pc.Spec.Service.ProxyURL,
	}
	request.Roots = roots(o.bundles)
	if err := r.rehearseIdentity(ctx, pc, index); err != nil {
		return trust.Identity{}, err
	}
	issued, err := r.register.Register(ctx, request)
	countRegistration(pc, err == nil)
	if lost, ok := errors.AsType[*enrolment.Error](err); ok && lost.Uncertain {
		r.tellUncertain(ctx, pc, request.MachineName, lost)
	}
	if err != nil {
		if reason, _ := describe(err, ""); reason == v1alpha1.ReasonRegistrationRefused && pc.Spec.Registration.DeviceCode != nil {
			err = orSignInAnew(pc, err)
		}
		return trust.Identity{}, err
	}
	r.memory.keep(pc.UID, index, issued)
	return r.finish(ctx, pc, index, &issued)
}

// roots are the authorities to verify the service against; nil for those of the
// system.
func roots(bundles desired.Bundles) *x509.CertPool {
	if bundles.Service == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(bundles.Service))
	return pool
}

// finish stores an issued identity. One that cannot be stored is not lost
// silently: it is kept in memory for the next pass, and an event and the log say
// which connector the tenant now counts.
func (r *Reconciler) finish(ctx context.Context, pc *v1alpha1.PassthroughConnector, index int, issued *enrolment.Issued) (trust.Identity, error) {
	identity, err := r.storeIdentity(ctx, pc, index, issued)
	connectorID, secret := issued.Identity.ConnectorID, desired.IdentityName(pc, index)
	var blocked *blockedError
	switch {
	case err == nil && identity.ConnectorID == connectorID:
		r.memory.stored(pc.UID, index)
		return identity, nil
	case err == nil, errors.As(err, &blocked):
		// Another identity is in the Secret: this one will never be used.
		r.memory.stored(pc.UID, index)
		r.tellLeaked(ctx, pc, connectorID, fmt.Sprintf("connector %s was registered, but Secret %s exists already and is left alone: remove that connector from the tenant", connectorID, secret))
		return identity, err
	default:
		r.tellLeaked(ctx, pc, connectorID, fmt.Sprintf("connector %s was registered, but its identity could not be stored in Secret %s: %v; the operator keeps it in memory and tries again; if the operator ends before, remove that connector from the tenant", connectorID, secret, err))
		return trust.Identity{}, &enrolment.Error{
			Reason:  v1alpha1.ReasonIdentityNotStored,
			Message: fmt.Sprintf("the identity of connector %s could not be stored: %v", connectorID, err),
			Retry:   true,
		}
	}
}

func (r *Reconciler) tellLeaked(ctx context.Context, pc *v1alpha1.PassthroughConnector, connectorID, message string) {
	log.FromContext(ctx).Error(nil, "An identity could not be stored", "connectorID", connectorID, "message", message)
	r.recorder.Eventf(pc, nil, corev1.EventTypeWarning, v1alpha1.ReasonIdentityNotStored, "Register", "%s", noteText(message))
}

// tellUncertain tells that the service may have registered a connector whose
// identity nobody has. Each such call is told: each may have left one.
func (r *Reconciler) tellUncertain(ctx context.Context, pc *v1alpha1.PassthroughConnector, machine string, err *enrolment.Error) {
	message := fmt.Sprintf("the registration service may have registered %s although its answer was lost or cannot be used (%s); if the tenant lists a connector of that name that never becomes active, remove it there; the operator tries again", machine, err.Message)
	log.FromContext(ctx).Info("A registration may have been left behind", "machine", machine, "message", message)
	r.recorder.Eventf(pc, nil, corev1.EventTypeWarning, v1alpha1.ReasonRegistrationUncertain, "Register", "%s", noteText(message))
}
