// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Cloud names a cloud whose endpoints are known, or Custom.
//
// +kubebuilder:validation:Enum=AzurePublic;AzureUSGovernment;Custom
type Cloud string

// The clouds.
const (
	// CloudAzurePublic is the commercial cloud.
	CloudAzurePublic Cloud = "AzurePublic"
	// CloudAzureUSGovernment is the cloud of the government of the United States.
	CloudAzureUSGovernment Cloud = "AzureUSGovernment"
	// CloudCustom is a service whose endpoints spec.service.custom gives.
	CloudCustom Cloud = "Custom"
)

// Transport is how a connector's long-lived links to the relay are carried.
//
// +kubebuilder:validation:Enum=WebSocket;AMQP
type Transport string

// The transports.
const (
	// TransportWebSocket carries all traffic in WebSockets on port 443.
	TransportWebSocket Transport = "WebSocket"
	// TransportAMQP carries links as AMQP over TLS on port 5671, and relayed
	// connections over TLS on port 9352.
	TransportAMQP Transport = "AMQP"
)

// ServiceSpec is the cloud that the connectors belong to and the way to it.
//
// +kubebuilder:validation:XValidation:rule="self.cloud != 'Custom' || has(self.custom)",message="custom is required when cloud is Custom: give the endpoints of the service",fieldPath=".custom",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="self.cloud == 'Custom' || !has(self.custom)",message="custom may be set only when cloud is Custom: remove it or set cloud to Custom",fieldPath=".custom",reason=FieldValueForbidden
type ServiceSpec struct {
	// cloud is the cloud that the tenant is in.
	//
	// +optional
	// +kubebuilder:default=AzurePublic
	Cloud Cloud `json:"cloud,omitempty"`

	// transport is how the long-lived links to the relay and the relayed
	// connections are carried: WebSocket, all on port 443; or AMQP, links on port
	// 5671 and relayed connections on port 9352, for networks that do not let
	// WebSockets through. Changing it restarts the connectors, one configuration
	// at a time.
	//
	// +optional
	// +kubebuilder:default=WebSocket
	Transport Transport `json:"transport,omitempty"`

	// custom gives the endpoints of a service that is not one of the known clouds,
	// such as an emulator for tests.
	//
	// +optional
	Custom *CustomCloud `json:"custom,omitempty"`

	// proxyURL is an HTTP proxy that all connections to the cloud are made
	// through, by CONNECT, for example http://proxy.contoso.example:3128. It must
	// not inspect TLS. Both the operator and the connectors use it. Credentials
	// cannot be given.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^http://([A-Za-z0-9.-]+|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})$')",message="proxyURL must be an http:// URL of a host and a port without credentials, such as http://proxy.contoso.example:3128",reason=FieldValueInvalid
	ProxyURL string `json:"proxyURL,omitempty"`
}

// CustomCloud gives the endpoints of a service that is not one of the known
// clouds.
//
// +kubebuilder:validation:XValidation:rule="!isURL(self.bootstrapURL.replace('{tenantID}', 'tenant')) || self.serviceHostSuffixes.exists(s, url(self.bootstrapURL.replace('{tenantID}', 'tenant')).getHostname().endsWith(s))",message="the host of bootstrapURL must end in one of serviceHostSuffixes: correct the URL or add its suffix",fieldPath=".bootstrapURL",reason=FieldValueInvalid
type CustomCloud struct {
	// registrationURL is the registration service, https://host or
	// https://host:port. {tenantID} in it is replaced by the tenant's identifier.
	// Example:
	// https://{tenantID}.registration.msappproxy.test
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://([a-z0-9-]|[{]tenantID[}])+([.]([a-z0-9-]|[{]tenantID[}])+)*(:[0-9]{1,5})?$')",message="registrationURL must be an https:// URL of a host in lower case without a path, such as https://{tenantID}.registration.msappproxy.test",reason=FieldValueInvalid
	RegistrationURL string `json:"registrationURL,omitempty"`

	// bootstrapURL is the bootstrap service, https://host or https://host:port.
	// {tenantID} in it is replaced by the tenant's identifier. Its host must end in
	// one of serviceHostSuffixes.
	// Example: https://{tenantID}.pta.bootstrap.his.msappproxy.test
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://([a-z0-9-]|[{]tenantID[}])+([.]([a-z0-9-]|[{]tenantID[}])+)*(:[0-9]{1,5})?$')",message="bootstrapURL must be an https:// URL of a host in lower case without a path, such as https://{tenantID}.pta.bootstrap.his.msappproxy.test",reason=FieldValueInvalid
	BootstrapURL string `json:"bootstrapURL,omitempty"`

	// loginURL is the authority that administrators sign in with, https://host or
	// https://host:port. It is needed for registration.deviceCode only, and asked
	// for codes and tokens below /{tenantID}/oauth2/v2.0/. {tenantID} in it is
	// replaced by the tenant's identifier. Example: https://login.msappproxy.test
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://([a-z0-9-]|[{]tenantID[}])+([.]([a-z0-9-]|[{]tenantID[}])+)*(:[0-9]{1,5})?$')",message="loginURL must be an https:// URL of a host in lower case without a path, such as https://login.msappproxy.test",reason=FieldValueInvalid
	LoginURL string `json:"loginURL,omitempty"`

	// serviceHostSuffixes are the endings that the hosts of the service must have,
	// each with its leading dot. A connector sends answers to no other host,
	// whatever it is told by the wire. Example: .msappproxy.test
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	ServiceHostSuffixes []HostSuffix `json:"serviceHostSuffixes,omitempty"`

	// relayHostSuffixes are the endings that the hosts of the relay must have,
	// each with its leading dot. Example: .servicebus.test
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	RelayHostSuffixes []HostSuffix `json:"relayHostSuffixes,omitempty"`

	// caBundleRef names a key of a ConfigMap with the PEM certificates of the
	// authorities that the service's hosts are verified against. Without it the
	// authorities of the operator's and the connector's systems are used.
	//
	// +optional
	CABundleRef *ConfigMapKeyReference `json:"caBundleRef,omitempty"`
}

// HostSuffix is the ending of host names, with its leading dot.
//
// +kubebuilder:validation:MinLength=4
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^([.][a-z0-9]([-a-z0-9]*[a-z0-9])?){2,}$')",message="a host suffix must be a dot and at least two labels in lower case, such as .msappproxy.test",reason=FieldValueInvalid
type HostSuffix string
