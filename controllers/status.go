// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config/prose"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

const (
	// connectorMessageLimit bounds what is said about one connector.
	connectorMessageLimit = 512

	// conditionMessageLimit bounds a condition's message.
	conditionMessageLimit = 2048
)

// summarize computes the whole status from what a pass saw, planned and did. The
// old conditions are used for one thing only: when they last changed.
func summarize(o observation, p plan, done outcome) v1alpha1.PassthroughConnectorStatus {
	s := v1alpha1.PassthroughConnectorStatus{
		ObservedGeneration: o.connector.Generation,
		Selector:           labels.SelectorFromSet(desired.Selector(o.connector)).String(),
	}
	var pods, readyOnes, updated, availableOnes int32
	for i := range o.instances {
		in := &o.instances[i]
		c := connectorStatus(o, in, done)
		if in.deployment != nil {
			c.Revision = in.deployment.Annotations[v1alpha1.AnnotationRevision]
		}
		s.Connectors = append(s.Connectors, c)
		if in.deployment != nil {
			pods += in.deployment.Status.Replicas
			if available(in.deployment) {
				availableOnes++
			}
		}
		if *c.Ready {
			readyOnes++
		}
		if p.updated[in.index] {
			updated++
		}
		if c.NotAfter != nil && (s.CertificatesUntil == nil || c.NotAfter.Before(s.CertificatesUntil)) {
			s.CertificatesUntil = c.NotAfter
		}
	}
	s.Replicas, s.ReadyReplicas, s.UpdatedReplicas, s.AvailableReplicas = &pods, &readyOnes, &updated, &availableOnes
	s.UpdateRevision = p.rollout.specified.name
	if p.rollout.current != nil {
		s.CurrentRevision = p.rollout.current.name
	}

	registered := registeredCondition(o, p, done)
	rolledOut := rolledOutCondition(o, p, done)
	for _, c := range []metav1.Condition{
		registered,
		certificatesCondition(o, p, done),
		egressCondition(o, p, done),
		readyCondition(o, p, done, s, registered, rolledOut),
		rolledOut,
		versionCondition(o, p),
		credentialCondition(o),
		serviceCondition(o),
	} {
		if old := meta.FindStatusCondition(o.connector.Status.Conditions, c.Type); old != nil {
			s.Conditions = append(s.Conditions, *old)
		}
		c.ObservedGeneration = o.connector.Generation
		c.LastTransitionTime = metav1.NewTime(o.now)
		c.Message = prose.Line(c.Message, conditionMessageLimit)
		meta.SetStatusCondition(&s.Conditions, c)
	}
	return s
}

// identityOf is the identity of a connector after the pass; nil if it has none.
func identityOf(in *instance, done outcome) *trust.Identity {
	if renewed, ok := done.renewed[in.index]; ok {
		return &renewed
	}
	if in.identity != nil {
		return in.identity
	}
	if issued, ok := done.issued[in.index]; ok {
		return &issued
	}
	return nil
}

func connectorStatus(o observation, in *instance, done outcome) v1alpha1.ConnectorStatus {
	c := v1alpha1.ConnectorStatus{Name: in.name, Index: new(int32(in.index)), Ready: new(ready(in))} //nolint:gosec // an index is at most 39
	if identity := certificateOf(in, done); identity != nil {
		c.RenewAfter = new(metav1.NewTime(o.schedule(*identity).RenewAfter))
		c.ConnectorID = identity.ConnectorID
		c.Thumbprint = identity.Thumbprint
		c.NotAfter = new(metav1.NewTime(identity.NotAfter))
	}
	c = withTold(c, in.told)
	if !*c.Ready {
		c.Message = prose.Line(explain(in, done), connectorMessageLimit)
	}
	return c
}

// ready reports whether the connector's pod is ready.
func ready(in *instance) bool {
	return in.deployment != nil && in.deployment.Status.ReadyReplicas > 0
}

