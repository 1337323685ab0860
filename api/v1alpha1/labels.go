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

	// AnnotationTemplateHash, on Deployments, holds a hash of the pod template that
	// the operator last applied. A change of it replaces the pod.
	AnnotationTemplateHash = "identity.passthrough.dev/template-hash"

	// AnnotationRevision, on Deployments, holds the name of the ControllerRevision
	// that the Deployment was made from.
	AnnotationRevision = "identity.passthrough.dev/revision"

	// AnnotationUpdatedAt, on Deployments, holds when the operator last changed the
	// pod template, in RFC 3339. The deadline of a rollout counts from it.
	AnnotationUpdatedAt = "identity.passthrough.dev/updated-at"

	// AnnotationRolledOut, on ControllerRevisions, is there once all connectors ran
	// the revision and were available.
	AnnotationRolledOut = "identity.passthrough.dev/rolled-out"

	// AnnotationFailed, on ControllerRevisions, is there while a rollout of the
	// revision counts as failed. It identifies what was tried.
	AnnotationFailed = "identity.passthrough.dev/rollout-failed"

	// AnnotationFailure, on ControllerRevisions, holds why the rollout failed.
	AnnotationFailure = "identity.passthrough.dev/rollout-failure"

	// AnnotationEgressBeside, on NetworkPolicies, names the modes of spec.egress whose
	// policies stand beside it, so that they are found when the mode changes.
	AnnotationEgressBeside = "identity.passthrough.dev/egress-beside"

	// AnnotationOwner, on objects that belong to no namespace, names the
	// PassthroughConnector that they belong to, as namespace/name.
	AnnotationOwner = "identity.passthrough.dev/owner"

	// AnnotationConnectorID, on identity Secrets and pods, holds the identifier
	// that the service gave the connector.
	AnnotationConnectorID = "identity.passthrough.dev/connector-id"

	// AnnotationRenewed, on identity Secrets, holds when the certificate in it
	// replaced the previous one, in the form of RFC 3339. It is there while the
	// previous pair is.
	AnnotationRenewed = "identity.passthrough.dev/renewed"

	// AnnotationUnusedSince, on identity Secrets, holds since when no connector uses
	// the identity because replicas was lowered, in the form of RFC 3339. It is
	// deleted spec.registration.retainUnusedSeconds later.
	AnnotationUnusedSince = "identity.passthrough.dev/unused-since"

	// AnnotationRenewing, on identity Secrets, holds which process of the operator
	// is renewing the certificate, and until when nobody else may.
	AnnotationRenewing = "identity.passthrough.dev/renewing"
)

// Keys of identity Secrets beside tls.crt and tls.key.
const (
	// KeyPreviousCertificate and KeyPreviousKey hold the pair before a renewal,
	// both PEM, while requests may still be encrypted for it.
	KeyPreviousCertificate = "previous.crt"
	KeyPreviousKey         = "previous.key"
)

// Keys of the Secret <name>-registration, which holds an administrator's sign-in
// by device code.
const (
	// KeyAuthority holds the authority, tenant and application that the rest is of.
	KeyAuthority = "authority"

	// KeyRefreshToken holds the token that registration tokens are got with. It is
	// replaced whenever it is used.
	KeyRefreshToken = "refresh-token"

	// KeyDeviceAuthorization holds the code that was asked for, as JSON, while the
	// operator waits for the sign-in.
	KeyDeviceAuthorization = "device-authorization"

	// KeyDenied holds the user code of a sign-in that was denied. The operator asks
	// again once the Secret is deleted.
	KeyDenied = "denied"
)
