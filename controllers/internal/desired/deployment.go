// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	appsv1 "k8s.io/api/apps/v1"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

const (
	// historyLimit is how many old ReplicaSets are kept: enough to look at the one
	// before, and few, since every connector has its own.
	historyLimit = 2

	// progressDeadlineSeconds is when Kubernetes calls a Deployment stuck. It allows
	// for Windows images, which are gigabytes, and must be more than the longest
	// minReadySeconds. The operator has a deadline of its own.
	progressDeadlineSeconds = 900
)

// Instance is what a connector's Deployment depends on beside the specification.
type Instance struct {
	// Index is the number of the connector.
	Index int
	// Image is the image to run.
	Image string
	// Revision is the name of the revision that this is made from.
	Revision string
	// UpdatedAt is when the pod template was last changed; empty if that is not
	// known.
	UpdatedAt string
	// ConnectorID is the identifier in the identity Secret. Renewal keeps it; a
	// connector that is registered anew gets another and a new pod.
	ConnectorID string
	// Files are the configuration files, from Files.
	Files map[string]string
}

// Deployment keeps one pod of one connector running, so that Kubernetes heals it
// whether the operator runs or not. Its strategy is Recreate: two pods must not
// use one identity at the same time.
func Deployment(pc *v1alpha1.PassthroughConnector, in Instance) *appsv1ac.DeploymentApplyConfiguration {
	template := podTemplate(pc, in)
	annotations := map[string]string{
		v1alpha1.AnnotationTemplateHash: hash(template),
		v1alpha1.AnnotationRevision:     in.Revision,
	}
	if in.UpdatedAt != "" {
		annotations[v1alpha1.AnnotationUpdatedAt] = in.UpdatedAt
	}
	d := appsv1ac.Deployment(ConnectorName(pc, in.Index), pc.Namespace).
		WithLabels(single(pc, in.Index)).
		WithAnnotations(annotations).
		WithOwnerReferences(owner(pc)).
		WithSpec(appsv1ac.DeploymentSpec().
			WithReplicas(1).
			WithRevisionHistoryLimit(historyLimit).
			WithProgressDeadlineSeconds(progressDeadlineSeconds).
			WithStrategy(appsv1ac.DeploymentStrategy().WithType(appsv1.RecreateDeploymentStrategyType)).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(selector(pc, in.Index))).
			WithTemplate(template))
	if pc.Spec.Rollout.MinReadySeconds != nil {
		d.Spec.WithMinReadySeconds(*pc.Spec.Rollout.MinReadySeconds)
	}
	return d.WithAnnotations(hashed(d))
}
