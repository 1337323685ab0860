// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// OS is the operating system of the connectors' nodes.
//
// +kubebuilder:validation:Enum=Windows;Linux
type OS string

// The operating systems.
const (
	// OSWindows runs connectors on Windows nodes.
	OSWindows OS = "Windows"
	// OSLinux runs connectors on Linux nodes.
	OSLinux OS = "Linux"
)

// PodSpec is how the pods of the connectors look. What is not offered here is
// decided by the operator: the pods meet the "restricted" Pod Security Standard
// and hold no Kubernetes credentials.
type PodSpec struct {
	// os is the operating system of the nodes that the pods run on.
	//
	// +optional
	// +kubebuilder:default=Windows
	OS OS `json:"os,omitempty"`

	// image is the image of the connector. Without it the operator's own setting
	// is used, which is the image released together with the operator: connectors
	// are then updated when the operator is, within rollout.maintenanceWindow.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image,omitempty"`

	// imagePullPolicy says when the image is pulled. Without it Kubernetes decides
	// by the image's tag.
	//
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// imagePullSecrets are the Secrets of the same namespace to pull the image
	// with.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []ImagePullSecret `json:"imagePullSecrets,omitempty"`

	// resources are the requests and limits of the connector's container. Without
	// them it requests 100m of CPU and is given 512Mi of memory on Windows, where
	// the system's own processes in the container count, and 128Mi on Linux. Set
	// the memory request equal to the limit.
	//
	// +optional
	Resources Resources `json:"resources,omitzero"`

	// nodeSelector holds labels that the nodes must have, beside the label of the
	// operating system, which os sets.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="!('kubernetes.io/os' in self)",message="nodeSelector must not hold kubernetes.io/os: set pod.os",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && !format.qualifiedName().validate(k).hasValue())",message="the key of a label must be a name of letters, digits, dashes, underscores and dots, with a DNS name and a slash before it if you like, such as example.com/team",reason=FieldValueInvalid
	NodeSelector map[string]LabelValue `json:"nodeSelector,omitempty"`

	// tolerations are the taints of nodes that the pods tolerate. Windows nodes
	// usually carry one; it differs from platform to platform.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// topologySpreadConstraints say how the pods are spread over nodes and zones.
	// The operator adds the selector of the pods. Without them the pods go to
	// different nodes where that is possible.
	//
	// +optional
	// +listType=map
	// +listMapKey=topologyKey
	// +listMapKey=whenUnsatisfiable
	// +kubebuilder:validation:MaxItems=8
	TopologySpreadConstraints []TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// labels are further labels of the pods. Those of the operator cannot be set.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('identity.passthrough.dev/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/managed-by', 'pod-template-hash']))",message="labels must not hold labels that the operator sets: those of identity.passthrough.dev, app.kubernetes.io/name, instance and managed-by, and pod-template-hash",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && !format.qualifiedName().validate(k).hasValue())",message="the key of a label must be a name of letters, digits, dashes, underscores and dots, with a DNS name and a slash before it if you like, such as example.com/team",reason=FieldValueInvalid
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are further annotations of the pods.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('identity.passthrough.dev/'))",message="annotations must not hold those of identity.passthrough.dev, which the operator sets",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && !format.qualifiedName().validate(k).hasValue())",message="the key of an annotation must be a name of letters, digits, dashes, underscores and dots, with a DNS name and a slash before it if you like, such as example.com/team",reason=FieldValueInvalid
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`

	// runtimeClassName is the RuntimeClass of the pods.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	RuntimeClassName string `json:"runtimeClassName,omitempty"`

	// priorityClassName is the PriorityClass of the pods. Users cannot sign in
	// while no connector runs.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// terminationGracePeriodSeconds is how long a stopping connector may take to
	// finish the sign-ins that it holds.
	//
	// +optional
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=600
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`
}

// ImagePullSecret names a Secret of the same namespace.
type ImagePullSecret struct {
	// name is the name of the Secret.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// Resources are the requests and limits of the connector's container.
//
// +kubebuilder:validation:MinProperties=1
type Resources struct {
	// requests are what the scheduler reserves.
	//
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	Requests corev1.ResourceList `json:"requests,omitempty"`

	// limits are what the container may use at most.
	//
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="the value of a label must hold only letters, digits, dashes, underscores and dots, and begin and end with a letter or digit",reason=FieldValueInvalid
type LabelValue string

// AnnotationValue is the value of an annotation.
//
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// TopologySpreadConstraint spreads the pods over a topology.
type TopologySpreadConstraint struct {
	// topologyKey is a label of nodes, such as topology.kubernetes.io/zone. Nodes
	// with the same value are one domain.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="!format.qualifiedName().validate(self).hasValue()",message="topologyKey must be the key of a label, such as kubernetes.io/hostname",reason=FieldValueInvalid
	TopologyKey string `json:"topologyKey,omitempty"`

	// maxSkew is by how many pods two domains may differ.
	//
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=40
	MaxSkew *int32 `json:"maxSkew,omitempty"`

	// whenUnsatisfiable says what becomes of a pod that cannot be placed so:
	// ScheduleAnyway places it nevertheless, DoNotSchedule lets it wait.
	//
	// +optional
	// +kubebuilder:default=ScheduleAnyway
	// +kubebuilder:validation:Enum=ScheduleAnyway;DoNotSchedule
	WhenUnsatisfiable corev1.UnsatisfiableConstraintAction `json:"whenUnsatisfiable,omitempty"`
}
