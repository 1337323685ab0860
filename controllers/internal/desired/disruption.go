// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// DisruptionBudgetName is the name of the PodDisruptionBudget.
func DisruptionBudgetName(pc *v1alpha1.PassthroughConnector) string { return pc.Name + "-connectors" }

// DisruptionBudget lets drains of nodes take one connector at a time, or as many
// as rollouts may. It never keeps a drain from ending: with one connector alone
// none is required, and a connector that is not ready may always be evicted.
//
// The number is absolute: the disruption controller computes percentages and
// maxUnavailable from the scale of the pods' controllers.
func DisruptionBudget(pc *v1alpha1.PassthroughConnector) *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	replicas, unavailable := 1, 1
	if pc.Spec.Replicas != nil {
		replicas = int(*pc.Spec.Replicas)
	}
	if pc.Spec.Rollout.MaxUnavailable != nil {
		unavailable = int(*pc.Spec.Rollout.MaxUnavailable)
	}
	b := policyv1ac.PodDisruptionBudget(DisruptionBudgetName(pc), pc.Namespace).
		WithLabels(shared(pc)).
		WithOwnerReferences(owner(pc)).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().
			WithMinAvailable(intstr.FromInt(max(replicas-unavailable, 0))).
			WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(pc))))
	return b.WithAnnotations(hashed(b))
}
