// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

const (
	// recheckByName is how soon policies by names are looked at again: their kinds
	// come and go with what a cluster has installed, so they are not watched.
	recheckByName = time.Minute

	// byNameDeadline bounds reading one of them. Whether the cluster has the kind is
	// asked by a client that has a deadline of its own, of half a minute.
	byNameDeadline = 10 * time.Second
)

func byNameKind(mode v1alpha1.EgressMode) (desired.PolicyByName, bool) {
	for _, kind := range desired.PoliciesByName() {
		if kind.Mode == mode {
			return kind, true
		}
	}
	return desired.PolicyByName{}, false
}

// observeByName reads the policies by names that are asked for, and those of which
// the NetworkPolicy tells that they were.
func (r *Reconciler) observeByName(ctx context.Context, o *observation) error {
	o.byName = map[v1alpha1.EgressMode]*unstructured.Unstructured{}
	var before []string
	if o.networkPolicy != nil {
		before = strings.Split(o.networkPolicy.Annotations[v1alpha1.AnnotationEgressBeside], ",")
	}
	for _, kind := range desired.PoliciesByName() {
		asked := kind.Mode == o.connector.Spec.Egress.Mode
		if !asked && !slices.Contains(before, string(kind.Mode)) {
			continue
		}
		policy, err := r.readByName(ctx, o.connector, kind)
		switch {
		case err == nil:
			if policy != nil {
				o.byName[kind.Mode] = policy
			}
		case noSuchKind(err) && !asked:
			// It went with its kind.
		case noSuchKind(err):
			o.byNameProblem = kindMissing(kind)
		case apierrors.IsForbidden(err):
			o.byNameProblem = &blockedError{
				reason:  v1alpha1.ReasonEgressNotApplied,
				message: fmt.Sprintf("the operator may not write a %s, which the mode needs: allow it (value rbac.egressPolicies of the chart): %v", kind.Mode, err),
			}
		default:
			return fmt.Errorf("reading the %s: %w", kind.Mode, err)
		}
	}
	return nil
}

// noSuchKind reports whether an error says that the cluster does not have a kind,
// which it may have had a moment ago: then its address is gone, which is told by
// something else than what tells that an object is.
func noSuchKind(err error) bool {
	return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func kindMissing(kind desired.PolicyByName) error {
	return &blockedError{
		reason:  v1alpha1.ReasonPolicyKindMissing,
		message: fmt.Sprintf("the cluster has no %s (%s), which spec.egress.mode asks for: install it or choose another mode", kind.Mode, kind.Kind.GroupVersion()),
	}
}

// readByName reads a policy from the API server; nil if there is none. noSuchKind
// knows the error if the cluster does not have the kind.
func (r *Reconciler) readByName(ctx context.Context, pc *v1alpha1.PassthroughConnector, kind desired.PolicyByName) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, byNameDeadline)
	defer cancel()
	policy := &unstructured.Unstructured{}
	policy.SetGroupVersionKind(kind.Kind)
	key := client.ObjectKey{Name: kind.Name(pc)}
	if !kind.ClusterScoped {
		key.Namespace = pc.Namespace
	}
	err := r.live.Get(ctx, key, policy)
	if apierrors.IsNotFound(err) && !noSuchKind(err) {
		return nil, nil
	}
	return policy, err
}

// beside are the modes of the policies by names that there are or will be, sorted.
func (o *observation) beside() []v1alpha1.EgressMode {
	var modes []v1alpha1.EgressMode
	for _, kind := range desired.PoliciesByName() {
		if o.byName[kind.Mode] != nil || kind.Mode == o.connector.Spec.Egress.Mode {
			modes = append(modes, kind.Mode)
		}
	}
	return modes
}

