// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

// RenewalRequest is one renewal.
type RenewalRequest struct {
	// BootstrapURL is the bootstrap service, https://host or https://host:port. It
	// names the renewal service.
	BootstrapURL string
	// AllowURL decides whether a renewal service that the bootstrap named may be
	// called; the error says in a few words why not.
	AllowURL func(url string) error
	// Due decides, knowing how long before its end the service wants a certificate
	// to be renewed, whether it is time.
	Due func(renewBefore time.Duration) bool
	// TenantID is the tenant's GUID.
	TenantID string
	// MachineName is what the service's pages show for the connector. It is the
	// connector's own, so that the pages do not change.
	MachineName string
	// CertificatePEM and KeyPEM are the current pair.
	CertificatePEM, KeyPEM []byte
	// Roots are the authorities to verify the services against; nil for those of
	// the system.
	Roots *x509.CertPool
	// ProxyURL is the HTTP CONNECT proxy to use; empty for none.
	ProxyURL string
}

// Format prints the machine and tenant, never the key, whatever the verb.
func (r RenewalRequest) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "renewal of %q with tenant %s", r.MachineName, r.TenantID)
}

// Renewed is what became of a renewal.
type Renewed struct {
	// Issued is the new identity; nil if the service wants the certificate to be
	// renewed later.
	Issued *Issued
	// RenewBefore is how long before its end the service wants a certificate to be
	// renewed.
	RenewBefore time.Duration
}

// Renew gets a certificate over a new key for the connector that the current pair
// belongs to (protocol section 3): it bootstraps to learn where, and asks there.
// Both calls are made with the current certificate, and each within callDeadline.
// Errors are *Error, except those of a broken random source.
//
// The current certificate stays good. But a bootstrap tells the service that its
// certificate is in use, so that it forgets older ones: do not call Renew while a
// connector may still need one.
func (Registrar) Renew(ctx context.Context, req RenewalRequest) (Renewed, error) {
	current, err := tls.X509KeyPair(req.CertificatePEM, req.KeyPEM)
	if err != nil {
		return Renewed{}, errors.New("the current certificate and key are not a pair") // the parser may quote the key
	}
	identity, err := trust.ParseIdentity(current.Leaf)
	if err != nil {
		return Renewed{}, fmt.Errorf("reading the current certificate: %w", err)
	}
	w := way{roots: req.Roots, proxyURL: req.ProxyURL, certificate: &current}
	settings := system
	settings.MachineName = req.MachineName
	answer, err := askWhere(ctx, req, identity, settings, w)
	if err != nil {
		return Renewed{}, err
	}
	renewed := Renewed{RenewBefore: answer.RenewBefore()}
	if !req.Due(renewed.RenewBefore) {
		return renewed, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return Renewed{}, fmt.Errorf("making a private key: %w", err)
	}
	csr, err := trust.NewCSR(key)
	if err != nil {
		return Renewed{}, fmt.Errorf("making a certificate request: %w", err)
	}
	body, err := trust.RenewalRequest{CSR: csr, ConnectorVersion: moduleVersion, System: settings}.Marshal()
	if err != nil {
		return Renewed{}, fmt.Errorf("writing the renewal request: %w", err)
	}
	target := strings.TrimSuffix(answer.TrustRenewEndpoint, "/") + trust.RenewalPath
	data, host, err := exchange(ctx, renewalService, target, body, w)
	if err != nil {
		return Renewed{}, err
	}
	result, err := trust.ParseResult(data)
	if err != nil {
		return Renewed{}, invalidAnswer(renewalService, host, clean(err.Error(), ""), err)
	}
	issued, err := acceptRenewal(req, identity, result, key)
	if err != nil {
		return Renewed{}, err
	}
	renewed.Issued = &issued
	return renewed, nil
}

// askWhere bootstraps and checks where the certificate is to be renewed.
func askWhere(ctx context.Context, req RenewalRequest, identity trust.Identity, settings trust.SystemSettings, w way) (bootstrap.Response, error) {
	body, err := bootstrap.Request{
		TenantID: identity.TenantID, ConnectorID: identity.ConnectorID, RequestID: guid.New().String(),
		AgentVersion: moduleVersion, System: settings, ProxyPortFallbackDisabled: true,
	}.Marshal()
	if err != nil {
		return bootstrap.Response{}, fmt.Errorf("writing the bootstrap request: %w", err)
	}
	data, host, err := exchange(ctx, bootstrapService, strings.TrimSuffix(req.BootstrapURL, "/")+bootstrap.Path, body, w)
	if err != nil {
		return bootstrap.Response{}, err
	}
	answer, err := bootstrap.ParseResponse(data)
	if err != nil {
		return bootstrap.Response{}, invalidAnswer(bootstrapService, host, clean(err.Error(), ""), err)
	}
	if err := req.AllowURL(answer.TrustRenewEndpoint); err != nil {
		return bootstrap.Response{}, &Error{
			Reason:  v1alpha1.ReasonServiceAnswerInvalid,
			Message: fmt.Sprintf("the renewal service that %s names must not be called: %s; check spec.service", host, clean(err.Error(), "")),
			Retry:   true, cause: err,
		}
	}
	return answer, nil
}

// acceptRenewal checks what the service issued: it must be for the same
// connector, and it must last longer than what there is.
func acceptRenewal(req RenewalRequest, old trust.Identity, result trust.Result, key *rsa.PrivateKey) (Issued, error) {
	if !result.Successful {
		text := strings.TrimRight(clean(result.ErrorMessage, ""), ". ")
		if text == "" {
			text = "it gave no reason"
		}
		return Issued{}, &Error{Reason: v1alpha1.ReasonRegistrationRefused, Message: "the renewal service refused: " + text, Retry: true}
	}
	identity, err := checkCertificate(result.Certificate, key, req.TenantID, time.Now())
	switch {
	case err != nil:
	case identity.ConnectorID != old.ConnectorID:
		err = fmt.Errorf("it is for connector %s, not %s", identity.ConnectorID, old.ConnectorID)
	case !identity.NotAfter.After(old.NotAfter):
		err = fmt.Errorf("it ends at %s, no later than the one there is", identity.NotAfter.UTC().Format(time.RFC3339))
	}
	if err != nil {
		return Issued{}, &Error{
			Reason:  v1alpha1.ReasonServiceAnswerInvalid,
			Message: fmt.Sprintf("the renewal service issued a certificate that cannot be used: %s; check spec.service", clean(err.Error(), "")),
			Retry:   true, cause: err,
		}
	}
	certPEM, keyPEM, err := encodePair(result.Certificate, key)
	if err != nil {
		return Issued{}, err
	}
	return Issued{Identity: identity, CertificatePEM: certPEM, KeyPEM: keyPEM}, nil
}
