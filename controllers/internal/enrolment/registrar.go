// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const (
	// callDeadline bounds one registration, from the connection to the last byte
	// of the answer.
	callDeadline = 30 * time.Second

	// answerLimit bounds an answer. A certificate is 2 KiB.
	answerLimit = 256 << 10

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

// Registrar registers connectors. The zero value works and may be used from
// several goroutines.
type Registrar struct{}

// Register makes a new key, asks the service for a certificate for it and checks
// that the certificate is what was asked for. It makes at most one call, within
// callDeadline; the caller decides whether to call again. Errors are *Error,
// except those of a broken random source.
//
// When it returns nil, the tenant counts one more connector: the caller must not
// lose what it returns.
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
			Retry:   true, cause: err,
		}
	}
	certPEM, keyPEM, err := encodePair(result.Certificate, key)
	if err != nil {
		return Issued{}, err
	}
	return Issued{Identity: identity, CertificatePEM: certPEM, KeyPEM: keyPEM}, nil
}

// call posts the request and reads the answer.
func call(ctx context.Context, req Request, body []byte) (trust.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	target := strings.TrimSuffix(req.URL, "/") + trust.RegistrationPath
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return trust.Result{}, fmt.Errorf("the registration URL cannot be used: %w", err)
	}
	post.Header.Set("Content-Type", trust.ContentType)
	transport, err := newTransport(req)
	if err != nil {
		return trust.Result{}, err
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		// The body holds a token: it goes where it was meant to go and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(post)
	if err != nil {
		return trust.Result{}, classify(err, post.URL.Host)
	}
	defer func() { _ = answer.Body.Close() }()
	return readAnswer(answer, post.URL.Host, req.Token)
}

func readAnswer(answer *http.Response, host, token string) (trust.Result, error) {
	if answer.StatusCode != http.StatusOK {
		return trust.Result{}, refusedByStatus(answer.StatusCode, host)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit+1))
	if err != nil {
		return trust.Result{}, classify(err, host)
	}
	invalid := func(why string, cause error) *Error {
		return &Error{
			Reason:  v1alpha1.ReasonServiceAnswerInvalid,
			Message: fmt.Sprintf("%s answered the registration with something that is not a result: %s; check spec.service", host, clean(why, token)),
			Retry:   true, cause: cause,
		}
	}
	if len(data) > answerLimit {
		return trust.Result{}, invalid(fmt.Sprintf("it is longer than %d bytes", answerLimit), nil)
	}
	result, err := trust.ParseResult(data)
	if err != nil {
		return trust.Result{}, invalid(err.Error(), err)
	}
	return result, nil
}

// proxyRefusedError is a proxy's answer to CONNECT other than 200.
type proxyRefusedError struct{ status string }

func (e *proxyRefusedError) Error() string { return "the proxy answered " + e.status }

// newTransport is a transport for one call. It never looks at the environment:
// the way to the service is what the specification says.
func newTransport(req Request) (*http.Transport, error) {
	t := &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: req.Roots, VerifyConnection: notRevoked},
		TLSHandshakeTimeout:    callDeadline / 2,
		DisableKeepAlives:      true,
		ForceAttemptHTTP2:      false,
		MaxResponseHeaderBytes: 64 << 10,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
			if answer.StatusCode != http.StatusOK {
				return &proxyRefusedError{status: answer.Status}
			}
			return nil
		},
	}
	if req.ProxyURL != "" {
		proxy, err := url.Parse(req.ProxyURL)
		if err != nil {
			return nil, fmt.Errorf("spec.service.proxyURL cannot be used: %w", err)
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	return t, nil
}

// notRevoked looks at what the server says about its certificate. Go verifies
// chain and name before, and nothing of revocation.
func notRevoked(state tls.ConnectionState) error {
	return trust.CheckRevocation(state.VerifiedChains, state.OCSPResponse, time.Now())
}