// ensureByName plans the policy by names that the mode asks for, if it asks for
// one and it is not in place. The error says that one of its name is not ours.
func (p *plan) ensureByName(o observation, openings []desired.Opening) error {
	kind, ok := byNameKind(o.connector.Spec.Egress.Mode)
	if !ok {
		return nil
	}
	live, want := o.byName[kind.Mode], kind.Render(o.connector, openings)
	if live != nil {
		if err := ownByName(o.connector, kind, live); err != nil {
			p.ownerProblems = append(p.ownerProblems, err)
			return err
		}
		if live.GetDeletionTimestamp() != nil || byNameInPlace(live, want) {
			return nil
		}
	}
	// It was read from the API server just now.
	p.apply = append(p.apply, child{kind: kind.Kind, name: want.GetName(), want: client.ApplyConfigurationFromUnstructured(want), known: true})
	return nil
}

// removeByName plans to delete policies by names that the mode does not ask for.
func (p *plan) removeByName(o observation) {
	for _, kind := range desired.PoliciesByName() {
		live := o.byName[kind.Mode]
		if live != nil && kind.Mode != o.connector.Spec.Egress.Mode && live.GetDeletionTimestamp() == nil && ownByName(o.connector, kind, live) == nil {
			p.remove = append(p.remove, live)
		}
	}
}

// byNameInPlace reports whether a policy is as it was rendered. The schemas of
// these kinds are not known here, so fields are compared and not their owners.
func byNameInPlace(live, want *unstructured.Unstructured) bool {
	for key, value := range want.GetLabels() {
		if live.GetLabels()[key] != value {
			return false
		}
	}
	return live.GetAnnotations()[v1alpha1.AnnotationInputHash] == want.GetAnnotations()[v1alpha1.AnnotationInputHash] &&
		equality.Semantic.DeepEqual(live.Object["spec"], want.Object["spec"])
}

// ownByName says that a policy belongs to something else. One that belongs to no
// namespace is known by its annotation.
func ownByName(pc *v1alpha1.PassthroughConnector, kind desired.PolicyByName, live *unstructured.Unstructured) error {
	if !kind.ClusterScoped {
		return checkOwner(pc, live, string(kind.Mode), v1alpha1.ReasonNameTaken)
	}
	if live.GetLabels()[v1alpha1.LabelManagedBy] == v1alpha1.OperatorName && live.GetAnnotations()[v1alpha1.AnnotationOwner] == desired.Owner(pc) {
		return nil
	}
	return &blockedError{
		reason:  v1alpha1.ReasonNameTaken,
		message: fmt.Sprintf("%s %s exists and was not made for this resource: rename or delete it", kind.Mode, live.GetName()),
	}
}

// Sweep deletes the policies that belong to no namespace and whose resource is
// gone. No garbage collector does. It is called when a resource is gone, and by
// the manager when it starts, for those that went while no operator ran. Where the
// cluster has no such kind, or the operator may not see it, there are none of ours.
func (r *Reconciler) Sweep(ctx context.Context) error {
	for _, kind := range desired.PoliciesByName() {
		if !kind.ClusterScoped {
			continue
		}
		policies := &unstructured.UnstructuredList{}
		policies.SetGroupVersionKind(kind.Kind)
		err := r.live.List(ctx, policies, client.MatchingLabels{v1alpha1.LabelManagedBy: v1alpha1.OperatorName})
		if noSuchKind(err) || apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("listing each %s: %w", kind.Mode, err)
		}
		for i := range policies.Items {
			if err := r.sweepOne(ctx, &policies.Items[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepOne deletes a policy if its resource is known to be gone.
func (r *Reconciler) sweepOne(ctx context.Context, policy *unstructured.Unstructured) error {
	namespace, name, ok := strings.Cut(policy.GetAnnotations()[v1alpha1.AnnotationOwner], "/")
	if !ok {
		return nil
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	owner := &metav1.PartialObjectMetadata{}
	owner.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	err := r.live.Get(ctx, key, owner)
	if err == nil && owner.GetDeletionTimestamp() == nil {
		return nil
	}
	if hidden := client.IgnoreNotFound(err); hidden != nil {
		// Another operator's namespace, perhaps.
		log.FromContext(ctx).Info("Left a policy alone whose resource cannot be seen", "policy", policy.GetName(), "owner", key, "because", hidden.Error())
		return nil
	}
	return r.removeChild(ctx, policy)
}
