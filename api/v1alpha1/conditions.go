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

	// ReasonNameTaken surfaces, here and in Registered, when an object that the
	// operator would have to make exists and belongs to something else. The operator
	// does not touch it. Delete or rename that object, or use another name for this
	// resource.
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

	// ReasonSignInRequired surfaces with spec.registration.deviceCode when a
	// connector has to be registered and an administrator of the tenant has to sign
	// in for it. The message says where, with which code and until when; an event
	// repeats it. The operator notices the sign-in by itself, and asks with a new
	// code when the time is over.
	ReasonSignInRequired = "SignInRequired"

	// ReasonSignInDenied surfaces when an administrator denied the sign-in. The
	// operator does not ask again by itself: delete the Secret that the message
	// names, and it does.
	ReasonSignInDenied = "SignInDenied"

	// ReasonSignInRefused surfaces when the authority refuses to give a code or a
	// token at all, for instance because device codes are not allowed or it does not
	// know the application. The message repeats its text. The operator tries again
	// with growing pauses, and at once when the specification changes.
	ReasonSignInRefused = "SignInRefused"

	// ReasonSignInNotStored surfaces when a code or a refresh token could not be
	// written to its Secret. The message repeats the refusal. The operator tries again.
	ReasonSignInNotStored = "SignInNotStored"

	// ReasonSignInLapsed surfaces in an event only: the authority takes the kept
	// sign-in no longer, because it has ended or was revoked. Somebody has to sign in
	// once more as soon as a connector has to be registered.
	ReasonSignInLapsed = "SignInLapsed"

	// ReasonRegistrationRefused surfaces when the registration service answered
	// and refused. The message repeats the service's text.
	ReasonRegistrationRefused = "RegistrationRefused"

	// ReasonAgentLimitReached surfaces when the tenant has as many connectors as it
	// can, 40. Either the identities of all resources for the tenant that the
	// operator watches, unused ones included, are that many, and the service is not
	// asked; or the service refused, and the message repeats its text. Connectors
	// that were taken away count until the service removes them, ten days after
	// their last bootstrap.
	ReasonAgentLimitReached = "AgentLimitReached"

	// ReasonServiceUnreachable surfaces when the registration service, the authority
	// that administrators sign in with, or the proxy towards them, could not be
	// reached or is out of order. The operator
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
	// exists but cannot be used: it belongs to something else, is damaged or is for
	// another tenant. The operator never overwrites it. If it is
	// not needed any more, delete it, and the operator registers the connector
	// anew.
	ReasonIdentityInvalid = "IdentityInvalid"

	// ReasonRegistrationUncertain surfaces in an event only: the registration
	// service had a request, and its answer was lost or cannot be used. The tenant
	// may list a connector that nobody has the identity of; the message names it.
	ReasonRegistrationUncertain = "RegistrationUncertain"

	// ReasonIdentityDropped surfaces in an event only: an identity was not used for
	// spec.registration.retainUnusedSeconds and its Secret was deleted. No action is
	// needed.
	ReasonIdentityDropped = "IdentityDropped"

	// ReasonIdentityNotStored surfaces when an identity could not be written to
	// its Secret, or a trial write failed before registering. The message repeats
	// the refusal.
	ReasonIdentityNotStored = "IdentityNotStored"
)

// ConditionCertificatesCurrent is True when no connector's certificate has ended
// or is about to, and the last try to renew one, if any was due, went well. It is
// Unknown while no connector has a certificate.
const ConditionCertificatesCurrent = "CertificatesCurrent"

// Reasons of ConditionCertificatesCurrent.
const (
	// ReasonAllCurrent surfaces when CertificatesCurrent is True. The message says
	// which certificate is renewed next and when.
	ReasonAllCurrent = "AllCurrent"

	// ReasonRenewalFailed surfaces when a certificate is due for renewal and the
	// last try failed. The connector serves with the certificate it has, and the
	// operator tries again; the message says why it failed and when that is.
	ReasonRenewalFailed = "RenewalFailed"

	// ReasonRenewalUnconfirmed surfaces when a connector has not bootstrapped with
	// its renewed certificate for an hour. The other certificates are not renewed
	// meanwhile, until they are about to end. Look at the connector that the
	// message names: its pod may not run.
	ReasonRenewalUnconfirmed = "RenewalUnconfirmed"

	// ReasonRenewalOverdue surfaces when most of the time to renew a certificate
	// has passed (with the default of 30 days, when it ends in less than seven) and
	// it has not been renewed. Act on what the message says before it ends: an
	// expired certificate can only be replaced by registering anew.
	ReasonRenewalOverdue = "RenewalOverdue"

	// ReasonCertificateExpired surfaces when a certificate has ended, here and in
	// Registered. The service refuses its connector. The operator registers the
	// connector anew as soon as it is given what spec.registration asks for; the
	// tenant's old entry goes away by itself.
	ReasonCertificateExpired = "CertificateExpired"
)

