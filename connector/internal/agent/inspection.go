// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
)

// microsoft operates roots of its own, beside those of the operators that the
// service names.
const microsoft = "Microsoft Corporation"

// inspection recognises that something on the way to the service, usually a proxy
// or a firewall, opens TLS and answers with certificates of its own. No connector
// works behind that, since its own certificate cannot be passed on; and nothing is
// more often the reason why one does not. It never decides whom to trust:
// verification does, with the configured roots.
type inspection struct {
	service config.Service
	// roots are the operators of the root certificates that the service's own
	// certificates descend from, as the last bootstrap named them.
	roots atomic.Pointer[[]string]
}

func newInspection(service config.Service) *inspection {
	i := &inspection{service: service}
	i.expect(bootstrap.DefaultResponse().Porto.RootCANames)
	return i
}

// expect takes over what the service says about its roots; nothing is no news.
func (i *inspection) expect(names []string) {
	if len(names) > 0 {
		i.roots.Store(&names)
	}
}

// inspectedError says what inspects TLS and what to do about it.
type inspectedError struct {
	what   string // was seen
	remedy string
	cause  error
}

func (e *inspectedError) Error() string {
	return e.what + ": something between this connector and the service inspects TLS; " + e.remedy
}

func (e *inspectedError) Unwrap() error { return e.cause }

// of recognises inspection behind an error; nil if the error is another one.
func (i *inspection) of(err error) *inspectedError {
	if known := (*inspectedError)(nil); errors.As(err, &known) {
		return known
	}
	var failed *tls.CertificateVerificationError
	if !errors.As(err, &failed) || len(failed.UnverifiedCertificates) == 0 {
		return nil
	}
	if unknown := (x509.UnknownAuthorityError{}); !errors.As(failed.Err, &unknown) {
		return nil
	}
	last := failed.UnverifiedCertificates[len(failed.UnverifiedCertificates)-1]
	return i.found(fmt.Sprintf("the certificate of %s was issued by %q, which is not trusted", hostOf(failed.UnverifiedCertificates[0]), nameOf(last.Issuer.CommonName, last.Issuer.Organization)), err)
}

// found makes the error.
func (i *inspection) found(what string, cause error) *inspectedError {
	remedy := "exempt " + i.hosts() + " from inspection on the proxy or firewall"
	if i.service.CAFile != "" {
		remedy += ", or put that issuer's root into the service's CA bundle if it is the service's own"
	}
	return &inspectedError{what, remedy, cause}
}

// hosts are all hosts of the service, as firewalls have them.
func (i *inspection) hosts() string {
	var all []string
	for _, suffix := range slices.Concat(i.service.ServiceSuffixes, i.service.RelaySuffixes) {
		all = append(all, "*"+suffix)
	}
	return strings.Join(all, ", ")
}

// hostOf is a name for which a certificate was made.
func hostOf(certificate *x509.Certificate) string {
	if len(certificate.DNSNames) > 0 {
		return fmt.Sprintf("%.255q", certificate.DNSNames[0])
	}
	return "the other side"
}

func nameOf(commonName string, organization []string) string {
	name := strings.Join(append(slices.Clone(organization), commonName), ", ")
	return strings.ToValidUTF8(name[:min(len(name), 256)], "") // not half a character
}

// inspecting is the transport of bootstraps. It turns errors and refusals whose
// cause is inspection into an inspectedError.
type inspecting struct {
	*inspection
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t inspecting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err != nil {
		if found := t.of(err); found != nil {
			return nil, found
		}
		return nil, err
	}
	if response.StatusCode == http.StatusOK || response.TLS == nil {
		return response, nil
	}
	// A root that is trusted here and is not one of the service's: a company's own.
	// As long as the service answers, it does not matter.
	if root := t.unexpected(response.TLS.VerifiedChains); root != "" {
		_ = response.Body.Close() // what it says is not of interest
		return nil, t.found(fmt.Sprintf("a bootstrap was answered %s by a server whose certificate descends from %q", response.Status, root), nil)
	}
	return response, nil
}

// unexpected names the root of chains of which none ends in a root of an expected
// operator; "" if one does. With a CA bundle, its roots are the expected ones.
func (i *inspection) unexpected(chains [][]*x509.Certificate) string {
	if i.service.CAFile != "" || len(chains) == 0 {
		return ""
	}
	var root *x509.Certificate
	for _, chain := range chains {
		root = chain[len(chain)-1]
		name := nameOf(root.Subject.CommonName, root.Subject.Organization)
		if slices.Contains(root.Subject.Organization, microsoft) {
			return ""
		}
		for _, operator := range *i.roots.Load() {
			if operator != "" && strings.Contains(strings.ToLower(name), strings.ToLower(operator)) {
				return ""
			}
		}
	}
	return nameOf(root.Subject.CommonName, root.Subject.Organization)
}
