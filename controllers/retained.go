// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

// retainUnused is how long an identity is kept that no connector uses, if the
// specification says nothing: as long as the service keeps a connector that stays
// away (protocol section 1.4).
const retainUnused = 10 * 24 * time.Hour

// retained is the identity of a connector that the specification does not ask for
// any more.
type retained struct {
	index  int
	secret *corev1.Secret
	// since is when it became unused; zero if that was not noted yet.
	since time.Time
}

// observeRetained finds the identities of connectors that the specification does
// not ask for. A Secret is one if the labels, the name and the owner say so.
func (r *Reconciler) observeRetained(ctx context.Context, o *observation) error {
	var secrets corev1.SecretList
	if err := r.client.List(ctx, &secrets, ours(o.connector)...); err != nil {
		return fmt.Errorf("listing Secrets: %w", err)
	}
	for i := range secrets.Items {
		secret := &secrets.Items[i]
		index, err := strconv.Atoi(secret.Labels[v1alpha1.LabelIndex])
		if err != nil || index < len(o.instances) || secret.DeletionTimestamp != nil ||
			secret.Name != desired.IdentityName(o.connector, index) || !metav1.IsControlledBy(secret, o.connector) {
			continue
		}
		o.retained = append(o.retained, retained{index: index, secret: secret, since: unusedSince(secret)})
	}
	slices.SortFunc(o.retained, func(a, b retained) int { return a.index - b.index })
	return nil
}

// unusedSince is when the identity in a Secret became unused; zero if it is in use
// or that was not noted.
func unusedSince(secret *corev1.Secret) time.Time {
	since, err := time.Parse(time.RFC3339, secret.Annotations[v1alpha1.AnnotationUnusedSince])
	if err != nil {
		return time.Time{}
	}
	return since
}

// retention is how long an unused identity is kept.
func (o *observation) retention() time.Duration {
	seconds := o.connector.Spec.Registration.RetainUnusedSeconds
	return time.Duration(orDefault(seconds, int(retainUnused/time.Second))) * time.Second
}

// planRetained plans what becomes of identities when connectors go and come: one
// that is not used any more is marked with the time, one that was kept long enough
// is dropped once its Deployment is gone, whose pods could not start without it, and
// one that is used again loses its mark.
func planRetained(p *plan, o observation, _ string) {
	for i := range o.instances {
		in := &o.instances[i]
		if in.secret == nil || in.secret.DeletionTimestamp != nil || !metav1.IsControlledBy(in.secret, o.connector) {
			continue
		}
		if _, marked := in.secret.Annotations[v1alpha1.AnnotationUnusedSince]; marked {
			p.reuse = append(p.reuse, in.secret)
		}
	}
	for _, kept := range o.retained {
		if kept.since.After(o.now) {
			kept.since = time.Time{} // no time that the operator has noted: noted again
		}
		until := kept.since.Add(o.retention())
		switch {
		case kept.since.IsZero() && o.retention() > 0:
			p.retain = append(p.retain, kept.secret)
			p.wake(o.now.Add(o.retention()))
		case kept.since.IsZero(), !o.now.Before(until):
			if !o.hasDeployment(kept.index) { // its end starts the next pass
				p.drop = append(p.drop, kept)
			}
		default:
			p.wake(until)
		}
	}
}

// hasDeployment reports whether there is a Deployment of a connector that the
// specification does not ask for any more.
func (o *observation) hasDeployment(index int) bool {
	return slices.ContainsFunc(o.surplus, func(object client.Object) bool {
		_, is := object.(*appsv1.Deployment)
		return is && object.GetLabels()[v1alpha1.LabelIndex] == strconv.Itoa(index)
	})
}

// keepIdentities carries the plan for unused identities out.
func (r *Reconciler) keepIdentities(ctx context.Context, o observation, p plan, done *outcome) {
	note := func(err error) {
		if err != nil {
			done.errs = append(done.errs, err)
		}
	}
	for _, secret := range p.reuse {
		note(r.markIdentity(ctx, secret, ""))
	}
	for _, secret := range p.retain {
		note(r.markIdentity(ctx, secret, o.now.UTC().Format(time.RFC3339)))
	}
	for _, kept := range p.drop {
		note(r.dropIdentity(ctx, o, kept))
	}
}

// markIdentity notes on an identity Secret since when it is unused, or, with an
// empty time, that it is used again.
func (r *Reconciler) markIdentity(ctx context.Context, secret *corev1.Secret, since string) error {
	secret = secret.DeepCopy()
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[v1alpha1.AnnotationUnusedSince] = since
	told := "Keeps the identity of a connector that is not wanted any more"
	if since == "" {
		delete(secret.Annotations, v1alpha1.AnnotationUnusedSince)
		told = "Uses a kept identity again"
	}
	err := r.client.Update(ctx, secret, client.FieldOwner(v1alpha1.OperatorName))
	switch {
	case apierrors.IsNotFound(err):
		return nil // the next pass sees that
	case apierrors.IsConflict(err):
		return changedMeanwhile(v1alpha1.ReasonWriteFailed, secret)
	case err != nil:
		return fmt.Errorf("noting on Secret %s whether it is used: %w", secret.Name, err)
	}
	log.FromContext(ctx).Info(told, "secret", secret.Name, "connectorID", secret.Annotations[v1alpha1.AnnotationConnectorID])
	return nil
}

// dropIdentity deletes an identity that was kept long enough. It cannot be got
// back, so the specification is read once more: the pass may work on one from
// before connectors were added.
func (r *Reconciler) dropIdentity(ctx context.Context, o observation, kept retained) error {
	fresh := &v1alpha1.PassthroughConnector{}
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(o.connector), fresh); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("reading the PassthroughConnector before an identity is dropped: %w", err)
	}
	if fresh.UID != o.connector.UID || fresh.Generation != o.connector.Generation {
		return nil // its change starts the next pass
	}
	secret := kept.secret
	err := r.client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return changedMeanwhile(v1alpha1.ReasonWriteFailed, secret)
	case err != nil:
		return fmt.Errorf("dropping the unused identity in Secret %s: %w", secret.Name, err)
	}
	connectorID := secret.Annotations[v1alpha1.AnnotationConnectorID]
	log.FromContext(ctx).Info("Dropped an unused identity", "secret", secret.Name, "connectorID", connectorID)
	r.recorder.Eventf(o.connector, nil, corev1.EventTypeNormal, v1alpha1.ReasonIdentityDropped, "Register", "%s",
		noteText(fmt.Sprintf("the identity of connector %s in Secret %s was not used for %s and was deleted; the tenant removes that connector ten days after its last bootstrap, and counts it until then", connectorID, secret.Name, o.retention())))
	return nil
}
