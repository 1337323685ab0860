// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// RegistrationSpec is how the operator proves that it may register connectors.
//
// +kubebuilder:validation:XValidation:rule="has(self.tokenSecretRef) != has(self.deviceCode)",message="exactly one of tokenSecretRef and deviceCode must be set: name a Secret with a token, or let an administrator sign in by device code",reason=FieldValueInvalid
type RegistrationSpec struct {
	// tokenSecretRef names a key of a Secret that holds an access token for the
	// registration service, issued to an administrator of the tenant. The operator
	// reads it only when a connector has to be registered; it never reaches a pod.
	// It may be deleted once all connectors are registered.
	//
	// +optional
	TokenSecretRef *SecretKeyReference `json:"tokenSecretRef,omitempty"`

	// deviceCode lets the operator ask an administrator of the tenant to sign in
	// (RFC 8628). When a connector has to be registered, the condition Registered
	// and an event show an address and a code to enter there. What the sign-in
	// gives, a refresh token, is kept in the Secret <name>-registration, so that
	// later registrations need nobody. Delete that Secret to have the operator ask
	// again. {} is enough.
	//
	// +optional
	DeviceCode *DeviceCodeRegistration `json:"deviceCode,omitempty"`

	// retainUnusedSeconds is how long the identity of a connector is kept after
	// replicas was lowered, from 0 to 10 days. Until then it is used again when
	// replicas is raised, without a registration; after that its Secret is deleted.
	// The service removes a connector that stays away for ten days, and counts it
	// until then.
	//
	// +optional
	// +kubebuilder:default=864000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=864000
	RetainUnusedSeconds *int32 `json:"retainUnusedSeconds,omitempty"`
}

// DefaultClientID is the application that administrators sign in to unless
// DeviceCodeRegistration names another: the service's own, which its installer
// uses to get registration tokens (protocol section 2.2).
const DefaultClientID = "cb1056e2-e479-49de-ae31-7812af012ed8"

// DeviceCodeRegistration is the sign-in of an administrator by device code.
type DeviceCodeRegistration struct {
	// clientID is the identifier of the application that the administrator signs
	// in to, a GUID. The default is that of the service's own installer, which may
	// ask for registration tokens in every tenant. Changing it makes the operator
	// ask again.
	//
	// +optional
	// +kubebuilder:default="cb1056e2-e479-49de-ae31-7812af012ed8"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')",message="clientID must be a GUID: copy it from the application's overview page, or remove it to use the service's own application",reason=FieldValueInvalid
	ClientID string `json:"clientID,omitempty"`
}
