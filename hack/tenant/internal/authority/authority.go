// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package authority holds the tenant's two certificate authorities: the root
// behind the TLS certificates of its service hosts, and the registration
// authority that certifies connectors (protocol section 2.5).
//
// Both are made at the first start, live in the tenant's directory, and say in
// their names that they are for tests. Nothing but this tenant's own clients
// should ever be told to trust them.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/statefile"
)

const (
	// RootName is the common name of the TLS root.
	RootName = "Passthrough Test Tenant CA - not for production"

	authorityLifetime = 10 * 365 * 24 * time.Hour
	serverLifetime    = 90 * 24 * time.Hour
	// backdate lets clients whose clock is a little behind accept what was just
	// issued. A certificate of a short life, for tests, is backdated by a tenth of it.
	backdate = 5 * time.Minute
)

// pair is a certificate and its key.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// Authority issues certificates. It is safe for concurrent use.
type Authority struct {
	root, registration pair
	rootFile           string
}

// Open reads the authorities in dir, and makes those that are missing. domain
// is part of the registration authority's name.
func Open(dir, domain string) (*Authority, error) {
	a := &Authority{rootFile: filepath.Join(dir, "ca.pem")}
	var err error
	a.root, err = open(a.rootFile, filepath.Join(dir, "ca-key.pem"), RootName, func() (crypto.Signer, error) {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	})
	if err != nil {
		return nil, fmt.Errorf("opening the TLS authority: %w", err)
	}
	// Connector certificates are signed with RSA and SHA-256.
	name := "HISConnectorRegistrationCA.his." + domain + " (test)"
	a.registration, err = open(filepath.Join(dir, "registration-ca.pem"), filepath.Join(dir, "registration-ca-key.pem"), name, func() (crypto.Signer, error) {
		return rsa.GenerateKey(rand.Reader, 2048)
	})
	if err != nil {
		return nil, fmt.Errorf("opening the registration authority: %w", err)
	}
	return a, nil
}

// RootFile is the path of the PEM file with the TLS root.
func (a *Authority) RootFile() string { return a.rootFile }

// ServerCertificate issues a TLS certificate for host names, wildcards allowed,
// with a key of its own. lists are the URLs of RevocationList, if it is served.
func (a *Authority) ServerCertificate(names, lists []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a TLS key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Passthrough Test Tenant"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(serverLifetime),
		DNSNames:              names,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		CRLDistributionPoints: lists,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root.certificate, key.Public(), a.root.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issuing the TLS certificate of the service hosts: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// revocationLifetime is how long a list may be used.
const revocationLifetime = 24 * time.Hour

// RevocationList signs the list of revoked TLS certificates as of now, in DER.
// It is empty: nobody ever revokes one of this tenant's.
func (a *Authority) RevocationList(now time.Time) ([]byte, error) {
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(now.Unix()), ThisUpdate: now.Add(-backdate), NextUpdate: now.Add(revocationLifetime),
	}, a.root.certificate, a.root.key)
	if err != nil {
		return nil, fmt.Errorf("signing the revocation list: %w", err)
	}
	return list, nil
}

// IssueConnector certifies a connector's key from now on.
func (a *Authority) IssueConnector(key *rsa.PublicKey, tenant, connector guid.GUID, lifetime time.Duration) ([]byte, error) {
	now := time.Now()
	return trust.IssueCertificate(trust.IssueRequest{
		PublicKey: key, TenantID: tenant, ConnectorID: connector,
		NotBefore: now.Add(-min(backdate, lifetime/10)), NotAfter: now.Add(lifetime),
	}, a.registration.certificate, a.registration.key)
}

// CheckConnector reports why a certificate is not one that this authority
// issued to a connector and that is valid at the given time.
func (a *Authority) CheckConnector(certificate *x509.Certificate, now time.Time) error {
	if err := certificate.CheckSignatureFrom(a.registration.certificate); err != nil {
		return errors.New("the certificate was not issued by this tenant's registration authority")
	}
	if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return fmt.Errorf("the certificate is valid from %s to %s only", certificate.NotBefore.Format(time.RFC3339), certificate.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func open(certificateFile, keyFile, name string, newKey func() (crypto.Signer, error)) (pair, error) {
	p, err := read(certificateFile, keyFile)
	if !errors.Is(err, os.ErrNotExist) {
		return p, err
	}
	key, err := newKey()
	if err != nil {
		return pair{}, fmt.Errorf("making a key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return pair{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return pair{}, fmt.Errorf("signing a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, fmt.Errorf("encoding a key: %w", err)
	}
	// The key goes first: a certificate without its key could not be repaired.
	if err := statefile.Write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return pair{}, err
	}
	if err := statefile.Write(certificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return pair{}, err
	}
	return read(certificateFile, keyFile)
}

func read(certificateFile, keyFile string) (pair, error) {
	certificatePEM, err := os.ReadFile(certificateFile)
	if err != nil {
		return pair{}, err
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return pair{}, err
	}
	both, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return pair{}, fmt.Errorf("reading %s and %s: %w", certificateFile, keyFile, err)
	}
	key, ok := both.PrivateKey.(crypto.Signer)
	if !ok {
		return pair{}, fmt.Errorf("%s holds a key that cannot sign", keyFile)
	}
	return pair{both.Leaf, key}, nil
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("choosing a serial number: %w", err)
	}
	return serial, nil
}
