// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
)

// Cloud names an instance of the service.
type Cloud string

// The clouds whose endpoints are known.
const (
	AzurePublic       Cloud = "AzurePublic"
	AzureUSGovernment Cloud = "AzureUSGovernment"
)

// TenantPlaceholder stands for the tenant's GUID in URLs of [Endpoints].
const TenantPlaceholder = "{tenantID}"

// Endpoints are what must be known of a cloud before anything was asked of it.
// The relay, response and renewal hosts come from the wire.
type Endpoints struct {
	RegistrationURL string // trust.RegistrationPath is appended
	BootstrapURL    string // bootstrap.Path is appended
	ServiceSuffixes []string
	RelaySuffixes   []string
	LoginURL        string   // of the authority that device codes come from; empty if there is none
	LoginHosts      []string // where tokens come from; may hold *.example
	RevocationHosts []string // of the authorities of the service's certificates, HTTP
}

// revocationHosts are documented for the public cloud (protocol 1.1). That the
// other clouds use the same authorities is inferred.
var revocationHosts = []string{
	"crl.microsoft.com", "crl3.digicert.com", "crl4.digicert.com", "mscrl.microsoft.com",
	"ocsp.digicert.com", "ocsp.msocsp.com", "www.d-trust.net", "www.microsoft.com",
}

// CloudEndpoints returns the endpoints of a cloud, with TenantPlaceholder in
// the URLs; see [Endpoints.For].
func CloudEndpoints(cloud Cloud) (Endpoints, error) {
	switch cloud {
	case AzurePublic:
		// Documented wildcards and hosts seen in captures.
		return Endpoints{
			RegistrationURL: "https://{tenantID}.registration.msappproxy.net",
			BootstrapURL:    "https://{tenantID}.pta.bootstrap.his.msappproxy.net",
			ServiceSuffixes: []string{".msappproxy.net"},
			RelaySuffixes:   []string{".servicebus.windows.net"},
			LoginURL:        "https://login.microsoftonline.com",
			LoginHosts:      []string{"login.microsoftonline.com", "login.windows.net", "secure.aadcdn.microsoftonline-p.com"},
			RevocationHosts: revocationHosts,
		}, nil
	case AzureUSGovernment:
		// The suffixes are documented. The two hosts are inferred from those of
		// the public cloud: no capture from this cloud is public.
		return Endpoints{
			RegistrationURL: "https://{tenantID}.registration.msappproxy.us",
			BootstrapURL:    "https://{tenantID}.pta.bootstrap.his.msappproxy.us",
			ServiceSuffixes: []string{".msappproxy.us"},
			RelaySuffixes:   []string{".servicebus.usgovcloudapi.net"},
			LoginURL:        "https://login.microsoftonline.us",
			LoginHosts:      []string{"*.microsoftonline.us", "login.windows.us"},
			RevocationHosts: revocationHosts,
		}, nil
	default:
		return Endpoints{}, fmt.Errorf("the endpoints of cloud %.48q are not known: use %s, %s, or give them yourself", string(cloud), AzurePublic, AzureUSGovernment)
	}
}

// For returns the endpoints with the tenant filled into the URLs, in lower case
// as the service writes it.
func (e Endpoints) For(tenantID string) Endpoints {
	tenantID = strings.ToLower(tenantID)
	e.RegistrationURL = strings.ReplaceAll(e.RegistrationURL, TenantPlaceholder, tenantID)
	e.BootstrapURL = strings.ReplaceAll(e.BootstrapURL, TenantPlaceholder, tenantID)
	e.LoginURL = strings.ReplaceAll(e.LoginURL, TenantPlaceholder, tenantID)
	return e
}
