// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// claimTime is how long a claim on an identity Secret lasts: two calls to the
// service and storing what they gave.
const claimTime = 2 * time.Minute

// claim marks an identity Secret as being renewed by this process, so that no
// other one renews the same identity, whatever became of the lease. It shows,
// too, that the Secret can be written. It returns nil if the Secret holds another
// certificate than the pass saw. A claim ends with the renewal, or by itself.
func (r *Reconciler) claim(ctx context.Context, pc *v1alpha1.PassthroughConnector, in *instance) (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, rehearsalDeadline)
	defer cancel()
	secret := &corev1.Secret{}
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(in.secret), secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil // the next pass sees that
		}
		return nil, fmt.Errorf("reading Secret %s: %w", in.secret.Name, err)
	}
	if !r.holds(pc, secret, in.identity) {
		return nil, nil
	}
	if until, other := claimedBy(secret, r.holder); other && r.now().Before(until) {
		return nil, &waitingError{
			reason:  v1alpha1.ReasonRenewalFailed,
			message: fmt.Sprintf("another process of the operator is renewing the certificate in Secret %s", secret.Name),
			after:   until.Sub(r.now()) + time.Second,
		}
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[v1alpha1.AnnotationRenewing] = r.holder + " " + r.now().Add(claimTime).UTC().Format(time.RFC3339)
	err := r.client.Update(ctx, secret, client.FieldOwner(v1alpha1.OperatorName))
	switch {
	case apierrors.IsConflict(err):
		return nil, changedMeanwhile(v1alpha1.ReasonRenewalFailed, secret)
	case err != nil:
		return nil, fmt.Errorf("writing Secret %s, without which its certificate is not renewed: %w", secret.Name, err)
	}
	return secret, nil
}

// holds reports whether the Secret is ours and holds the certificate.
func (r *Reconciler) holds(pc *v1alpha1.PassthroughConnector, secret *corev1.Secret, identity *trust.Identity) bool {
	if checkOwner(pc, secret, "Secret", v1alpha1.ReasonIdentityInvalid) != nil || secret.DeletionTimestamp != nil {
		return false
	}
	held, err := enrolment.ParsePair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], pc.Spec.TenantID, r.now())
	return (err == nil || errors.Is(err, enrolment.ErrExpired)) && held.Thumbprint == identity.Thumbprint
}

// claimedBy reads a claim: until when it lasts, and whether it is another's.
func claimedBy(secret *corev1.Secret, holder string) (until time.Time, other bool) {
	who, when, found := strings.Cut(secret.Annotations[v1alpha1.AnnotationRenewing], " ")
	until, err := time.Parse(time.RFC3339, when)
	return until, found && err == nil && who != holder
}

// changedMeanwhile says that the pass did not know the Secret as it is.
func changedMeanwhile(reason string, secret *corev1.Secret) error {
	return &waitingError{reason: reason, message: fmt.Sprintf("Secret %s changed during the pass", secret.Name), after: jittered(recheckConflict)}
}

// release takes a claim back. If that fails, it ends by itself.
func (r *Reconciler) release(ctx context.Context, secret *corev1.Secret) {
	ctx, cancel := context.WithTimeout(ctx, rehearsalDeadline)
	defer cancel()
	delete(secret.Annotations, v1alpha1.AnnotationRenewing)
	if err := r.client.Update(ctx, secret, client.FieldOwner(v1alpha1.OperatorName)); err != nil {
		log.FromContext(ctx).V(1).Info("A claim on an identity Secret ends by itself", "secret", secret.Name, "why", err.Error())
	}
}

