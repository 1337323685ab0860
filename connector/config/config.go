// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

// APIVersion is the only version of the file there is.
const APIVersion = "connector.passthrough.dev/v1alpha1"

// Values of Service.Transport and Validation.Method.
const (
	// TransportWebSocket reaches the relay by WebSocket on PortHTTPS.
	TransportWebSocket = "WebSocket"
	// TransportAMQP reaches it by AMQP over TLS on PortAMQP, and meets it on
	// PortRendezvous.
	TransportAMQP = "AMQP"
	// MethodLDAP binds to domain controllers as the user.
	MethodLDAP = "LDAP"
	// MethodLogonUser makes a network logon of Windows, on which it depends.
	MethodLogonUser = "LogonUser"
)

// Defaults of fields that a file may leave out.
const (
	DefaultTimeoutSeconds = 10
	DefaultMaxConcurrent  = 64
	DefaultHealthPort     = 8080
)

// Config is the connector's configuration file. It is JSON; a field it does not
// know is an error, so that a misspelt one cannot silently mean its default.
type Config struct {
	// APIVersion must be the constant of that name.
	APIVersion string `json:"apiVersion"`
	// TenantID is the GUID of the tenant. It must agree with the certificate.
	TenantID string `json:"tenantID"`
	// MachineName is what the portal shows: at most 64 letters, digits, dots,
	// dashes and underscores.
	MachineName string     `json:"machineName"`
	Identity    Identity   `json:"identity"`
	Service     Service    `json:"service"`
	Validation  Validation `json:"validation"`
	Health      Health     `json:"health"`
	Log         Log        `json:"log"`

	// Digest is the Digest of the bytes this was parsed from; empty if it was
	// not parsed. It is not part of the file.
	Digest string `json:"-"`
}

// Identity names the files of the connector's certificate and key, both PEM.
// Relative names are relative to the directory of the configuration file.
type Identity struct {
	CertificateFile string `json:"certificateFile"`
	KeyFile         string `json:"keyFile"`
}

// Service says how to reach the cloud and which hosts to believe.
type Service struct {
	// BootstrapURL is https://host or https://host:port, without the path, the
	// tenant already filled in. Its host must match ServiceSuffixes.
	BootstrapURL string `json:"bootstrapURL"`
	// Transport is WebSocket or AMQP.
	Transport string `json:"transport"`
	// ProxyURL, if not empty, is an HTTP CONNECT proxy: http://host:port.
	ProxyURL string `json:"proxyURL,omitempty"`
	// ServiceSuffixes pin the hosts to which responses go, such as
	// ".msappproxy.net".
	ServiceSuffixes []string `json:"serviceSuffixes"`
	// RelaySuffixes pin the hosts of signalling and rendezvous, such as
	// ".servicebus.windows.net".
	RelaySuffixes []string `json:"relaySuffixes"`
	// CAFile is a PEM bundle that replaces the system's roots; empty: system.
	CAFile string `json:"caFile,omitempty"`
}

// Validation says how passwords are checked.
type Validation struct {
	// Method is LDAP or LogonUser.
	Method string `json:"method"`
	// TimeoutSeconds bounds one validation: 1 to 14. The cloud waits 15 seconds
	// for the whole answer.
	TimeoutSeconds int `json:"timeoutSeconds"`
	// MaxConcurrent bounds the validations at one time: 1 to 1024.
	MaxConcurrent int `json:"maxConcurrent"`
	// LDAP is required by the method of that name, and goes with no other.
	LDAP *LDAP `json:"ldap,omitempty"`
	// LogonUser is required by the method of that name, and goes with no other.
	LogonUser *LogonUser `json:"logonUser,omitempty"`
}

// LogonUser says what Windows is asked with.
type LogonUser struct {
	// Domains are the DNS names of domains, or user principal name suffixes, whose
	// domain controllers must be there for the connector to serve: the check with
	// a random credential asks each of them. Users of others that the computer's
	// domain trusts are validated, too.
	Domains []string `json:"domains"`
}

// LDAP lists the directories.
type LDAP struct {
	Forests []Forest `json:"forests"`
}

// Forest is one directory and the users it knows.
type Forest struct {
	// Suffixes are the user principal name suffixes, such as contoso.example.
	Suffixes []string `json:"suffixes"`
	// Servers are ldaps://host or ldaps://host:port, tried in order; with StartTLS,
	// ldap://host or ldap://host:port. There is no clear-text form: a bind carries
	// the password. They are left out with Discovery, and only then.
	Servers []string `json:"servers,omitempty"`
	// Discovery finds the servers by DNS.
	Discovery *Discovery `json:"discovery,omitempty"`
	// StartTLS has TLS begin on a connection to the port of plain LDAP, before
	// anything else is said on it.
	StartTLS bool `json:"startTLS,omitempty"`
	// CAFile is a PEM bundle that replaces the system's roots; empty: system.
	CAFile string `json:"caFile,omitempty"`
}

// Discovery says where in DNS the domain controllers of a forest are.
type Discovery struct {
	// Domain is the DNS name of an Active Directory domain of the forest. Domain
	// controllers elsewhere are not believed.
	Domain string `json:"domain"`
	// Site is the Active Directory site whose domain controllers are asked first;
	// empty: all are equal.
	Site string `json:"site,omitempty"`
}

// Health configures the server of probes, status and metrics.
type Health struct {
	Port int `json:"port"`
}

// Log configures logging.
type Log struct {
	// Level is 0 (changes), 1 (decisions) or 2 and more (tracing).
	Level int `json:"level"`
}
