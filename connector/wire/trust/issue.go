// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

// IssueRequest says what to certify.
type IssueRequest struct {
	PublicKey   *rsa.PublicKey // from ParseCSR
	TenantID    guid.GUID
	ConnectorID guid.GUID
	NotBefore   time.Time // whole seconds are kept
	// NotAfter is nominally 180 days later. One past the issuer's is cut to the
	// issuer's, as the service does.
	NotAfter time.Time
}

// The structures of RFC 5280, 4.1, as far as they occur. crypto/x509 cannot
// write subjectUniqueID, and adds extensions of its own.
type (
	signedCertificate struct {
		TBS                asn1.RawValue
		SignatureAlgorithm pkix.AlgorithmIdentifier
		Signature          asn1.BitString
	}
	tbsCertificate struct {
		Version         int `asn1:"explicit,tag:0"`
		SerialNumber    *big.Int
		Signature       pkix.AlgorithmIdentifier
		Issuer          asn1.RawValue
		Validity        validity
		Subject         pkix.RDNSequence
		PublicKey       asn1.RawValue
		SubjectUniqueID asn1.BitString   `asn1:"tag:2"`
		Extensions      []pkix.Extension `asn1:"explicit,tag:3"`
	}
	validity struct{ NotBefore, NotAfter time.Time }
)

// sha256WithRSA is the algorithm of every certificate; its parameters are NULL.
var sha256WithRSA = pkix.AlgorithmIdentifier{
	Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11},
	Parameters: asn1.NullRawValue,
}

// IssueCertificate returns a connector's certificate (DER), signed with the
// issuer's RSA key: the fields and exactly the three extensions of protocol
// section 2.5. It is the cloud's side; the certificates of a test CA must be
// marked as such by the issuer's name.
func IssueCertificate(req IssueRequest, issuer *x509.Certificate, signer crypto.Signer) ([]byte, error) {
	public, ok := signer.Public().(*rsa.PublicKey)
	if !ok || !public.Equal(issuer.PublicKey) {
		return nil, errors.New("issuing a certificate needs the RSA key of the issuer's certificate")
	}
	tbs, err := newTBS(req, issuer)
	if err != nil {
		return nil, fmt.Errorf("building the connector's certificate: %w", err)
	}
	digest := sha256.Sum256(tbs)
	signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing the connector's certificate: %w", err)
	}
	return asn1.Marshal(signedCertificate{
		TBS:                asn1.RawValue{FullBytes: tbs},
		SignatureAlgorithm: sha256WithRSA,
		Signature:          asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
}

func newTBS(req IssueRequest, issuer *x509.Certificate) ([]byte, error) {
	notAfter := req.NotAfter
	if notAfter.After(issuer.NotAfter) {
		notAfter = issuer.NotAfter
	}
	switch {
	case req.PublicKey == nil || req.TenantID.IsZero() || req.ConnectorID.IsZero():
		return nil, errors.New("public key, tenant and connector must be given")
	case !notAfter.After(req.NotBefore):
		return nil, fmt.Errorf("it would end (%s) before it begins (%s)", notAfter, req.NotBefore)
	}
	key, err := x509.MarshalPKIXPublicKey(req.PublicKey)
	if err != nil {
		return nil, err
	}
	extensions, err := extensionsOf(req, key)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	tenant := req.TenantID.DotNet()
	return asn1.Marshal(tbsCertificate{
		Version:         2, // v3
		SerialNumber:    serial,
		Signature:       sha256WithRSA,
		Issuer:          asn1.RawValue{FullBytes: issuer.RawSubject},
		Validity:        validity{req.NotBefore.UTC().Truncate(time.Second), notAfter.UTC().Truncate(time.Second)},
		Subject:         pkix.Name{CommonName: req.TenantID.String()}.ToRDNSequence(),
		PublicKey:       asn1.RawValue{FullBytes: key},
		SubjectUniqueID: asn1.BitString{Bytes: tenant[:], BitLength: 8 * len(tenant)},
		Extensions:      extensions,
	})
}

func extensionsOf(req IssueRequest, publicKey []byte) ([]pkix.Extension, error) {
	usage, err := clientAuthUsage()
	if err != nil {
		return nil, err
	}
	connector := req.ConnectorID.DotNet()
	// The service puts a signed message here that no connector reads and whose
	// 32 bytes are not understood; the text around them is kept recognisable.
	digest := sha256.Sum256(publicKey)
	attestation := append([]byte("v2::PassthroughAuthentication:"), digest[:]...)
	return []pkix.Extension{
		{Id: oidConnectorID, Value: connector[:]},
		usage,
		{Id: oidAttestation, Value: attestation},
	}, nil
}

// newSerial returns a random number of exactly 16 bytes in DER: positive, and
// without a leading zero.
func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x3F | 0x40
	return new(big.Int).SetBytes(b), nil
}
