// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Labels of the objects that the operator makes. Network policies, disruption
// budgets and dashboards may select by them.
const (
	// LabelApp is the well-known label of an application's name; its value is
	// AppName.
	LabelApp = "app.kubernetes.io/name"

	// LabelInstance is the well-known label of an application's instance; its
	// value is the name of the PassthroughConnector.
	LabelInstance = "app.kubernetes.io/instance"

	// LabelManagedBy is the well-known label of the tool that manages an object;
	// its value is OperatorName.
	LabelManagedBy = "app.kubernetes.io/managed-by"

	// LabelConnector holds the name of the PassthroughConnector.
	LabelConnector = "identity.passthrough.dev/connector"

	// LabelIndex holds the number of the connector, from 0, on what belongs to one
	// connector only.
	LabelIndex = "identity.passthrough.dev/index"
)

// Values of labels.
const (
	// AppName is the value of LabelApp.
	AppName = "passthrough-connector"

	// OperatorName is the value of LabelManagedBy, the field manager of what the
	// operator applies, and the reporter of its events.
	OperatorName = "passthrough-connector-operator"
)

// Annotations of the objects that the operator makes.
const (
	// AnnotationInputHash holds a hash of what the operator last applied to the
	// object.
	AnnotationInputHash = "identity.passthrough.dev/input-hash"

	// AnnotationConfigHash, on pods, holds a hash of the connector's
	// configuration files. A change of them replaces the pod.
	AnnotationConfigHash = "identity.passthrough.dev/config-hash"

	// AnnotationConnectorID, on identity Secrets and pods, holds the identifier
	// that the service gave the connector.
	AnnotationConnectorID = "identity.passthrough.dev/connector-id"
)
