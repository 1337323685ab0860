// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

// credentialSpecKind is the kind of the windows-gmsa project.
var credentialSpecKind = schema.GroupVersionKind{Group: "windows.k8s.io", Version: "v1", Kind: "GMSACredentialSpec"}

// observeCredentials finds out whether the pods can be given the group managed
// service accounts that the specification names. It asks, and grants nothing:
// who gives a pod an account decides who can act as it.
func (r *Reconciler) observeCredentials(ctx context.Context, o *observation) error {
	names := slices.Compact(slices.Sorted(slices.Values(o.credentialSpecs())))
	for _, name := range names {
		if o.credentialProblem = r.credentialProblem(ctx, o.connector, name); o.credentialProblem != nil {
			return nil //nolint:nilerr // the problem is part of what was observed
		}
	}
	o.credentialProblem = notExpanded(o)
	return nil
}

// credentialSpecs are the names of the GMSACredentialSpecs that the connectors
// use.
func (o *observation) credentialSpecs() []string {
	names := o.connector.Spec.Identity.GMSACredentialSpecNames
	if len(names) > 1 {
		names = names[:min(len(names), len(o.instances))]
	}
	return names
}

// credentialProblem is why one GMSACredentialSpec cannot be used; nil if it can.
func (r *Reconciler) credentialProblem(ctx context.Context, pc *v1alpha1.PassthroughConnector, name string) error {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(credentialSpecKind)
	switch err := r.live.Get(ctx, client.ObjectKey{Name: name}, object); {
	case meta.IsNoMatchError(err):
		return &blockedError{v1alpha1.ReasonCredentialSpecKindMissing, "the cluster does not know GMSACredentialSpecs, so pods get no domain identity: install the CRD and the webhook of the windows-gmsa project"}
	case apierrors.IsNotFound(err):
		return &blockedError{v1alpha1.ReasonCredentialSpecNotFound, fmt.Sprintf("GMSACredentialSpec %s, which spec.identity.gmsaCredentialSpecNames names, does not exist: create it or correct the name", name)}
	case err != nil:
		return &waitingError{v1alpha1.ReasonCredentialSpecUnknown, fmt.Sprintf("GMSACredentialSpec %s could not be looked up: %v", name, err), jittered(recheckCredentials)}
	}
	account := desired.ServiceAccountName(pc)
	review := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: pc.Namespace}, Spec: authorizationv1.SubjectAccessReviewSpec{
		User:   "system:serviceaccount:" + pc.Namespace + ":" + account,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + pc.Namespace, "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: pc.Namespace, Verb: "use", Group: credentialSpecKind.Group, Version: credentialSpecKind.Version, Resource: "gmsacredentialspecs", Name: name,
		},
	}}
	if err := r.client.Create(ctx, review); err != nil {
		return &waitingError{v1alpha1.ReasonCredentialSpecUnknown, fmt.Sprintf("whether ServiceAccount %s may use GMSACredentialSpec %s could not be found out: %v", account, name, err), jittered(recheckCredentials)}
	}
	if !review.Status.Allowed {
		return &blockedError{v1alpha1.ReasonCredentialSpecNotAllowed, fmt.Sprintf("ServiceAccount %s may not use GMSACredentialSpec %s: bind it to a ClusterRole with apiGroups windows.k8s.io, resources gmsacredentialspecs, resourceNames %s, verbs use", account, name, name)}
	}
	return nil
}

// notExpanded is why a pod that exists was not given its account; nil if all
// were. A name without contents has no effect and raises no error: the webhook
// did not see the pod.
func notExpanded(o *observation) error {
	for i := range o.instances {
		pod := o.instances[i].pod
		if pod == nil || pod.DeletionTimestamp != nil || pod.Spec.SecurityContext == nil || pod.Spec.SecurityContext.WindowsOptions == nil {
			continue
		}
		options := pod.Spec.SecurityContext.WindowsOptions
		if given(options.GMSACredentialSpecName) && !given(options.GMSACredentialSpec) {
			return &blockedError{v1alpha1.ReasonCredentialSpecNotExpanded, fmt.Sprintf("pod %s names GMSACredentialSpec %s but was not given its contents, so it has no domain identity: install or repair the windows-gmsa webhook, then delete the pod", pod.Name, *options.GMSACredentialSpecName)}
		}
	}
	return nil
}

func given(s *string) bool { return s != nil && *s != "" }

// credentialCondition says whether the pods get their domain identity.
func credentialCondition(o observation) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionCredentialSpecUsable, Status: metav1.ConditionTrue}
	switch names := o.credentialSpecs(); {
	case len(names) == 0:
		c.Reason, c.Message = v1alpha1.ReasonCredentialSpecNotUsed, "the specification names no GMSACredentialSpec"
	case o.credentialProblem != nil:
		c.Status = metav1.ConditionFalse
		c.Reason, c.Message = describe(o.credentialProblem, v1alpha1.ReasonCredentialSpecUnknown)
		if c.Reason == v1alpha1.ReasonCredentialSpecUnknown {
			c.Status = metav1.ConditionUnknown
		}
	default:
		c.Reason = v1alpha1.ReasonCredentialSpecUsable
		c.Message = "the pods may use the GMSACredentialSpecs, and those that run were given their contents"
	}
	return c
}
