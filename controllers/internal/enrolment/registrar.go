// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const (
	// keyBits is what the service issues certificates for (protocol section 2.3).
	keyBits = 2048

	// moduleVersion is the version of the genuine agent whose requests ours look
	// like. The service turns away versions it holds for too old.
	moduleVersion = "1.5.3437.0"
)

// system describes the connector's machine to the service. Only the machine name
// has a meaning to anybody; the rest are values the service has seen.
var system = trust.SystemSettings{
	OSLanguage: "1033",
	OSLocale:   "0409",
	OSSKU:      "8",
	OSVersion:  "10.0.20348",
}

// Request is one registration.
type Request struct {
	// URL is the registration service, https://host or https://host:port.
	URL string
	// TenantID is the tenant's GUID.
	TenantID string
	// Token is the administrator's access token. It is sent and forgotten.
	Token string
	// MachineName is what the service's pages show for the connector.
	MachineName string
	// Roots are the authorities to verify the service against; nil for those of
	// the system.
	Roots *x509.CertPool
	// ProxyURL is the HTTP CONNECT proxy to use; empty for none.
	ProxyURL string
}

// Format prints the machine and tenant, never the token, whatever the verb.
func (r Request) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "registration of %q with tenant %s", r.MachineName, r.TenantID)
}

// Issued is a new identity.
type Issued struct {
	// Identity is what the certificate says.
	Identity trust.Identity
	// CertificatePEM and KeyPEM are what the identity Secret holds.
	CertificatePEM, KeyPEM []byte
}

// Format prints the connector's identifier, never the key, whatever the verb.
func (i Issued) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "identity of connector %s", i.Identity.ConnectorID)
}

// Registrar registers connectors and renews their certificates. The zero value
// works and may be used from several goroutines.
type Registrar struct{}

// Register makes a new key, asks the service for a certificate for it and checks
// that the certificate is what was asked for. It makes at most one call, within
// callDeadline; the caller decides whether to call again. Errors are *Error,
// except those of a broken random source.
//
// When it returns nil, the tenant counts one more connector: the caller must not
// lose what it returns. It may count one more, too, after an Error that is
// Uncertain.
func (Registrar) Register(ctx context.Context, req Request) (Issued, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return Issued{}, fmt.Errorf("making a private key: %w", err)
	}
	csr, err := trust.NewCSR(key)
	if err != nil {
		return Issued{}, fmt.Errorf("making a certificate request: %w", err)
	}
	settings := system
	settings.MachineName = req.MachineName
	body, err := trust.RegistrationRequest{
		CSR: csr, Token: req.Token, TenantID: req.TenantID,
		UserAgent:     "PassthroughAuthenticationConnector/" + moduleVersion,
		ModuleVersion: moduleVersion, System: settings,
	}.Marshal()
	if err != nil {
		return Issued{}, fmt.Errorf("writing the registration request: %w", err)
	}
	result, err := call(ctx, req, body)
	if err != nil {
		return Issued{}, err
	}
	return accept(req, result, key)
}

// accept checks what the service issued.
func accept(req Request, result trust.Result, key *rsa.PrivateKey) (Issued, error) {
	if !result.Successful {
		text := strings.TrimRight(clean(result.ErrorMessage, req.Token), ". ")
		if text == "" {
			text = "it gave no reason"
		}
		if tellsOfLimit(text) {
			return Issued{}, &Error{
				Reason:  v1alpha1.ReasonAgentLimitReached,
				Message: fmt.Sprintf("the tenant takes no further connector: %s; remove connectors that are not needed any more from the tenant, or lower spec.replicas", text),
				Retry:   true,
			}
		}
		return Issued{}, &Error{
			Reason:  v1alpha1.ReasonRegistrationRefused,
			Message: fmt.Sprintf("the registration service refused: %s; check that the token is of an administrator who may register connectors", text),
			Retry:   true,
		}
	}
	identity, err := checkCertificate(result.Certificate, key, req.TenantID, time.Now())
	if err != nil {
		return Issued{}, &Error{
			Reason:  v1alpha1.ReasonServiceAnswerInvalid,
			Message: fmt.Sprintf("the registration service issued a certificate that cannot be used: %s; check spec.service", clean(err.Error(), req.Token)),
			Retry:   true, cause: err, Uncertain: true,
		}
	}
	certPEM, keyPEM, err := encodePair(result.Certificate, key)
	if err != nil {
		return Issued{}, err
	}
	return Issued{Identity: identity, CertificatePEM: certPEM, KeyPEM: keyPEM}, nil
}

// tellsOfLimit reports whether a refusal is about the number of connectors, of
// which a tenant has 40 at most (protocol section 1.4). The service's texts are
// not public, so what is looked for are the words that none can do without.
func tellsOfLimit(text string) bool {
	text = strings.ToLower(text)
	counts := strings.Contains(text, "limit") || strings.Contains(text, "maximum") || strings.Contains(text, "quota")
	return counts && (strings.Contains(text, "agent") || strings.Contains(text, "connector"))
}

// call posts the request and reads the answer.
func call(ctx context.Context, req Request, body []byte) (trust.Result, error) {
	target := strings.TrimSuffix(req.URL, "/") + trust.RegistrationPath
	data, host, err := exchange(ctx, registrationService, target, body, way{roots: req.Roots, proxyURL: req.ProxyURL})
	if err != nil {
		return trust.Result{}, err
	}
	result, err := trust.ParseResult(data)
	if err != nil {
		return trust.Result{}, uncertain(invalidAnswer(registrationService, host, clean(err.Error(), req.Token), err), true)
	}
	return result, nil
}
