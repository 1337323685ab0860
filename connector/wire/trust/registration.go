// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/passthrough-dev/connector-operator/connector/wire/internal/datacontract"
)

const (
	// RegistrationPath is appended to the registration URL of a tenant.
	RegistrationPath = "/register/RegisterConnector"
	// RenewalPath is appended to the TrustRenewEndpoint that bootstrap names.
	RenewalPath = "/RenewTrustCertificate"
	// TokenAudience is the audience of the access token that registration
	// wants (protocol section 2.2).
	TokenAudience = "https://proxy.cloudwebappproxy.net/registerapp" //nolint:gosec // a resource's name, no credential
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

// Marshal returns the body to post to RegistrationPath. It refuses a request
// that the service could not serve: without a CSR, token or tenant.
func (r RegistrationRequest) Marshal() ([]byte, error) {
	switch {
	case len(r.CSR) == 0:
		return nil, errors.New("registration request has no certificate request: set CSR")
	case r.Token == "":
		return nil, errors.New("registration request has no access token: set Token")
	case r.TenantID == "":
		return nil, errors.New("registration request has no tenant: set TenantID")
	}
	var w datacontract.Writer
	w.Element("RegistrationRequest", func() {
		w.Text("Base64Csr", base64.StdEncoding.EncodeToString(r.CSR))
		w.Text("AuthenticationToken", r.Token)
		w.Nil("Base64Pkcs10Csr")
		w.Text("Feature", "ApplicationProxy")
		w.Text("FeatureString", "PassthroughAuthentication")
		w.Element("RegistrationRequestSettings", func() {
			writeSystem(&w, "SystemSettingsInformation", r.System, datacontract.XMLNS("", commonsNS))
			w.Text("PSModuleVersion", r.ModuleVersion)
			writeSystem(&w, "SystemSettings", r.System)
		})
		w.Text("TenantId", r.TenantID)
		w.Text("UserAgent", r.UserAgent)
	}, datacontract.XMLNS("", registrationNS), datacontract.XMLNS("i", datacontract.SchemaInstance))
	return w.Bytes(), nil
}

// ParseRegistrationRequest reads a body that was posted to RegistrationPath.
// Apart from the CSR, which must be there, absent elements read as "": what to
// demand of them is the service's decision, and answered in a Result.
func ParseRegistrationRequest(body []byte) (RegistrationRequest, error) {
	n, err := datacontract.Parse(body, "RegistrationRequest")
	if err != nil {
		return RegistrationRequest{}, fmt.Errorf("reading the registration request: %w", err)
	}
	csr, err := readCSR(n)
	if err != nil {
		return RegistrationRequest{}, fmt.Errorf("reading the registration request: %w", err)
	}
	settings := n.Child("RegistrationRequestSettings")
	system := settings.Child("SystemSettingsInformation")
	if system == nil {
		system = settings.Child("SystemSettings")
	}
	return RegistrationRequest{
		CSR:           csr,
		Token:         n.Value("AuthenticationToken"),
		TenantID:      n.Value("TenantId"),
		UserAgent:     n.Value("UserAgent"),
		ModuleVersion: settings.Value("PSModuleVersion"),
		System:        readSystem(system),
	}, nil
}

func writeSystem(w *datacontract.Writer, name string, s SystemSettings, attrs ...datacontract.Attr) {
	attrs = append([]datacontract.Attr{datacontract.Type("a:SystemSettings")}, attrs...)
	w.Element(name, func() {
		w.Text("a:MachineName", s.MachineName)
		w.Text("a:OsLanguage", s.OSLanguage)
		w.Text("a:OsLocale", s.OSLocale)
		w.Text("a:OsSku", s.OSSKU)
		w.Text("a:OsVersion", s.OSVersion)
	}, append(attrs, datacontract.XMLNS("a", settingsNS))...)
}

func readSystem(n *datacontract.Node) SystemSettings {
	return SystemSettings{
		MachineName: n.Value("MachineName"),
		OSLanguage:  n.Value("OsLanguage"),
		OSLocale:    n.Value("OsLocale"),
		OSSKU:       n.Value("OsSku"),
		OSVersion:   n.Value("OsVersion"),
	}
}

func readCSR(n *datacontract.Node) ([]byte, error) {
	csr, err := n.Bytes("Base64Csr")
	if err == nil && len(csr) == 0 {
		err = errors.New("element Base64Csr is empty or missing")
	}
	return csr, err
}
