// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// IdentitySecret holds the certificate and key of one connector, both PEM, and
// for the reader the identifier that the service gave it. It is created once and
// outlives the connector's pod and Deployment; it goes with the
// PassthroughConnector.
func IdentitySecret(pc *v1alpha1.PassthroughConnector, index int, connectorID string, certPEM, keyPEM []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       pc.Namespace,
			Name:            IdentityName(pc, index),
			Labels:          single(pc, index),
			Annotations:     map[string]string{v1alpha1.AnnotationConnectorID: connectorID},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(pc, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))},
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certPEM, corev1.TLSPrivateKeyKey: keyPEM},
	}
}

// RegistrationSecret holds an administrator's sign-in by device code. It goes with
// the PassthroughConnector.
func RegistrationSecret(pc *v1alpha1.PassthroughConnector, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       pc.Namespace,
			Name:            RegistrationName(pc),
			Labels:          shared(pc),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(pc, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))},
		},
		Type: corev1.SecretTypeOpaque,
		Data: data,
	}
}
