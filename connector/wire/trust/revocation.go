// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// ErrRevoked marks errors of CheckRevocation for a certificate that its issuer
// has revoked.
var ErrRevoked = errors.New("the server's certificate has been revoked")

// oidTLSFeature is the extension by which a certificate says what its server
// must send (RFC 7633), and statusRequest the feature of a stapled status.
var oidTLSFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

const statusRequest = 5

// CheckRevocation refuses a server whose certificate has been revoked, as far as
// the server itself says so: it looks at the OCSP response that came with the TLS
// handshake and opens no connection. A certificate that demands such a response
// (RFC 7633) is refused without a good one. chains are the verified chains of the
// connection, of which there must be one, and staple is the response, empty if
// there was none: both as tls.Config.VerifyConnection gets them. It adds to the
// verification of chain and name and replaces nothing of it.
func CheckRevocation(chains [][]*x509.Certificate, staple []byte, now time.Time) error {
	if len(chains) == 0 || len(chains[0]) == 0 {
		return errors.New("the server's certificate was not verified")
	}
	chain := chains[0]
	problem := errors.New("the server sent none")
	// A certificate that is trusted as such has no issuer that could revoke it.
	if len(staple) > 0 && len(chain) > 1 {
		response, err := ocsp.ParseResponseForCert(staple, chain[0], chain[1])
		switch {
		case err != nil:
			problem = fmt.Errorf("what the server sent cannot be used: %.200s", err.Error())
		case response.Status == ocsp.Revoked: // of any age: nothing undoes it
			return fmt.Errorf("%w, on %s", ErrRevoked, response.RevokedAt.UTC().Format(time.DateOnly))
		case response.Status != ocsp.Good:
			problem = errors.New("the issuer does not know the certificate")
		case now.Before(response.ThisUpdate) || !response.NextUpdate.IsZero() && now.After(response.NextUpdate):
			problem = errors.New("what the server sent is out of date")
		default:
			return nil
		}
	}
	if mustStaple(chain[0]) {
		return fmt.Errorf("the server's certificate demands a statement of its issuer that it has not been revoked: %w", problem)
	}
	return nil
}

// mustStaple reports whether a certificate demands a stapled status.
func mustStaple(certificate *x509.Certificate) bool {
	for _, e := range certificate.Extensions {
		if !e.Id.Equal(oidTLSFeature) {
			continue
		}
		var features []int
		rest, err := asn1.Unmarshal(e.Value, &features)
		return err != nil || len(rest) > 0 || slices.Contains(features, statusRequest)
	}
	return false
}
