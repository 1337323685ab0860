// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PassthroughConnector runs the pass-through authentication connectors of one
// tenant. The operator registers each of them once, keeps its key and
// certificate in a Secret of its own, runs it as a pod that mounts only that
// Secret, and reports in status which of them serve sign-ins.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:shortName=ptc,categories=all
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=".status.readyReplicas",description="Connectors that serve sign-ins"
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=".spec.replicas",description="Connectors asked for"
// +kubebuilder:printcolumn:name="Current",type=integer,JSONPath=".status.replicas",description="Connector pods that exist"
// +kubebuilder:printcolumn:name="Certificates Until",type=string,JSONPath=".status.certificatesUntil",description="When the first of the connectors' certificates ends"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].reason",description="Reason of the Ready condition"
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].message",description="What is wrong, and what to do about it"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 40 characters long, begin with a letter and hold only lower-case letters, digits and dashes, because the names of Deployments, Services and pods are made from it: choose another name",reason=FieldValueInvalid
type PassthroughConnector struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata. The name is the beginning of the
	// names of all objects that the operator makes.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the connectors shall be.
	//
	// +required
	Spec PassthroughConnectorSpec `json:"spec,omitzero"`

	// status is what the operator found. It is output only.
	//
	// +optional
	Status PassthroughConnectorStatus `json:"status,omitzero"`
}

// PassthroughConnectorList is a list of PassthroughConnectors.
//
// +kubebuilder:object:root=true
type PassthroughConnectorList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard list's metadata.
	//
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the PassthroughConnectors.
	Items []PassthroughConnector `json:"items"`
}