// registeredCondition says whether every connector has an identity.
func registeredCondition(o observation, p plan, done outcome) metav1.Condition {
	registered := 0
	var problem error
	for i := range o.instances {
		in := &o.instances[i]
		if identityOf(in, done) != nil {
			registered++
		} else if problem == nil && in.identityProblem != nil {
			problem = in.identityProblem
		}
	}
	c := metav1.Condition{Type: v1alpha1.ConditionRegistered, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRegistering}
	c.Message = fmt.Sprintf("%d of %s registered", registered, connectors(len(o.instances)))
	if kept := len(o.retained) - len(p.drop); kept > 0 {
		c.Message += fmt.Sprintf("; %s kept for reuse", unusedIdentities(kept))
	}
	retryAt := p.retryAt
	for _, candidate := range []error{p.registrationProblem, done.registrationProblem} {
		if candidate != nil {
			problem = candidate
		}
	}
	if !done.retryAt.IsZero() {
		retryAt = done.retryAt
	}
	switch {
	case registered == len(o.instances):
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonRegistered
	case problem != nil:
		reason, message := describe(problem, v1alpha1.ReasonRegistering)
		c.Reason = reason
		c.Message += "; " + message
		if !retryAt.IsZero() {
			c.Message += "; next attempt at " + retryAt.UTC().Format(time.RFC3339)
		}
	}
	return c
}

// connectors is "1 connector is" or "3 connectors are".
func connectors(n int) string {
	if n == 1 {
		return "1 connector is"
	}
	return fmt.Sprintf("%d connectors are", n)
}

// unusedIdentities is "1 unused identity is" or "3 unused identities are".
func unusedIdentities(n int) string {
	if n == 1 {
		return "1 unused identity is"
	}
	return fmt.Sprintf("%d unused identities are", n)
}

// readyCondition sums everything up.
func readyCondition(o observation, p plan, done outcome, s v1alpha1.PassthroughConnectorStatus, registered, rolledOut metav1.Condition) metav1.Condition {
	want, have := len(o.instances), int(*s.ReadyReplicas)
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}
	c.Message = fmt.Sprintf("%d of %s ready", have, connectors(want))
	switch {
	case p.configurationProblem != nil:
		c.Reason, c.Message = reasonAndMore(c.Message, p.configurationProblem, v1alpha1.ReasonConfigurationInvalid)
	case len(done.errs) > 0:
		c.Reason, c.Message = reasonAndMore(c.Message, done.errs[0], v1alpha1.ReasonWriteFailed)
	case have == want && int(*s.UpdatedReplicas) == want && registered.Status == metav1.ConditionTrue:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonAllReady
	case have == want:
		c.Reason = v1alpha1.ReasonUpdating
		c.Message += fmt.Sprintf("; %d of them run the current specification", *s.UpdatedReplicas)
		if halts(rolledOut.Reason) {
			c.Message += "; " + rolledOut.Message
		}
	case have == 0 && registered.Status != metav1.ConditionTrue && registered.Reason != v1alpha1.ReasonRegistering:
		c.Reason = v1alpha1.ReasonNotRegistered
		c.Message += "; " + registered.Message
	default:
		c.Reason = v1alpha1.ReasonNotReady
		if have > 0 {
			c.Reason = v1alpha1.ReasonPartlyReady
		}
		c.Message += firstMessage(s.Connectors)
	}
	return c
}

func reasonAndMore(message string, problem error, fallback string) (string, string) {
	reason, why := describe(problem, fallback)
	return reason, message + "; " + why
}

// firstMessage names one connector that is not ready, and why.
func firstMessage(all []v1alpha1.ConnectorStatus) string {
	for _, c := range all {
		if !*c.Ready {
			return "; " + c.Name + ": " + c.Message
		}
	}
	return ""
}

// writeStatus writes the status if it differs from the one that is there, and
// then tells what changed. If the resource has changed meanwhile, the status
// belongs to the next pass: its change has started that already.
func (r *Reconciler) writeStatus(ctx context.Context, pc *v1alpha1.PassthroughConnector, status v1alpha1.PassthroughConnectorStatus) error {
	measure(pc, status)
	if equality.Semantic.DeepEqual(pc.Status, status) {
		return nil
	}
	updated := pc.DeepCopy()
	updated.Status = status
	err := r.client.Status().Update(ctx, updated, client.FieldOwner(v1alpha1.OperatorName))
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return &waitingError{reason: v1alpha1.ReasonUpdating, message: "the PassthroughConnector changed during the pass", after: jittered(recheckConflict)}
	case err != nil:
		return fmt.Errorf("writing the status: %w", err)
	}
	r.tellChanges(pc, pc.Status.Conditions, status.Conditions)
	return nil
}
