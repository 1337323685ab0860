// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

const (
	// rehearsalDeadline bounds trying out whether an identity could be stored.
	rehearsalDeadline = 10 * time.Second

	// storeDeadline bounds all tries to store one identity in one pass.
	storeDeadline = 20 * time.Second
)

// outcome is what became of a plan.
type outcome struct {
	// issued are identities that are in their Secrets since this pass.
	issued map[int]trust.Identity
	// renewed are certificates that are in their Secrets since this pass.
	renewed map[int]trust.Identity
	// renewalProblems say why certificates could not be renewed.
	renewalProblems map[int]error
	// wakeAt is when to look at certificates again; zero if at no time.
	wakeAt time.Time
	// registrationProblem says why a registration failed.
	registrationProblem error
	// egressProblem says why the NetworkPolicy could not be written.
	egressProblem error
	// retryAt is when the next registration may be tried; zero if at no time.
	retryAt time.Time
	// pollAt is when to ask next whether an administrator has signed in; zero if at no
	// time.
	pollAt time.Time
	// errs are why objects could not be written.
	errs []error
}

// failure is what the work queue should try again for; nil if nothing.
func (o outcome) failure() error {
	var all []error
	for _, err := range o.errs {
		if retriable(err) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// apply carries a plan out. One failure does not keep the rest from being done.
// Children come before registrations, which may take long.
func (r *Reconciler) apply(ctx context.Context, o observation, p plan) outcome {
	done := outcome{issued: map[int]trust.Identity{}, errs: p.ownerProblems}
	for _, c := range p.apply {
		if done.egressProblem != nil && (isEgress(c.kind) || c.kind == deploymentKind && p.egress.missing) {
			continue // no pod starts without the policy that is asked for, and none is narrowed without the one beside it
		}
		if err := r.applyChild(ctx, o.connector, c); err != nil {
			done.errs = append(done.errs, err)
			if isEgress(c.kind) {
				done.egressProblem = err
			}
		}
	}
	for _, object := range p.remove {
		_, policy := object.(*networkingv1.NetworkPolicy)
		egress := policy || isEgress(object.GetObjectKind().GroupVersionKind())
		if egress && done.egressProblem != nil {
			continue
		}
		if err := r.removeChild(ctx, object); err != nil {
			done.errs = append(done.errs, err)
			if egress {
				done.egressProblem = err
			}
		}
	}
	r.keepIdentities(ctx, o, p, &done)
	r.enrol(ctx, o, p, &done)
	r.renew(ctx, o, p, &done)
	return done
}

// applyChild applies one object. Applying takes an object over, whoever made it,
// so one that the cache does not know is looked for first: the cache knows only
// what carries our label.
func (r *Reconciler) applyChild(ctx context.Context, pc *v1alpha1.PassthroughConnector, c child) error {
	if !c.known {
		existing := &metav1.PartialObjectMetadata{}
		existing.SetGroupVersionKind(c.kind)
		err := r.live.Get(ctx, client.ObjectKey{Namespace: pc.Namespace, Name: c.name}, existing)
		if err == nil {
			err = checkOwner(pc, existing, c.kind.Kind, v1alpha1.ReasonNameTaken)
		}
		if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	if err := r.client.Apply(ctx, c.want, client.FieldOwner(v1alpha1.OperatorName), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying %s %s: %w", c.kind.Kind, c.name, err)
	}
	log.FromContext(ctx).Info("Applied an object", "kind", c.kind.Kind, "object", c.name)
	return nil
}

// removeChild deletes an object, and only the one that was seen.
func (r *Reconciler) removeChild(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	err := r.client.Delete(ctx, object,
		client.PropagationPolicy(metav1.DeletePropagationBackground),
		client.Preconditions{UID: &uid})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the cache was behind
	}
	if err != nil {
		return fmt.Errorf("deleting %T %s: %w", object, object.GetName(), err)
	}
	log.FromContext(ctx).Info("Deleted an object of a connector that is not wanted any more", "name", object.GetName())
	return nil
}

// rehearseIdentity tries out whether an identity Secret could be created, without
// creating it. A registration cannot be given back, so what would keep its result
// from being stored is better found before: a quota, an admission policy, a
// namespace that is being deleted.
func (r *Reconciler) rehearseIdentity(ctx context.Context, pc *v1alpha1.PassthroughConnector, index int) error {
	ctx, cancel := context.WithTimeout(ctx, rehearsalDeadline)
	defer cancel()
	secret := desired.IdentitySecret(pc, index, "", nil, nil)
	secret.Type = corev1.SecretTypeOpaque // the API server warns of an empty pair
	err := r.client.Create(ctx, secret, client.DryRunAll)
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsBadRequest(err):
		// An admission webhook that cannot be rehearsed with.
		return nil
	default:
		return &enrolment.Error{
			Reason:  v1alpha1.ReasonIdentityNotStored,
			Message: fmt.Sprintf("Secret %s could not be created, so the connector is not registered: %v", secret.Name, err),
			Retry:   true,
		}
	}
}

// storeIdentity creates the identity Secret of a connector that was just
// registered, and keeps trying for storeDeadline. A Secret that is there already
// is overwritten only if its certificate has ended; otherwise the identity in it
// is used instead. The context must not end with the pass.
func (r *Reconciler) storeIdentity(ctx context.Context, pc *v1alpha1.PassthroughConnector, index int, issued *enrolment.Issued) (trust.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, storeDeadline)
	defer cancel()
	name := desired.IdentityName(pc, index)
	var last error
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 6}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		last = r.client.Create(ctx, desired.IdentitySecret(pc, index, issued.Identity.ConnectorID, issued.CertificatePEM, issued.KeyPEM))
		if last == nil || apierrors.IsAlreadyExists(last) {
			return true, nil
		}
		if apierrors.HasStatusCause(last, corev1.NamespaceTerminatingCause) {
			return false, last
		}
		return false, nil
	})
	switch {
	case err == nil && last == nil:
		log.FromContext(ctx).Info("Registered a connector", "connectorID", issued.Identity.ConnectorID, "secret", name, "notAfter", issued.Identity.NotAfter)
		return issued.Identity, nil
	case err == nil:
		return r.existingIdentity(ctx, pc, index, issued)
	default:
		return trust.Identity{}, fmt.Errorf("creating Secret %s: %w", name, last)
	}
}

// existingIdentity reads an identity Secret that was there when it should have
// been created. One whose certificate has ended is given the new identity.
func (r *Reconciler) existingIdentity(ctx context.Context, pc *v1alpha1.PassthroughConnector, index int, issued *enrolment.Issued) (trust.Identity, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: pc.Namespace, Name: desired.IdentityName(pc, index)}
	if err := r.live.Get(ctx, key, secret); err != nil {
		return trust.Identity{}, fmt.Errorf("reading Secret %s, which exists already: %w", key.Name, err)
	}
	if old := expiredIdentity(pc, secret, r.now()); old != nil {
		return r.replaceIdentity(ctx, pc, secret, *old, issued)
	}
	identity, err := readIdentity(pc, secret, r.now())
	if err != nil {
		return trust.Identity{}, err
	}
	return *identity, nil
}
