// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // a subject key identifier is a name, and older agents sign with it
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// KeyBits is the only RSA key length the service takes.
const KeyBits = 2048

var (
	oidKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectKeyID = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidExtKeyUsage  = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidClientAuth   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
)

// NewCSR returns a certificate request (DER) for an RSA key of KeyBits: empty
// subject, signed with SHA-256, asking for a client certificate (protocol
// section 2.3).
func NewCSR(key crypto.Signer) ([]byte, error) {
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok || public.N.BitLen() != KeyBits {
		return nil, fmt.Errorf("a certificate request needs an RSA key of %d bits", KeyBits)
	}
	id := sha1.Sum(x509.MarshalPKCS1PublicKey(public)) // RFC 5280, 4.2.1.2, method 1
	keyID, err := asn1.Marshal(id[:])
	if err != nil {
		return nil, fmt.Errorf("encoding the subject key identifier: %w", err)
	}
	usage, err := clientAuthUsage()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		SignatureAlgorithm: x509.SHA256WithRSA,
		ExtraExtensions: []pkix.Extension{
			// digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment
			{Id: oidKeyUsage, Value: []byte{0x03, 0x02, 0x04, 0xF0}},
			usage,
			{Id: oidSubjectKeyID, Value: keyID},
		},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate request: %w", err)
	}
	return der, nil
}

// ParseCSR reads a certificate request, checks that its sender holds the key,
// and returns the key. It accepts SHA-256 and, because the service's own agent
// used it, SHA-1, for which crypto/x509 no longer checks signatures. Subject and
// extensions are ignored: the service decides what it certifies.
func ParseCSR(der []byte) (*rsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate request: %w", err)
	}
	public, ok := csr.PublicKey.(*rsa.PublicKey)
	if !ok || public.N.BitLen() != KeyBits {
		return nil, fmt.Errorf("the certificate request must be for an RSA key of %d bits", KeyBits)
	}
	switch csr.SignatureAlgorithm {
	case x509.SHA256WithRSA:
		digest := sha256.Sum256(csr.RawTBSCertificateRequest)
		err = rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], csr.Signature)
	case x509.SHA1WithRSA:
		digest := sha1.Sum(csr.RawTBSCertificateRequest) // proof of possession, made for this one message
		err = rsa.VerifyPKCS1v15(public, crypto.SHA1, digest[:], csr.Signature)
	default:
		return nil, fmt.Errorf("the certificate request is signed with %s: use SHA256-RSA", csr.SignatureAlgorithm)
	}
	if err != nil {
		return nil, errors.New("the signature of the certificate request is wrong: it was not made with the key it is for")
	}
	return public, nil
}

// clientAuthUsage is the critical extended key usage that both the request and
// the certificate carry.
func clientAuthUsage() (pkix.Extension, error) {
	value, err := asn1.Marshal([]asn1.ObjectIdentifier{oidClientAuth})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encoding the extended key usage: %w", err)
	}
	return pkix.Extension{Id: oidExtKeyUsage, Critical: true, Value: value}, nil
}
