// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pki makes the certificates of one throw-away cluster.
//
// An [Authority] lives in a directory and is made on first use; everything
// below it is issued afresh at every start, so nobody has to renew anything.
// Two authorities exist in a cluster: one for Kubernetes itself and one for
// etcd, because a certificate that may talk to etcd may do everything.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// authorityLife is long because the directory may be kept for years.
	authorityLife = 10 * 365 * 24 * time.Hour
	// leafLife bounds how long one run of the supervisor can last.
	leafLife = 365 * 24 * time.Hour
	// clockSlack dates certificates back, for machines whose clock steps.
	clockSlack = time.Hour
)

// Authority signs certificates. Make one with [LoadOrCreate].
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// Pair is a certificate with its private key, both PEM.
type Pair struct {
	Certificate, Key []byte
}

// Request says what to put in a certificate. A request with DNS names or
// addresses is for a server; every certificate may also be used by a client.
type Request struct {
	// CommonName is the user name Kubernetes sees.
	CommonName string
	// Organizations are the groups Kubernetes sees.
	Organizations []string
	// DNSNames and Addresses are what a server is reached by.
	DNSNames  []string
	Addresses []net.IP
}

// LoadOrCreate returns the authority kept in dir as name.crt and name.key.
// It creates both when neither exists; one without the other is an error.
func LoadOrCreate(dir, name string) (*Authority, error) {
	certificatePEM, certificateErr := os.ReadFile(filepath.Join(dir, name+".crt"))
	keyPEM, keyErr := os.ReadFile(filepath.Join(dir, name+".key"))
	if errors.Is(certificateErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return create(dir, name)
	}
	if err := errors.Join(certificateErr, keyErr); err != nil {
		return nil, fmt.Errorf("reading the authority %s in %s (delete the directory to start over): %w", name, dir, err)
	}
	return parse(certificatePEM, keyPEM)
}

// CertificatePEM is what clients and servers put in their list of authorities.
func (a *Authority) CertificatePEM() []byte { return a.pem }

// Issue makes a certificate that is valid for a year from now.
func (a *Authority) Issue(request Request) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making a key for %s: %w", request.CommonName, err)
	}
	template, err := newTemplate(request.CommonName, leafLife)
	if err != nil {
		return Pair{}, err
	}
	template.Subject.Organization = request.Organizations
	template.DNSNames = request.DNSNames
	template.IPAddresses = request.Addresses
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(request.DNSNames)+len(request.Addresses) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing the certificate of %s: %w", request.CommonName, err)
	}
	return encode(der, key)
}

// Write stores the pair in dir as name.crt and name.key.
func (p Pair) Write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the certificate directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".key"), p.Key, 0o600); err != nil {
		return fmt.Errorf("writing the key of %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), p.Certificate, 0o644); err != nil {
		return fmt.Errorf("writing the certificate of %s: %w", name, err)
	}
	return nil
}

// EnsureSigningKey keeps a key pair as name.key and name.pub in dir, for
// signing service account tokens. It must outlive restarts: tokens that pods
// hold stay valid only while the key stays the same.
func EnsureSigningKey(dir, name string) error {
	if _, err := os.Stat(filepath.Join(dir, name+".pub")); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the key %s: %w", name, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the key %s: %w", name, err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the public key %s: %w", name, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the key directory: %w", err)
	}
	// The public half is written last: its presence means both are whole.
	if err := os.WriteFile(filepath.Join(dir, name+".key"), block("PRIVATE KEY", private), 0o600); err != nil {
		return fmt.Errorf("writing the key %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pub"), block("PUBLIC KEY", public), 0o644); err != nil {
		return fmt.Errorf("writing the public key %s: %w", name, err)
	}
	return nil
}

func create(dir, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of the authority %s: %w", name, err)
	}
	template, err := newTemplate("kubecluster-"+name, authorityLife)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the authority %s: %w", name, err)
	}
	pair, err := encode(der, key)
	if err != nil {
		return nil, err
	}
	if err := pair.Write(dir, name); err != nil {
		return nil, err
	}
	return parse(pair.Certificate, pair.Key)
}

func parse(certificatePEM, keyPEM []byte) (*Authority, error) {
	certificateBlock, _ := pem.Decode(certificatePEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certificateBlock == nil || keyBlock == nil {
		return nil, errors.New("the authority's files are not PEM; delete the cluster directory to start over")
	}
	certificate, err := x509.ParseCertificate(certificateBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing the authority's certificate: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing the authority's key: %w", err)
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the authority's key is a %T and not an elliptic curve key", key)
	}
	return &Authority{certificate: certificate, key: signer, pem: certificatePEM}, nil
}

func newTemplate(commonName string, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("choosing a serial number for %s: %w", commonName, err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-clockSlack),
		NotAfter:     now.Add(life),
	}, nil
}

func encode(der []byte, key *ecdsa.PrivateKey) (Pair, error) {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encoding a private key: %w", err)
	}
	return Pair{Certificate: block("CERTIFICATE", der), Key: block("PRIVATE KEY", keyDER)}, nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