// storeRenewal puts the new pair into the identity Secret and keeps the one it
// replaces beside it, in one write. If it fails, the old pair is still there and
// still good, and the new one is kept in memory for the next pass.
func (r *Reconciler) storeRenewal(ctx context.Context, pc *v1alpha1.PassthroughConnector, in *instance, secret *corev1.Secret, issued enrolment.Issued) (*trust.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, storeDeadline)
	defer cancel()
	var last error
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 5}
	superseded := false
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		next := secret.DeepCopy()
		next.Data[v1alpha1.KeyPreviousCertificate] = secret.Data[corev1.TLSCertKey]
		next.Data[v1alpha1.KeyPreviousKey] = secret.Data[corev1.TLSPrivateKeyKey]
		next.Data[corev1.TLSCertKey], next.Data[corev1.TLSPrivateKeyKey] = issued.CertificatePEM, issued.KeyPEM
		next.Annotations[v1alpha1.AnnotationRenewed] = r.now().UTC().Format(time.RFC3339)
		delete(next.Annotations, v1alpha1.AnnotationRenewing)
		last = r.client.Update(ctx, next, client.FieldOwner(v1alpha1.OperatorName))
		if last == nil {
			return true, nil
		}
		if !apierrors.IsConflict(last) && !apierrors.IsNotFound(last) {
			return false, nil
		}
		// Somebody wrote the Secret: it must still hold what is being replaced.
		fresh := &corev1.Secret{}
		if err := r.live.Get(ctx, client.ObjectKeyFromObject(secret), fresh); client.IgnoreNotFound(err) != nil {
			last = err
			return false, nil //nolint:nilerr // tried again; the last error is reported
		}
		if superseded = !r.holds(pc, fresh, in.identity); superseded {
			return true, nil
		}
		if fresh.Annotations == nil {
			fresh.Annotations = map[string]string{}
		}
		secret = fresh
		return false, nil
	})
	if superseded {
		r.memory.storedRenewal(pc.UID, in.index)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the renewed certificate could not be stored in Secret %s; the operator keeps it in memory and tries again, and the old one is still good: %w", secret.Name, firstOf(last, err))
	}
	r.memory.storedRenewal(pc.UID, in.index)
	return &issued.Identity, nil
}

// replaceIdentity puts a new registration's identity into the Secret of one whose
// certificate has ended.
func (r *Reconciler) replaceIdentity(ctx context.Context, pc *v1alpha1.PassthroughConnector, secret *corev1.Secret, old trust.Identity, issued *enrolment.Issued) (trust.Identity, error) {
	secret.Data = map[string][]byte{corev1.TLSCertKey: issued.CertificatePEM, corev1.TLSPrivateKeyKey: issued.KeyPEM}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[v1alpha1.AnnotationConnectorID] = issued.Identity.ConnectorID
	delete(secret.Annotations, v1alpha1.AnnotationRenewed)
	delete(secret.Annotations, v1alpha1.AnnotationRenewing)
	if err := r.client.Update(ctx, secret, client.FieldOwner(v1alpha1.OperatorName)); err != nil {
		return trust.Identity{}, fmt.Errorf("writing Secret %s: %w", secret.Name, err)
	}
	log.FromContext(ctx).Info("Registered a connector anew", "connectorID", issued.Identity.ConnectorID, "before", old.ConnectorID, "secret", secret.Name, "notAfter", issued.Identity.NotAfter)
	r.recorder.Eventf(pc, nil, corev1.EventTypeWarning, v1alpha1.ReasonCertificateExpired, "Register", "%s",
		noteText(fmt.Sprintf("the certificate of connector %s had ended: it was registered anew as connector %s; the tenant goes on counting the old one until it removes it after ten days without a bootstrap", old.ConnectorID, issued.Identity.ConnectorID)))
	return issued.Identity, nil
}

// endOverlap removes the pair before the current one from an identity Secret.
func (r *Reconciler) endOverlap(ctx context.Context, pc *v1alpha1.PassthroughConnector, secret *corev1.Secret) error {
	secret = secret.DeepCopy()
	delete(secret.Data, v1alpha1.KeyPreviousCertificate)
	delete(secret.Data, v1alpha1.KeyPreviousKey)
	delete(secret.Annotations, v1alpha1.AnnotationRenewed)
	err := r.client.Update(ctx, secret, client.FieldOwner(v1alpha1.OperatorName))
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return changedMeanwhile(v1alpha1.ReasonRenewalFailed, secret)
	case err != nil:
		return fmt.Errorf("removing the previous pair from Secret %s: %w", secret.Name, err)
	}
	log.FromContext(ctx).Info("Removed the pair before the last renewal", "secret", secret.Name, "connector", pc.Name)
	return nil
}
