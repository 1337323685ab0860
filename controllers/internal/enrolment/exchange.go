// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const (
	// callDeadline bounds one call, from the connection to the last byte of the
	// answer.
	callDeadline = 30 * time.Second

	// answerLimit bounds an answer. A certificate is 2 KiB, a bootstrap's answer
	// with its endpoints below 20.
	answerLimit = 256 << 10
)

// service is one that is called, in the words of messages.
type service struct {
	name    string // what answers
	call    string // what it is asked for
	refusal string // what to check if it refuses
}

var (
	registrationService = service{"registration service", "registration", "check the token and the tenant"}
	bootstrapService    = service{"bootstrap service", "bootstrap", "the service may not know this connector any more; if the tenant does not list it, delete its identity Secret to have it registered anew"}
	renewalService      = service{"renewal service", "renewal", "the service may not know this connector any more; if the tenant does not list it, delete its identity Secret to have it registered anew"}
)

// way is how services are reached.
type way struct {
	roots       *x509.CertPool   // nil: those of the system
	proxyURL    string           // empty: none
	certificate *tls.Certificate // of the client; nil: none
}

// exchange posts a body and returns the answer and the host that gave it. Errors
// are uncertain if the whole request was sent and it is not known what the service
// did. A status other than 200 tells that it did nothing, except for one of a
// failure half-way (500) and those of a gateway that heard nothing good (502) or did
// not wait (504).
func exchange(ctx context.Context, to service, target string, body []byte, w way) (answer []byte, host string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
		if info.Err == nil {
			sent.Store(true)
		}
	}})
	post, err := http.NewRequestWithContext(traced, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, "", fmt.Errorf("the URL of the %s cannot be used: %w", to.name, err)
	}
	post.Header.Set("Content-Type", trust.ContentType)
	transport, err := newTransport(w)
	if err != nil {
		return nil, "", err
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		// The body holds a token: it goes where it was meant to go and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	host = post.URL.Host
	response, err := client.Do(post)
	if err != nil {
		return nil, host, uncertain(classify(err, to, host), sent.Load())
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		halfway := slices.Contains([]int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout}, response.StatusCode)
		return nil, host, uncertain(refusedByStatus(response.StatusCode, to, host), halfway)
	}
	answer, err = io.ReadAll(io.LimitReader(response.Body, answerLimit+1))
	if err != nil {
		return nil, host, uncertain(classify(err, to, host), true)
	}
	if len(answer) > answerLimit {
		return nil, host, uncertain(invalidAnswer(to, host, fmt.Sprintf("it is longer than %d bytes", answerLimit), nil), true)
	}
	return answer, host, nil
}

// invalidAnswer is the Error for an answer that the service never gives. why
// must hold no secret.
func invalidAnswer(to service, host, why string, cause error) *Error {
	return &Error{
		Reason:  v1alpha1.ReasonServiceAnswerInvalid,
		Message: fmt.Sprintf("%s answered the %s with something that is not a result: %s; check spec.service", host, to.call, why),
		Retry:   true, cause: cause,
	}
}

// uncertain marks an Error after which it is not known what the service did.
func uncertain(e *Error, is bool) *Error {
	e.Uncertain = is
	return e
}

// proxyRefusedError is a proxy's answer to CONNECT other than 200.
type proxyRefusedError struct{ status string }

func (e *proxyRefusedError) Error() string { return "the proxy answered " + e.status }

// newTransport is a transport for one call. It never looks at the environment:
// the way to the service is what the specification says.
func newTransport(w way) (*http.Transport, error) {
	t := &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.roots, VerifyConnection: notRevoked},
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
	if w.certificate != nil {
		// Given even if the server names authorities that did not issue it: the
		// service's own list is not public.
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return w.certificate, nil }
	}
	if w.proxyURL != "" {
		proxy, err := url.Parse(w.proxyURL)
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