// ConditionRolledOut is True when every connector that the specification asks
// for was replaced by one that runs the current specification and became
// available. It speaks of changes, not of health: a connector that breaks later
// shows in ConditionReady.
const ConditionRolledOut = "RolledOut"

// Reasons of ConditionRolledOut.
const (
	// ReasonRolledOut surfaces when RolledOut is True.
	ReasonRolledOut = "RolledOut"

	// ReasonRollingOut surfaces while connectors are replaced or made. The message
	// names the connector that is awaited and says why it is not available yet. No
	// action is needed.
	ReasonRollingOut = "RollingOut"

	// ReasonRolloutPaused surfaces when connectors run an earlier specification and
	// spec.rollout.mode is Paused. Set it to Active to go on.
	ReasonRolloutPaused = "RolloutPaused"

	// ReasonRolloutHalted surfaces when a replaced connector did not become
	// available within spec.rollout.progressDeadlineSeconds. The message names it
	// and says why. The other connectors keep serving what they run. Correct the
	// specification; or, if the cause was elsewhere and is gone, set
	// spec.rollout.mode to Paused and then to Active again.
	ReasonRolloutHalted = "RolloutHalted"

	// ReasonRolledBack surfaces when a rollout failed and the connectors were, or
	// are being, returned to the last revision that all of them ran, because
	// spec.rollout.onFailure is Rollback. The message says why it failed. Correct
	// the specification.
	ReasonRolledBack = "RolledBack"

	// ReasonAwaitingMaintenanceWindow surfaces when connectors wait for
	// spec.rollout.maintenanceWindow to be updated to the operator's release. The
	// message says when it opens.
	ReasonAwaitingMaintenanceWindow = "AwaitingMaintenanceWindow"

	// ReasonNothingToRollOut surfaces when no connector has an identity yet, so
	// that there is nothing to run.
	ReasonNothingToRollOut = "NothingToRollOut"
)

// ConditionVersionCurrent is True when every connector is made from the image
// that was released together with the operator, or from one with the same tag.
// One that is not goes on serving: nothing is ever deleted because of its
// version.
const ConditionVersionCurrent = "VersionCurrent"

// Reasons of ConditionVersionCurrent.
const (
	// ReasonVersionCurrent surfaces when VersionCurrent is True.
	ReasonVersionCurrent = "VersionCurrent"

	// ReasonVersionSkew surfaces when connectors run another version than the
	// operator's. The message names both, and says whether pod.image pins it, the
	// maintenance window is awaited or the update is under way.
	ReasonVersionSkew = "VersionSkew"

	// ReasonVersionUnknown surfaces, with the status Unknown, when the versions
	// cannot be compared: there is no connector yet, or an image has no tag.
	ReasonVersionUnknown = "VersionUnknown"

	// ReasonMaintenanceWindowInvalid surfaces when the time zone of
	// spec.rollout.maintenanceWindow is not in the operator's database. The window
	// then counts as closed. Correct the name.
	ReasonMaintenanceWindowInvalid = "MaintenanceWindowInvalid"
)

// ConditionCredentialSpecUsable is True when the connectors' pods can be given
// the group managed service accounts that the specification names, or when it
// names none.
const ConditionCredentialSpecUsable = "CredentialSpecUsable"

// Reasons of ConditionCredentialSpecUsable.
const (
	// ReasonCredentialSpecUsable surfaces when the objects exist, the pods may use
	// them, and the pods that run were given their contents.
	ReasonCredentialSpecUsable = "CredentialSpecUsable"

	// ReasonCredentialSpecNotUsed surfaces, with the status True, when the
	// specification names no GMSACredentialSpec.
	ReasonCredentialSpecNotUsed = "CredentialSpecNotUsed"

	// ReasonCredentialSpecKindMissing surfaces when the cluster does not know
	// GMSACredentialSpecs. Install the windows-gmsa project's CRD and webhook.
	ReasonCredentialSpecKindMissing = "CredentialSpecKindMissing"

	// ReasonCredentialSpecNotFound surfaces when a GMSACredentialSpec that the
	// specification names does not exist. Create it or correct the name.
	ReasonCredentialSpecNotFound = "CredentialSpecNotFound"

	// ReasonCredentialSpecNotAllowed surfaces when the ServiceAccount of the pods
	// may not "use" a GMSACredentialSpec. Bind a ClusterRole that allows it; the
	// message holds the rule. The operator never grants it.
	ReasonCredentialSpecNotAllowed = "CredentialSpecNotAllowed"

	// ReasonCredentialSpecNotExpanded surfaces when a pod runs without the contents
	// of its GMSACredentialSpec: the windows-gmsa webhook did not see the pod, which
	// therefore has no domain identity. Install or repair the webhook and delete the
	// pod.
	ReasonCredentialSpecNotExpanded = "CredentialSpecNotExpanded"

	// ReasonCredentialSpecUnknown surfaces, with the status Unknown, when the API
	// server could not be asked. The message repeats the refusal.
	ReasonCredentialSpecUnknown = "CredentialSpecUnknown"
)
