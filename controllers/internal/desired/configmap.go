// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// ConfigMap holds the configuration files of one connector, from Files.
func ConfigMap(pc *v1alpha1.PassthroughConnector, index int, files map[string]string) *corev1ac.ConfigMapApplyConfiguration {
	c := corev1ac.ConfigMap(ConnectorName(pc, index), pc.Namespace).
		WithLabels(single(pc, index)).
		WithOwnerReferences(owner(pc)).
		WithData(files)
	return c.WithAnnotations(hashed(c))
}
