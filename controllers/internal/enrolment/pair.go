// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

// PEM block types of a pair.
const (
	certificateBlock = "CERTIFICATE"
	pkcs8Block       = "PRIVATE KEY"
	pkcs1Block       = "RSA PRIVATE KEY"
)

// ErrExpired is in the error of ParsePair if nothing is wrong with a pair but that
// its certificate has ended.
var ErrExpired = errors.New("the certificate expired")

// ParsePair reads the certificate and key of an identity Secret and checks that
// a connector of tenantID can use them at the time now: the key is that of the
// certificate, the certificate names the tenant and a connector, and it is in
// force. The identity is returned, too, if it merely is not in force any more
// (ErrExpired).
// The error says in a few words what is wrong and never repeats the key.
func ParsePair(certPEM, keyPEM []byte, tenantID string, now time.Time) (trust.Identity, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != certificateBlock {
		return trust.Identity{}, errors.New("tls.crt holds no PEM certificate")
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return trust.Identity{}, err
	}
	return checkCertificate(block.Bytes, key, tenantID, now)
}

// NotAfter is when a PEM certificate ends; the zero time if it cannot be read.
func NotAfter(certPEM []byte) time.Time {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return time.Time{}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return cert.NotAfter
}

// parseKey reads an RSA private key. The parsers' errors are not repeated: they
// may quote their input.
func parseKey(keyPEM []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("tls.key holds no PEM private key")
	}
	switch block.Type {
	case pkcs8Block:
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("tls.key holds a private key that cannot be read")
		}
		key, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return nil, errors.New("tls.key holds a private key that is not RSA")
		}
		return key, nil
	case pkcs1Block:
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("tls.key holds a private key that cannot be read")
		}
		return key, nil
	default:
		return nil, errors.New("tls.key holds no PEM private key")
	}
}

// checkCertificate is what a certificate must fulfil, fresh from the service or
// read from a Secret.
func checkCertificate(der []byte, key *rsa.PrivateKey, tenantID string, now time.Time) (trust.Identity, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return trust.Identity{}, fmt.Errorf("the certificate cannot be read: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return trust.Identity{}, errors.New("the certificate belongs to another key")
	}
	identity, err := trust.ParseIdentity(cert)
	if err != nil {
		return trust.Identity{}, fmt.Errorf("the certificate is not one of a connector: %w", err)
	}
	if !strings.EqualFold(identity.TenantID, tenantID) {
		return trust.Identity{}, fmt.Errorf("the certificate is for tenant %s, not %s", identity.TenantID, tenantID)
	}
	if !now.Before(identity.NotAfter) {
		return identity, fmt.Errorf("%w at %s", ErrExpired, identity.NotAfter.UTC().Format(time.RFC3339))
	}
	return identity, nil
}

// encodePair is the inverse of ParsePair.
func encodePair(der []byte, key *rsa.PrivateKey) (certPEM, keyPEM []byte, err error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a new private key: %w", err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: pkcs8Block, Bytes: pkcs8})
	return certPEM, keyPEM, nil
}
