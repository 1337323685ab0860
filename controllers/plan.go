// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

// registrationsPerPass is how many connectors are registered in one pass, side by
// side. The next pass follows at once, so that status shows progress.
const registrationsPerPass = 4

// plan is what a pass will do. Making one has no effect on anything.
type plan struct {
	// store are connectors whose identity was issued earlier and waits to be
	// stored.
	store []int
	// register are connectors to register with the service now.
	register []int
	// obtain is how to get the registration token for them.
	obtain step
	// renew are connectors whose certificates to renew now.
	renew []int
	// endOverlap are connectors whose previous pair is not needed any more.
	endOverlap []int
	// retain are identity Secrets to note as unused, reuse those to note as used
	// again, drop are identities that were kept unused for long enough.
	retain, reuse []*corev1.Secret
	drop          []retained
	// apply are objects to apply, in this order.
	apply []child
	// remove are objects to delete, in this order.
	remove []client.Object

	// updated says of each connector whether it runs the current specification.
	updated map[int]bool
	// releaseImage is the image that was released together with the operator.
	releaseImage string
	// replaced are the connectors whose pods the plan replaces.
	replaced []int
	// rollout is what was decided about the rollout. It is empty while the
	// specification cannot be put into effect.
	rollout rolloutPlan

	// configurationProblem says why the specification cannot be put into effect.
	configurationProblem error
	// registrationProblem says why connectors that have to be registered are not.
	registrationProblem error
	// renewalProblem says why certificates that are due are not renewed.
	renewalProblem error
	// ownerProblems are children that belong to something else.
	ownerProblems []error
	// egress is what there is to say about the NetworkPolicy.
	egress egressPlan
	// retryAt is when the next registration may be tried; zero if at no time.
	retryAt time.Time
	// pollAt is when to ask whether an administrator has signed in; zero if at no time.
	pollAt time.Time
	// wakeAt is when something about an identity becomes due; zero if at no time.
	wakeAt time.Time
}

// child is an object to apply.
type child struct {
	kind schema.GroupVersionKind
	name string
	want runtime.ApplyConfiguration
	// known says that the cache holds the object and that it is ours.
	known bool
}

// The kinds of children.
var (
	deploymentKind         = appsv1.SchemeGroupVersion.WithKind("Deployment")
	configMapKind          = corev1.SchemeGroupVersion.WithKind("ConfigMap")
	serviceKind            = corev1.SchemeGroupVersion.WithKind("Service")
	controllerRevisionKind = appsv1.SchemeGroupVersion.WithKind("ControllerRevision")
	disruptionBudgetKind   = policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget")
	serviceAccountKind     = corev1.SchemeGroupVersion.WithKind("ServiceAccount")
)

// decide makes the plan. Each function adds its part; a later one may rely on
// what an earlier one found.
func decide(o observation, defaultImage string) plan {
	p := plan{updated: map[int]bool{}, releaseImage: defaultImage}
	for _, policy := range []func(*plan, observation, string){
		planCommon,
		planEgress,
		planConnectors,
		planRegistrations,
		planRenewals,
		planRetained,
		planRemovals,
	} {
		policy(&p, o, defaultImage)
	}
	return p
}

// planCommon plans what the connectors share.
func planCommon(p *plan, o observation, _ string) {
	p.ensure(o, serviceAccountKind, desired.ServiceAccountName(o.connector), orNil(o.serviceAccount), desired.ServiceAccount(o.connector))
	p.ensure(o, serviceKind, desired.ServiceName(o.connector), orNil(o.service), desired.Service(o.connector))
	p.ensure(o, disruptionBudgetKind, desired.DisruptionBudgetName(o.connector), orNil(o.disruptionBudget), desired.DisruptionBudget(o.connector))
}

// ensure plans to apply an object unless it is in place, belongs to something
// else, or is being deleted: its disappearance starts the next pass.
func (p *plan) ensure(o observation, kind schema.GroupVersionKind, name string, live client.Object, want runtime.ApplyConfiguration) {
	c := child{kind: kind, name: name, want: want, known: live != nil}
	if live == nil {
		p.apply = append(p.apply, c)
		return
	}
	if err := checkOwner(o.connector, live, kind.Kind, v1alpha1.ReasonNameTaken); err != nil {
		p.ownerProblems = append(p.ownerProblems, err)
		return
	}
	if live.GetDeletionTimestamp() == nil && !inPlace(live, want) {
		p.apply = append(p.apply, c)
	}
}

// orNil makes a nil pointer a nil interface.
func orNil[T any, P interface {
	*T
	client.Object
}](object P) client.Object {
	if object == nil {
		return nil
	}
	return object
}

// planRegistrations chooses the connectors to register now. A specification that
// cannot be put into effect costs no registration.
func planRegistrations(p *plan, o observation, _ string) {
	var missing []int
	for i := range o.instances {
		if o.instances[i].unsaved != nil {
			p.store = append(p.store, i)
		}
		if o.instances[i].toRegister() {
			missing = append(missing, i)
		}
	}
	switch {
	case len(missing) == 0:
	case p.configurationProblem != nil:
		p.registrationProblem = p.configurationProblem
	case o.tokenProblem != nil:
		p.registrationProblem = o.tokenProblem
	case o.connector.Spec.Registration.DeviceCode == nil && !o.attempt.due(o.inputs, o.now):
		p.registrationProblem = o.attempt.problem
		p.retryAt = o.attempt.next
	default:
		missing, p.registrationProblem = o.withinLimit(missing)
		if o.connector.Spec.Registration.DeviceCode == nil || (len(missing) > 0 && p.planSignIn(o)) {
			p.register = missing[:min(len(missing), registrationsPerPass)]
		}
	}
}

// planRemovals plans to delete Deployments and ConfigMaps of connectors that are
// not asked for any more, the Deployments first. Their identities are planRetained's.
func planRemovals(p *plan, o observation, _ string) {
	for _, wantDeployment := range []bool{true, false} {
		for _, object := range o.surplus {
			if _, isDeployment := object.(*appsv1.Deployment); isDeployment == wantDeployment && object.GetDeletionTimestamp() == nil {
				p.remove = append(p.remove, object)
			}
		}
	}
}
