// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

// rolloutPlan is what a pass decided about the rollout.
type rolloutPlan struct {
	// specified is the revision that the specification makes, target the one that
	// connectors are brought to: the same, unless a rollout is rolled back.
	specified, target revision
	// current is the last revision that all connectors ran; nil if there is none.
	current *revision

	decision rolloutDecision
	// outdated is how many connectors do not run the target.
	outdated int
	// revisions are the revisions that the Deployments were made from, by index.
	revisions map[int]string

	// rolledOut, failedKey and failure are the annotations of the specified
	// revision.
	rolledOut, failedKey, failure string
	// done says that all connectors were brought to what is specified.
	done bool
	// window is the maintenance window.
	window windowState
}

// rolledBack reports whether the connectors return to an earlier revision.
func (r *rolloutPlan) rolledBack() bool { return r.target.name != r.specified.name }

// made is what one connector is made of.
type made struct {
	configMap  *corev1ac.ConfigMapApplyConfiguration
	deployment *appsv1ac.DeploymentApplyConfiguration
}

// makeConnector renders one connector of a revision. The time of the last update
// is that of the Deployment that is there, if its pod stays.
func makeConnector(o observation, in *instance, r revision) (made, bool, error) {
	then := r.data.Of(o.connector)
	files, err := desired.Files(then, in.index, r.data.Bundles)
	if err != nil {
		return made{}, false, err
	}
	instance := desired.Instance{
		Index: in.index, Image: r.data.Image, Revision: r.name, ConnectorID: in.identity.ConnectorID, Files: files,
		UpdatedAt: o.now.UTC().Format(time.RFC3339),
	}
	m := made{desired.ConfigMap(then, in.index, files), desired.Deployment(then, instance)}
	if in.deployment == nil || replacesPod(in.deployment, m.deployment) {
		return m, in.deployment != nil, nil
	}
	instance.UpdatedAt = in.deployment.Annotations[v1alpha1.AnnotationUpdatedAt]
	m.deployment = desired.Deployment(then, instance)
	return m, false, nil
}

// sequenced reports whether a connector takes part in the rollout: it has a
// Deployment that is ours and stays.
func sequenced(o observation, in *instance) bool {
	return in.identity != nil && in.deployment != nil && in.deployment.DeletionTimestamp == nil && metav1.IsControlledBy(in.deployment, o.connector)
}

// planConnectors plans ConfigMap and Deployment of each connector that has an
// identity. While the specification cannot be put into effect, what runs is left
// as it is.
func planConnectors(p *plan, o observation, releaseImage string) {
	for _, problem := range []error{o.bundleProblem, p.egress.blocks()} {
		if problem != nil {
			p.configurationProblem = problem
			return
		}
	}
	if err := p.planRollout(o, releaseImage); err != nil {
		p.configurationProblem = &blockedError{reason: v1alpha1.ReasonConfigurationInvalid, message: err.Error()}
		return
	}
	p.planRevisions(o)
	for i := range o.instances {
		if in := &o.instances[i]; in.registered() {
			p.planConnector(o, in)
		}
	}
}

// planRollout decides what the connectors are brought to, and which of them may
// be replaced now.
func (p *plan) planRollout(o observation, releaseImage string) error {
	spec := &o.connector.Spec.Rollout
	r := &p.rollout
	r.window = windowAt(spec.MaintenanceWindow, o.now)
	r.specified, r.current = o.specified(releaseImage, r.window.open), o.lastRolledOut()
	r.target = r.specified
	r.revisions = map[int]string{}
	key, err := r.specified.data.Key(o.connector)
	if err != nil {
		return err
	}
	templateKey, err := r.specified.data.TemplateKey(o.connector)
	if err != nil {
		return err
	}
	paused := spec.Mode == v1alpha1.RolloutPaused
	if r.specified.annotation(v1alpha1.AnnotationFailed) == key && !paused {
		r.failedKey, r.failure = key, r.specified.annotation(v1alpha1.AnnotationFailure)
	}
	canRollBack := spec.OnFailure == v1alpha1.RolloutRollback && r.current != nil && r.current.name != r.specified.name
	if r.failedKey != "" && canRollBack {
		r.target = *r.current
	}
	in := rolloutInput{
		maxUnavailable: orDefault(spec.MaxUnavailable, 1),
		deadline:       time.Duration(orDefault(spec.ProgressDeadlineSeconds, 900)) * time.Second,
		now:            o.now, paused: paused, windowOpen: r.window.open,
		halted: r.failedKey != "" && !r.rolledBack(),
	}
	everyone := true
	for i := range o.instances {
		next, err := r.replica(o, &o.instances[i])
		if err != nil {
			return err
		}
		in.replicas = append(in.replicas, next)
		everyone = everyone && next.exists
		if next.outdated {
			r.outdated++
		}
	}
	r.decision = decideRollout(in)
	if r.decision.failed >= 0 && !r.rolledBack() && (r.outdated > 0 || canRollBack) && !paused {
		failed := &o.instances[r.decision.failed]
		r.failedKey, r.failure = key, failed.name+": "+explain(failed, outcome{})
	}
	r.rolledOut = r.specified.annotation(v1alpha1.AnnotationRolledOut)
	if everyone && r.decision.phase == rolloutComplete && !r.rolledBack() {
		r.rolledOut, r.current = templateKey, &r.specified
	}
	r.done = r.rolledOut == templateKey && r.outdated == 0 && !r.rolledBack()
	return nil
}

