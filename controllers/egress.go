// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete

var networkPolicyKind = networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy")

// egressPlan is the part of a plan that is about egress.
type egressPlan struct {
	// problem says why the policy cannot be rendered or is not ours to write.
	problem error
	// unlimited names what is open to any address.
	unlimited []string
	// missing says that a policy is asked for and none of ours is there yet, so that
	// pods would run without any.
	missing bool
}

// blocks says why no pod may be begun: the policy that is asked for is not there,
// and cannot be made. A policy that was applied before is enough.
func (e egressPlan) blocks() error {
	if !e.missing {
		return nil
	}
	return e.problem
}

// observeEgress reads the NetworkPolicy, and the policies by names that the mode
// asks for or that an earlier one left.
func (r *Reconciler) observeEgress(ctx context.Context, o *observation) (err error) {
	o.networkPolicy, err = getOrNil(ctx, r.client, o.connector.Namespace, desired.EgressName(o.connector), &networkingv1.NetworkPolicy{})
	if err != nil {
		return err
	}
	return r.observeByName(ctx, o)
}

// planEgress plans the NetworkPolicy, and the policy by names before it if the
// mode asks for one. They come before the Deployments, so that no pod starts
// without them. What cannot be rendered leaves in place what is there: a policy
// that was asked for once is narrower than none.
func planEgress(p *plan, o observation, _ string) {
	mode := o.connector.Spec.Egress.Mode
	if p.egress.problem = o.byNameProblem; p.egress.problem == nil {
		p.egress.problem = o.serviceTagsProblem
	}
	p.egress.missing = mode != v1alpha1.EgressNone && (o.networkPolicy == nil || !metav1.IsControlledBy(o.networkPolicy, o.connector))
	if p.egress.problem != nil {
		return
	}
	if mode == v1alpha1.EgressNone {
		p.removeByName(o)
		if policy := o.networkPolicy; policy != nil && metav1.IsControlledBy(policy, o.connector) && policy.DeletionTimestamp == nil {
			p.remove = append(p.remove, policy) // the last of them, since it tells of the others
		}
		return
	}
	openings, err := desired.Openings(o.connector, o.serviceTags)
	if err != nil {
		p.egress.problem = &blockedError{reason: v1alpha1.ReasonEgressNotRenderable, message: err.Error()}
		return
	}
	for _, opening := range openings {
		if opening.Unlimited() {
			p.egress.unlimited = append(p.egress.unlimited, opening.What)
		}
	}
	if p.egress.problem = p.ensureByName(o, openings); p.egress.problem != nil {
		return
	}
	before := len(p.ownerProblems)
	p.ensure(o, networkPolicyKind, desired.EgressName(o.connector), orNil(o.networkPolicy), desired.EgressPolicy(o.connector, openings, o.beside()...))
	if len(p.ownerProblems) > before {
		p.egress.problem = p.ownerProblems[before]
		return
	}
	p.removeByName(o)
}

// isEgress reports whether a kind is that of a policy.
func isEgress(kind schema.GroupVersionKind) bool {
	return kind == networkPolicyKind || slices.ContainsFunc(desired.PoliciesByName(), func(k desired.PolicyByName) bool { return k.Kind == kind })
}

// egressCondition says whether what spec.egress asks for is applied.
func egressCondition(o observation, p plan, done outcome) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionEgressApplied, Status: metav1.ConditionFalse}
	problem := p.egress.problem
	if problem == nil {
		problem = done.egressProblem
	}
	switch {
	case problem != nil:
		c.Reason, c.Message = describe(problem, v1alpha1.ReasonEgressNotApplied)
	case o.connector.Spec.Egress.Mode == v1alpha1.EgressNone:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonEgressNotManaged
		c.Message = "spec.egress.mode is None: the operator applies no policy"
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonEgressApplied
		c.Message = "NetworkPolicy " + desired.EgressName(o.connector) + " is applied"
		if kind, ok := byNameKind(o.connector.Spec.Egress.Mode); ok {
			c.Message = fmt.Sprintf("NetworkPolicy %s is applied, and %s %s, which opens hosts by name", desired.EgressName(o.connector), kind.Mode, kind.Name(o.connector))
		}
		if len(p.egress.unlimited) > 0 {
			c.Message += "; the ports of " + strings.Join(p.egress.unlimited, " and of ") + " are open to any address: spec.egress can name addresses"
		}
		c.Message += "; whether the cluster's network enforces it cannot be seen from here"
	}
	return c
}
