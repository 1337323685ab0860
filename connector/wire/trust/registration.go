// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import "fmt"

const (
	// RegistrationPath is appended to the registration URL of a tenant.
	RegistrationPath = "/register/RegisterConnector"
	// RenewalPath is appended to the TrustRenewEndpoint that bootstrap names.
	RenewalPath = "/RenewTrustCertificate"
	// TokenAudience is the audience of the access token that registration
	// wants (protocol section 2.2).
	TokenAudience = "https://proxy.cloudwebappproxy.net/registerapp"
	// ContentType goes with both requests and both answers.
	ContentType = "application/xml; charset=utf-8"
)

const (
	registrationNS = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.Registration"
	commonsNS      = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.RegistrationCommons"
	settingsNS     = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.Utilities.SystemSettings"
	renewalNS      = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.Registration.TrustRenewal"
)

// SystemSettings describe the machine to the service. None of them decides
// anything; MachineName is what the portal shows.
type SystemSettings struct {
	MachineName string // fully qualified, such as server1.contoso.example
	OSLanguage  string // decimal locale identifier, such as 1033
	OSLocale    string // four hex digits, such as 0409
	OSSKU       string // such as 7, 8 or 79
	OSVersion   string // such as 10.0.20348
}

// RegistrationRequest asks for a first certificate (protocol section 2.1).
// Printing one does not reveal the token.
type RegistrationRequest struct {
	CSR           []byte // DER, from NewCSR
	Token         string `json:"-"` // the raw access token, without "Bearer "
	TenantID      string
	UserAgent     string // PassthroughAuthenticationConnector/<version>
	ModuleVersion string // such as 1.5.3437.0
	System        SystemSettings
}

// Format prints the tenant and machine and never the token, whatever the verb.
func (r RegistrationRequest) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "registration of %q with tenant %q", r.System.MachineName, r.TenantID)
}