// orDefault is the value that a field has, or would have if the API server had
// defaulted it.
func orDefault(value *int32, fallback int) int {
	if value == nil {
		return fallback
	}
	return int(*value)
}

// replica is how a connector takes part in the rollout.
func (r *rolloutPlan) replica(o observation, in *instance) (replica, error) {
	next := replica{index: in.index}
	if !sequenced(o, in) {
		return next, nil
	}
	m, outdated, err := makeConnector(o, in, r.target)
	if err != nil {
		return replica{}, err
	}
	annotations := in.deployment.Annotations
	r.revisions[in.index] = annotations[v1alpha1.AnnotationRevision]
	next.exists, next.outdated = true, outdated
	next.automatic = outdated && annotations[v1alpha1.AnnotationRevision] == r.target.name &&
		annotations[v1alpha1.AnnotationTemplateHash] != m.deployment.Annotations[v1alpha1.AnnotationTemplateHash]
	next.available = available(in.deployment)
	next.since = unavailableSince(in.deployment)
	return next, nil
}

// observed reports whether a Deployment's status speaks of what is specified.
func observed(d *appsv1.Deployment) bool { return d.Status.ObservedGeneration >= d.Generation }

// available reports whether a connector has been ready for minReadySeconds. A
// status that is older than the specification says nothing.
func available(d *appsv1.Deployment) bool {
	return observed(d) && d.Status.AvailableReplicas > 0 && d.Status.UpdatedReplicas > 0
}

// unavailableSince is when a connector was last updated or became unavailable.
func unavailableSince(d *appsv1.Deployment) time.Time {
	since := d.CreationTimestamp.Time
	if at, err := time.Parse(time.RFC3339, d.Annotations[v1alpha1.AnnotationUpdatedAt]); err == nil && at.After(since) {
		since = at
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentAvailable && c.Status == corev1.ConditionFalse && c.LastTransitionTime.After(since) {
			since = c.LastTransitionTime.Time
		}
	}
	return since
}

// planConnector plans one connector: made new, left as it is, or replaced.
func (p *plan) planConnector(o observation, in *instance) {
	r := &p.rollout
	is := r.target
	if !sequenced(o, in) && !r.decision.proven && r.current != nil {
		is = *r.current // nothing new is begun with what has not proved itself
	}
	m, replaces, err := makeConnector(o, in, is)
	if err != nil {
		p.configurationProblem = &blockedError{reason: v1alpha1.ReasonConfigurationInvalid, message: err.Error()}
		return
	}
	switch {
	case !sequenced(o, in):
	case !replaces:
		p.updated[in.index] = !r.rolledBack() && observed(in.deployment) && in.deployment.Status.UpdatedReplicas > 0
	case slices.Contains(r.decision.update, in.index):
		p.replaced = append(p.replaced, in.index)
	default:
		// It waits for its turn, and is kept as the revision it is of made it. If that
		// cannot be done without replacing the pod, it is not touched.
		kept := o.revisionNamed(r.revisions[in.index])
		if kept == nil {
			return
		}
		if m, replaces, err = makeConnector(o, in, *kept); err != nil || replaces {
			return
		}
	}
	if r.rolledBack() && sequenced(o, in) {
		p.updated[in.index] = r.revisions[in.index] == r.specified.name && observed(in.deployment) && in.deployment.Status.UpdatedReplicas > 0
	}
	p.ensure(o, configMapKind, in.name, orNil(in.configMap), m.configMap)
	p.ensure(o, deploymentKind, in.name, orNil(in.deployment), m.deployment)
}
