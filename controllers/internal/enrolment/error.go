// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config/prose"
)

// Error is a failure with a reason that the API documents.
type Error struct {
	// Reason is a reason of v1alpha1.ConditionRegistered, also where a renewal
	// failed.
	Reason string
	// Message is a sentence for the condition: what is wrong and what to do. It
	// holds no secret.
	Message string
	// Retry says that the same call may succeed later without anybody acting.
	Retry bool
	// Uncertain says of a registration that the service had the request and that
	// its answer was lost or cannot be used: the tenant may count one more connector
	// although nobody has its identity. The caller must say so.
	Uncertain bool

	cause error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns what the network or a parser said, if anything.
func (e *Error) Unwrap() error { return e.cause }

// refusalLimit bounds how much of the service's own words is repeated.
const refusalLimit = 512

// clean makes foreign text fit for a condition and takes out the token, which a
// service might repeat in a complaint about it.
func clean(text, token string) string {
	if token != "" {
		text = strings.ReplaceAll(text, token, "[token]")
	}
	return prose.Line(text, refusalLimit)
}

// classify turns what http.Client.Do returned into an Error.
func classify(err error, to service, host string) *Error {
	if refused, ok := errors.AsType[*proxyRefusedError](err); ok {
		return &Error{
			Reason:  v1alpha1.ReasonServiceUnreachable,
			Message: fmt.Sprintf("the proxy answered %q when asked for a connection to the %s at %s: let the proxy allow it, or correct spec.service.proxyURL", clean(refused.status, ""), to.name, host),
			Retry:   true, cause: err,
		}
	}
	if why := certificateProblem(err); why != "" {
		return &Error{
			Reason:  v1alpha1.ReasonTLSVerificationFailed,
			Message: fmt.Sprintf("the certificate of the %s at %s is not trusted: %s; exempt the host from TLS inspection, or give the right CA bundle in spec.service.custom.caBundleRef", to.name, host, why),
			Retry:   true, cause: err,
		}
	}
	return &Error{
		Reason:  v1alpha1.ReasonServiceUnreachable,
		Message: fmt.Sprintf("the %s at %s cannot be reached: %s; check the network, the firewall and spec.service.proxyURL", to.name, host, clean(innermost(err), "")),
		Retry:   true, cause: err,
	}
}

// certificateProblem says in a few words why TLS failed; "" if it did not.
func certificateProblem(err error) string {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	switch {
	case errors.As(err, &authority):
		return "it is signed by an unknown authority"
	case errors.As(err, &hostname):
		return clean(hostname.Error(), "")
	case errors.As(err, &invalid):
		return clean(invalid.Error(), "")
	case errors.As(err, &verify):
		return clean(verify.Err.Error(), "")
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "what answers does not speak TLS"
	case errors.As(err, &alert):
		return clean(alert.Error(), "")
	}
	return ""
}

// innermost leaves out the wrapping that repeats method and URL.
func innermost(err error) string {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer in time"
	}
	if call, ok := errors.AsType[*url.Error](err); ok {
		err = call.Err
	}
	return err.Error()
}

// refusedByStatus is the Error for an HTTP status other than 200.
func refusedByStatus(status int, to service, host string) *Error {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return &Error{
			Reason:  v1alpha1.ReasonServiceUnreachable,
			Message: fmt.Sprintf("the %s at %s is out of order: it answered %s", to.name, host, text),
			Retry:   true,
		}
	case status >= 300 && status < 400:
		return &Error{
			Reason:  v1alpha1.ReasonServiceAnswerInvalid,
			Message: fmt.Sprintf("%s answered %s to the %s, which the service never does: something else is answering; check spec.service", host, text, to.call),
			Retry:   true,
		}
	default:
		return &Error{
			Reason:  v1alpha1.ReasonRegistrationRefused,
			Message: fmt.Sprintf("the %s at %s refused: it answered %s; %s", to.name, host, text, to.refusal),
			Retry:   true,
		}
	}
}
