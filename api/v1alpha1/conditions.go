// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Every PassthroughConnector carries the conditions below, all of them, each
// with the generation it was computed for. Reasons are API: programs may compare
// them; messages are for people and may change.

// ConditionReady is True when every connector that the specification asks for is
// registered, runs the current specification and is ready: it has bootstrapped,
// holds at least one signalling link and has proved its validator. It is the
// summary; the other conditions explain it.
const ConditionReady = "Ready"

// Reasons of ConditionReady.
const (
	// ReasonAllReady surfaces when Ready is True.
	ReasonAllReady = "AllReady"

	// ReasonPartlyReady surfaces when some connectors are ready and some are not.
	// Sign-ins are served; the message names a connector that is not ready and
	// says why.
	ReasonPartlyReady = "PartlyReady"

	// ReasonNotReady surfaces when no connector is ready: this resource serves no
	// sign-in. The message says why.
	ReasonNotReady = "NotReady"

	// ReasonUpdating surfaces when every connector is ready, but at least one
	// still runs an earlier specification.
	ReasonUpdating = "Updating"

	// ReasonNotRegistered surfaces when no connector is ready because at least one
	// could not be registered; ConditionRegistered has the details.
	ReasonNotRegistered = "NotRegistered"

	// ReasonConfigurationInvalid surfaces when the specification, though accepted
	// by the API server, does not make a valid connector configuration, for
	// instance because one UPN suffix is in two forests. Connectors that run keep
	// the configuration they have. Correct what the message names.
	ReasonConfigurationInvalid = "ConfigurationInvalid"

	// ReasonNameTaken surfaces when an object that the operator would have to
	// make exists and belongs to something else. The operator does not touch it.
	// Delete or rename that object, or use another name for this resource.
	ReasonNameTaken = "NameTaken"

	// ReasonWriteFailed surfaces when the API server refused an object of this
	// resource, for instance because of a quota or an admission policy. The
	// message repeats the refusal. The operator keeps trying.
	ReasonWriteFailed = "WriteFailed"
)

// ConditionRegistered is True when every connector that the specification asks
// for has a usable identity: a Secret with a key and a certificate that the
// registration service issued for the tenant.
const ConditionRegistered = "Registered"

// Reasons of ConditionRegistered.
const (
	// ReasonRegistered surfaces when Registered is True.
	ReasonRegistered = "Registered"

	// ReasonRegistering surfaces while connectors are being registered, a few at a
	// time. No action is needed.
	ReasonRegistering = "Registering"

	// ReasonTokenSecretNotFound surfaces when a connector has to be registered and
	// the Secret that spec.registration.tokenSecretRef names does not exist.
	// Create it; the operator notices at once.
	ReasonTokenSecretNotFound = "TokenSecretNotFound"

	// ReasonTokenKeyMissing surfaces when the token Secret exists but does not
	// hold the key that spec.registration.tokenSecretRef names, or holds it empty.
	ReasonTokenKeyMissing = "TokenKeyMissing"

	// ReasonTokenMalformed surfaces when the token is not a JSON web token.
	ReasonTokenMalformed = "TokenMalformed"

	// ReasonTokenExpired surfaces when the token's expiry has passed. Get a new
	// token and put it into the Secret.
	ReasonTokenExpired = "TokenExpired"

	// ReasonTokenForOtherTenant surfaces when the token was issued by a tenant
	// other than spec.tenantID.
	ReasonTokenForOtherTenant = "TokenForOtherTenant"

	// ReasonTokenWrongAudience surfaces when the token was issued for something
	// other than the registration service.
	ReasonTokenWrongAudience = "TokenWrongAudience"

	// ReasonRegistrationRefused surfaces when the registration service answered
	// and refused. The message repeats the service's text.
	ReasonRegistrationRefused = "RegistrationRefused"

	// ReasonServiceUnreachable surfaces when the registration service, or the
	// proxy towards it, could not be reached or is out of order. The operator
	// tries again with growing pauses, and at once when the token Secret, a CA
	// bundle or the specification changes.
	ReasonServiceUnreachable = "ServiceUnreachable"

	// ReasonServiceAnswerInvalid surfaces when the registration service answered
	// something that is not a registration result, or issued a certificate that
	// does not belong to this tenant or to the key it was asked for. Something
	// other than the registration service may be answering.
	ReasonServiceAnswerInvalid = "ServiceAnswerInvalid"

	// ReasonTLSVerificationFailed surfaces when the registration service's
	// certificate is not trusted. A proxy that inspects TLS is one cause; a
	// missing or wrong CA bundle of a custom cloud is another.
	ReasonTLSVerificationFailed = "TLSVerificationFailed"

	// ReasonCABundleNotFound surfaces when a ConfigMap that a caBundleRef names
	// does not exist, lacks the key, or holds no certificate there. Connectors
	// that run keep the configuration they have.
	ReasonCABundleNotFound = "CABundleNotFound"

	// ReasonIdentityInvalid surfaces when the identity Secret of a connector
	// exists but cannot be used: it belongs to something else, is damaged, is for
	// another tenant or has expired. The operator never overwrites it. If it is
	// not needed any more, delete it, and the operator registers the connector
	// anew.
	ReasonIdentityInvalid = "IdentityInvalid"

	// ReasonIdentityNotStored surfaces when an identity could not be written to
	// its Secret, or a trial write failed before registering. The message repeats
	// the refusal.
	ReasonIdentityNotStored = "IdentityNotStored"
)
