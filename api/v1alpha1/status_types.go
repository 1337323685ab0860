// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PassthroughConnectorStatus is what the operator found when it last looked. It
// is output only: nothing in it is ever read back.
type PassthroughConnectorStatus struct {
	// observedGeneration is the generation of the specification that this status
	// was computed for.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// replicas is how many connector pods exist.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Replicas *int32 `json:"replicas,omitempty"`

	// readyReplicas is how many connectors serve sign-ins.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	ReadyReplicas *int32 `json:"readyReplicas,omitempty"`

	// availableReplicas is how many connectors have served sign-ins for at least
	// spec.rollout.minReadySeconds.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	AvailableReplicas *int32 `json:"availableReplicas,omitempty"`

	// updatedReplicas is how many connector pods run the current specification.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	UpdatedReplicas *int32 `json:"updatedReplicas,omitempty"`

	// currentRevision is the name of the last ControllerRevision that all
	// connectors ran. A rollback returns to it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CurrentRevision string `json:"currentRevision,omitempty"`

	// updateRevision is the name of the ControllerRevision that the specification
	// makes.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	UpdateRevision string `json:"updateRevision,omitempty"`

	// selector selects the pods of the connectors, in the form that the scale
	// subresource wants.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Selector string `json:"selector,omitempty"`

	// certificatesUntil is when the first of the certificates of the connectors
	// that the specification asks for ends.
	//
	// +optional
	CertificatesUntil *metav1.Time `json:"certificatesUntil,omitempty"`

	// connectors are the single connectors, in the order of their indexes.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=80
	Connectors []ConnectorStatus `json:"connectors,omitempty"`

	// conditions are the conditions that this package documents, all of them.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}

// ConnectorStatus is one connector.
type ConnectorStatus struct {
	// name is the name of the connector and of its Deployment: the name of the
	// PassthroughConnector, a dash and the index.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// index is the number of the connector, from 0.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Index *int32 `json:"index,omitempty"`

	// connectorID is the identifier that the service gave the connector, a GUID.
	// The service's own pages list the connector under it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ConnectorID string `json:"connectorID,omitempty"`

	// thumbprint is the SHA-1 thumbprint of the connector's certificate.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Thumbprint string `json:"thumbprint,omitempty"`

	// notAfter is when the connector's certificate ends.
	//
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// state is what the service says of the connector, as the connector last told:
	// Ok, UpdateRequired, InfoServiceMessage, ErrorServiceMessage, or something
	// newer. It is empty until the connector has bootstrapped.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	State string `json:"state,omitempty"`

	// lastBootstrapTime is when the service last answered the connector, rounded
	// down to the hour. More than two hours ago means that the service lists the
	// connector as inactive.
	//
	// +optional
	LastBootstrapTime *metav1.Time `json:"lastBootstrapTime,omitempty"`

	// links is how many signalling links the connector had attached when it last
	// told, which is every few minutes.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Links *int32 `json:"links,omitempty"`

	// serviceMessage is the service's text for the administrator about the
	// connector, cut to one line.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ServiceMessage string `json:"serviceMessage,omitempty"`

	// renewAfter is when the certificate is due for renewal.
	//
	// +optional
	RenewAfter *metav1.Time `json:"renewAfter,omitempty"`

	// revision is the name of the ControllerRevision that the connector's
	// Deployment was made from.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Revision string `json:"revision,omitempty"`

	// ready says whether the connector serves sign-ins.
	//
	// +required
	Ready *bool `json:"ready,omitempty"`

	// message says why the connector is not ready and what to do about it. It is
	// empty for one that is ready.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}
