// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/sha1" // thumbprints are SHA-1 by definition
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

var (
	oidConnectorID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 82, 1}
	oidAttestation = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 82, 2}
)

// Identity is what a connector's certificate says about it (protocol section
// 2.5). The cloud believes the certificate and nothing else.
type Identity struct {
	TenantID    string // the subject's common name, lower case
	ConnectorID string // a private extension, lower case
	Thumbprint  string // SHA-1 of the certificate, 40 upper-case hex digits
	NotBefore   time.Time
	NotAfter    time.Time
}

// ParseIdentity reads the identity from a certificate that the service issued.
// It checks form, not trust: neither signature nor validity.
func ParseIdentity(certificate *x509.Certificate) (Identity, error) {
	tenant, err := guid.Parse(certificate.Subject.CommonName)
	if err != nil {
		return Identity{}, fmt.Errorf("the certificate's common name is not a tenant: %w", err)
	}
	connector, err := connectorID(certificate)
	if err != nil {
		return Identity{}, err
	}
	thumbprint := sha1.Sum(certificate.Raw) // thumbprints are SHA-1 by definition
	return Identity{
		TenantID:    tenant.String(),
		ConnectorID: connector.String(),
		Thumbprint:  strings.ToUpper(hex.EncodeToString(thumbprint[:])),
		NotBefore:   certificate.NotBefore,
		NotAfter:    certificate.NotAfter,
	}, nil
}

// KeyIdentifier marks what the cloud encrypted for this certificate's key
// (protocol section 7.4).
func (i Identity) KeyIdentifier() string { return i.ConnectorID + "_" + i.Thumbprint }

// connectorID finds the extension and reads its 16 bytes, with or without an
// inner octet string around them: both occur.
func connectorID(certificate *x509.Certificate) (guid.GUID, error) {
	for _, e := range certificate.Extensions {
		if !e.Id.Equal(oidConnectorID) {
			continue
		}
		value := e.Value
		for _, header := range [][]byte{{0x04, 0x10}, {0x04, 0x81, 0x10}} {
			if len(value) == len(header)+16 {
				value = bytes.TrimPrefix(value, header)
			}
		}
		if len(value) != 16 {
			return guid.GUID{}, errors.New("the certificate's connector id (extension 1.3.6.1.4.1.311.82.1) is not 16 bytes")
		}
		return guid.FromDotNet([16]byte(value)), nil
	}
	return guid.GUID{}, errors.New("the certificate names no connector (extension 1.3.6.1.4.1.311.82.1): it is not a connector's")
}
