// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// portName is the name of the port of probes, status and metrics.
const portName = "http"

// Service is a headless Service with every connector behind it, for those who
// collect metrics. Connectors that are not ready are listed, too: those are the
// ones whose metrics are wanted. Sign-ins do not pass it: connectors only dial
// out.
func Service(pc *v1alpha1.PassthroughConnector) *corev1ac.ServiceApplyConfiguration {
	s := corev1ac.Service(ServiceName(pc), pc.Namespace).
		WithLabels(shared(pc)).
		WithOwnerReferences(owner(pc)).
		WithSpec(corev1ac.ServiceSpec().
			WithClusterIP(corev1.ClusterIPNone).
			WithPublishNotReadyAddresses(true).
			WithSelector(Selector(pc)).
			WithPorts(corev1ac.ServicePort().
				WithName(portName).
				WithProtocol(corev1.ProtocolTCP).
				WithPort(healthPort).
				WithTargetPort(intstr.FromString(portName))))
	return s.WithAnnotations(hashed(s))
}

// ServiceAccount is the ServiceAccount of the connectors' pods. It has no
// permission and no token: a connector does not talk to Kubernetes. It is there
// so that the permission to use a group managed service account can be given to
// the connectors alone.
func ServiceAccount(pc *v1alpha1.PassthroughConnector) *corev1ac.ServiceAccountApplyConfiguration {
	a := corev1ac.ServiceAccount(ServiceAccountName(pc), pc.Namespace).
		WithLabels(shared(pc)).
		WithOwnerReferences(owner(pc)).
		WithAutomountServiceAccountToken(false)
	return a.WithAnnotations(hashed(a))
}
