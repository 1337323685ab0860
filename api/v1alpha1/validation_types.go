// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ValidationMethod is how a connector checks a password.
//
// +kubebuilder:validation:Enum=LDAP;LogonUser
type ValidationMethod string

// The methods.
const (
	// ValidationLDAP checks a password by a simple bind to a directory server over
	// TLS.
	ValidationLDAP ValidationMethod = "LDAP"
	// ValidationLogonUser checks a password by a network logon of Windows, as the
	// service's own agent does.
	ValidationLogonUser ValidationMethod = "LogonUser"
)

// ValidationSpec is how a connector checks a password. A connector that finds
// that its validator accepts a password it cannot have set serves no sign-in.
//
// +kubebuilder:validation:XValidation:rule="self.method != 'LDAP' || has(self.ldap)",message="ldap is required when method is LDAP: give the forests and their servers",fieldPath=".ldap",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="self.method == 'LDAP' || !has(self.ldap)",message="ldap has an effect when method is LDAP only: remove it",fieldPath=".ldap",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="self.method != 'LogonUser' || has(self.logonUser)",message="logonUser is required when method is LogonUser: give the domains",fieldPath=".logonUser",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="self.method == 'LogonUser' || !has(self.logonUser)",message="logonUser has an effect when method is LogonUser only: remove it",fieldPath=".logonUser",reason=FieldValueForbidden
type ValidationSpec struct {
	// method is how a password is checked. LDAP is a simple bind to a domain
	// controller over TLS. LogonUser is a network logon of Windows, as the
	// service's own agent makes it: it needs Windows pods with a group managed
	// service account (identity.gmsaCredentialSpecNames).
	//
	// +required
	Method ValidationMethod `json:"method,omitempty"`

	// timeoutSeconds is how long one check may take. The service gives up a
	// sign-in after 15 seconds.
	//
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=14
	TimeoutSeconds *int32 `json:"timeoutSeconds,omitempty"`

	// maxConcurrent is how many checks one connector makes at the same time.
	// Further requests are answered with an error of the infrastructure, never
	// with a wrong password.
	//
	// +optional
	// +kubebuilder:default=64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	MaxConcurrent *int32 `json:"maxConcurrent,omitempty"`

	// ldap is what method LDAP needs.
	//
	// +optional
	LDAP *LDAPValidation `json:"ldap,omitempty"`

	// logonUser is what method LogonUser needs.
	//
	// +optional
	LogonUser *LogonUserValidation `json:"logonUser,omitempty"`
}

// LogonUserValidation says what Windows is asked with.
type LogonUserValidation struct {
	// domains are DNS names of domains, or UPN suffixes, for example
	// contoso.example. A connector serves only while Windows refuses a random user
	// of each with a random password, for which it has to find a domain controller.
	// Users of other domains that the account's domain trusts are checked, too.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Domains []UPNSuffix `json:"domains,omitempty"`
}

// LDAPValidation says which directory servers know which users.
type LDAPValidation struct {
	// forests are the directories. A user is looked for in the forest that has the
	// longest matching UPN suffix.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Forests []LDAPForest `json:"forests,omitempty"`
}

// LDAPForest is one directory: its users and its servers.
//
// +kubebuilder:validation:XValidation:rule="has(self.servers) != has(self.discovery)",message="give servers, or discovery to find them by DNS: one of the two",fieldPath=".servers",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="!has(self.servers) || self.servers.all(s, s.startsWith(has(self.startTLS) && self.startTLS ? 'ldap://' : 'ldaps://'))",message="a server must be ldaps://host:port, such as ldaps://dc1.contoso.example:636, or with startTLS ldap://host:port; a connection without TLS would show passwords to the network",fieldPath=".servers",reason=FieldValueInvalid
type LDAPForest struct {
	// upnSuffixes are the parts after the @ of the user principal names that this
	// forest knows, for example contoso.example. A suffix must not be in two
	// forests.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	UPNSuffixes []UPNSuffix `json:"upnSuffixes,omitempty"`

	// servers are the domain controllers, as ldaps://host:port; with startTLS, as
	// ldap://host:port. They are tried in turn when one cannot be reached.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Servers []LDAPServer `json:"servers,omitempty"`

	// discovery finds the domain controllers by DNS, in place of servers.
	//
	// +optional
	Discovery *LDAPDiscovery `json:"discovery,omitempty"`

	// startTLS has TLS begin on a connection to the port of plain LDAP, 389, before
	// anything else is said on it. A domain controller that does not take it is not
	// used. Without it TLS begins with the first byte, on port 636.
	//
	// +optional
	StartTLS *bool `json:"startTLS,omitempty"`

	// caBundleRef names a key of a ConfigMap with the PEM certificates of the
	// authorities that the servers are verified against. Without it the
	// authorities of the connector's system are used.
	//
	// +optional
	CABundleRef *ConfigMapKeyReference `json:"caBundleRef,omitempty"`
}

// LDAPDiscovery says where in DNS the domain controllers of a forest are: in the
// service records that they register themselves. The pods' name servers must know
// the domain.
type LDAPDiscovery struct {
	// domain is the DNS name of an Active Directory domain of the forest, for
	// example corp.contoso.example. Hosts outside it are not believed to be domain
	// controllers.
	//
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)+$')",message="domain must be the DNS name of a domain, such as corp.contoso.example",reason=FieldValueInvalid
	Domain string `json:"domain,omitempty"`

	// site is the Active Directory site whose domain controllers are asked first.
	// The others are asked when those of the site cannot be reached.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$')",message="site must be the name of an Active Directory site: letters, digits and hyphens",reason=FieldValueInvalid
	Site string `json:"site,omitempty"`
}

// UPNSuffix is the part after the @ of user principal names.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$')",message="a UPN suffix must be a domain name without @, such as contoso.example",reason=FieldValueInvalid
type UPNSuffix string

// LDAPServer is the URL of a directory server.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=300
// +kubebuilder:validation:XValidation:rule="self.matches('^ldaps?://([A-Za-z0-9.-]+|\\\\[[0-9A-Fa-f:.]+\\\\]):[0-9]{1,5}$')",message="a server must be ldaps://host:port, such as ldaps://dc1.contoso.example:636, or with startTLS ldap://host:port",reason=FieldValueInvalid
type LDAPServer string
