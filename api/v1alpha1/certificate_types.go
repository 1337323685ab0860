// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// CertificateSpec is when the operator renews the connectors' certificates.
//
// +kubebuilder:validation:MinProperties=1
type CertificateSpec struct {
	// renewBeforeSeconds is how long before its end a certificate is renewed, from
	// an hour to 150 days. Without it the service decides: 30 days, unless it asks
	// for less. Half of a certificate's lifetime is the most that is used of it, so
	// that a certificate of a short life is not renewed as soon as it is issued. A
	// tenth of it is spread at random, so that connectors do not renew together.
	//
	// +optional
	// +kubebuilder:validation:Minimum=3600
	// +kubebuilder:validation:Maximum=12960000
	RenewBeforeSeconds *int32 `json:"renewBeforeSeconds,omitempty"`
}