// PassthroughConnectorSpec is what the connectors shall be.
//
// +kubebuilder:validation:XValidation:rule="!has(self.identity) || !has(self.identity.gmsaCredentialSpecNames) || self.identity.gmsaCredentialSpecNames.size() <= 1 || self.identity.gmsaCredentialSpecNames.size() >= self.replicas",message="identity.gmsaCredentialSpecNames must hold no name, one name for all connectors, or a name for each replica: add names or lower replicas",fieldPath=".identity.gmsaCredentialSpecNames",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="!has(self.identity) || !has(self.identity.gmsaCredentialSpecNames) || self.identity.gmsaCredentialSpecNames.size() == 0 || self.pod.os == 'Windows'",message="identity.gmsaCredentialSpecNames has an effect on Windows only: remove it or set pod.os to Windows",fieldPath=".identity.gmsaCredentialSpecNames",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="self.validation.method != 'LogonUser' || self.pod.os == 'Windows'",message="validation.method LogonUser is a function of Windows: set pod.os to Windows or validation.method to LDAP",fieldPath=".validation.method",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="self.validation.method != 'LogonUser' || (has(self.identity) && has(self.identity.gmsaCredentialSpecNames) && self.identity.gmsaCredentialSpecNames.size() > 0)",message="validation.method LogonUser needs pods that have an account in the domain: name a GMSACredentialSpec in identity.gmsaCredentialSpecNames",fieldPath=".identity.gmsaCredentialSpecNames",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="!has(self.egress.proxyCIDRs) || has(self.service.proxyURL)",message="egress.proxyCIDRs has an effect with service.proxyURL only: remove it or set the proxy",fieldPath=".egress.proxyCIDRs",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="!has(self.egress.cloudCIDRs) || !has(self.service.proxyURL)",message="egress.cloudCIDRs has no effect with service.proxyURL, because the connectors reach the cloud through the proxy alone: remove it, and set egress.proxyCIDRs if the proxy is named by a name",fieldPath=".egress.cloudCIDRs",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="self.egress.mode != 'CiliumNetworkPolicy' || self.pod.os == 'Linux'",message="egress.mode CiliumNetworkPolicy limits pods on Linux nodes only: set pod.os to Linux or choose another mode",fieldPath=".egress.mode",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="!has(self.egress.serviceTags) || !has(self.service.proxyURL)",message="egress.serviceTags has no effect with service.proxyURL, because the connectors reach the cloud through the proxy alone: remove it",fieldPath=".egress.serviceTags",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="!has(self.egress.revocationCIDRs) || !has(self.service.proxyURL)",message="egress.revocationCIDRs has no effect with service.proxyURL, because the connectors reach the revocation hosts through the proxy alone: remove it",fieldPath=".egress.revocationCIDRs",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="self.service.transport != 'AMQP' || self.egress.ports == 'Documented' || self.egress.mode == 'None' || has(self.service.proxyURL)",message="service.transport AMQP uses ports that egress.ports HTTPSOnly does not open: set egress.ports to Documented or transport to WebSocket",fieldPath=".egress.ports",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="!has(self.registration.deviceCode) || self.service.cloud != 'Custom' || !has(self.service.custom) || has(self.service.custom.loginURL)",message="registration.deviceCode in a custom cloud needs service.custom.loginURL: give the authority that administrators sign in with",fieldPath=".registration.deviceCode",reason=FieldValueInvalid
type PassthroughConnectorSpec struct {
	// tenantID is the identifier of the tenant whose users the connectors check, a
	// GUID, as the tenant's overview page shows it. It cannot be changed: the
	// identities of the connectors belong to it.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') && self != '00000000-0000-0000-0000-000000000000'",message="tenantID must be a GUID such as 6f5e4d3c-2b1a-4908-8716-253443526170: copy it from the tenant's overview page",reason=FieldValueInvalid
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="tenantID cannot be changed: create another PassthroughConnector for another tenant"
	TenantID string `json:"tenantID,omitempty"`

	// replicas is how many connectors run. Each has an identity of its own in the
	// tenant; a tenant can have 40. Two or more keep sign-ins working while one is
	// replaced. Identities of replicas that are taken away are kept, and used again
	// when replicas are added.
	//
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=40
	Replicas *int32 `json:"replicas,omitempty"`

	// service is the cloud that the connectors belong to and the way to it.
	//
	// +optional
	// +kubebuilder:default={cloud: "AzurePublic", transport: "WebSocket"}
	Service ServiceSpec `json:"service,omitzero"`

	// registration is how the operator proves that it may register connectors in
	// the tenant. It is needed only while a connector without an identity exists.
	//
	// +required
	Registration RegistrationSpec `json:"registration,omitzero"`

	// certificate is when the connectors' certificates are renewed.
	//
	// +optional
	Certificate CertificateSpec `json:"certificate,omitzero"`

	// identity is the domain identity that the connectors' processes have on the
	// network. Leave it out if validation does not need one.
	//
	// +optional
	Identity IdentitySpec `json:"identity,omitzero"`

	// validation is how a connector checks a password.
	//
	// +required
	Validation ValidationSpec `json:"validation,omitzero"`

	// egress is where the connectors may connect to.
	//
	// +optional
	// +kubebuilder:default={mode: "NetworkPolicy", ports: "Documented"}
	Egress EgressSpec `json:"egress,omitzero"`

	// rollout is how a change reaches the connectors that run.
	//
	// +optional
	// +kubebuilder:default={mode: "Active", onFailure: "Halt", maxUnavailable: 1, minReadySeconds: 20, progressDeadlineSeconds: 900}
	Rollout RolloutSpec `json:"rollout,omitzero"`

	// pod is how the pods of the connectors look.
	//
	// +optional
	// +kubebuilder:default={os: "Windows"}
	Pod PodSpec `json:"pod,omitzero"`
}

// IdentitySpec is the domain identity of the connectors' processes.
//
// +kubebuilder:validation:MinProperties=1
type IdentitySpec struct {
	// gmsaCredentialSpecNames are the names of GMSACredentialSpec objects, which
	// give a Windows pod the identity of a group managed service account. One name
	// is for all connectors; otherwise there must be one for each replica, in the
	// order of their indexes, which is the remedy if connectors that share an
	// account lose their trust in the domain.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=40
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a GMSACredentialSpec: lower-case letters, digits, dashes and dots"
	GMSACredentialSpecNames []string `json:"gmsaCredentialSpecNames,omitempty"`
}

// SecretKeyReference names a key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name is the name of the Secret.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key is the key in the Secret's data.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// ConfigMapKeyReference names a key of a ConfigMap in the same namespace.
type ConfigMapKeyReference struct {
	// name is the name of the ConfigMap.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key is the key in the ConfigMap's data.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}
