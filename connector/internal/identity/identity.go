// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package identity holds the connector's certificate and key: the credential
// for mutual TLS, and what decrypts the passwords that the cloud sends.
//
// A Store is loaded once and follows its files: call Reload on a timer. When
// the files hold a new pair, the pair before it stays usable for decryption,
// because requests that were encrypted for it may still be on their way.
package identity

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

// ErrDecrypt is the one error of Decrypt for everything that can be wrong with
// a ciphertext: telling more would make the connector a padding oracle.
var ErrDecrypt = errors.New("the password could not be decrypted")

// ErrUnknownKey means that no held key has the identifier.
var ErrUnknownKey = errors.New("no key of this connector has that identifier")

// Store holds the current pair and the one before it. Its methods may be
// called concurrently.
type Store struct {
	certFile, keyFile, tenantID string

	mu       sync.RWMutex // protects what follows
	raw      []byte       // content of both files, to notice changes
	current  *pair
	previous *pair
}

// pair is a certificate with its key.
type pair struct {
	certificate tls.Certificate
	identity    trust.Identity
	key         *rsa.PrivateKey
}

// Load reads certificate and key, both PEM, and checks that they belong
// together and to the tenant.
func Load(certFile, keyFile, tenantID string) (*Store, error) {
	s := &Store{certFile: certFile, keyFile: keyFile, tenantID: tenantID}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the files again and reports whether they hold a new pair. On
// error the store keeps what it has: files are swapped under a running
// connector, and on Windows they are gone for a moment while that happens.
func (s *Store) Reload() (changed bool, err error) {
	certPEM, err := os.ReadFile(s.certFile)
	if err != nil {
		return false, fmt.Errorf("reading the connector's certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(s.keyFile)
	if err != nil {
		return false, fmt.Errorf("reading the connector's key: %w", err)
	}
	raw := bytes.Join([][]byte{certPEM, keyPEM}, nil)
	defer clear(keyPEM)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && bytes.Equal(raw, s.raw) {
		clear(raw)
		return false, nil
	}
	next, err := parse(certPEM, keyPEM, s.tenantID)
	if err != nil {
		clear(raw)
		return false, err
	}
	clear(s.raw)
	s.raw = raw
	if s.current == nil || s.current.identity.Thumbprint != next.identity.Thumbprint {
		s.previous = s.current
	}
	s.current = next
	return true, nil
}

func parse(certPEM, keyPEM []byte, tenantID string) (*pair, error) {
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the connector's certificate and key are not a pair: %w", err)
	}
	key, ok := certificate.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the connector's key is a %T; the service needs RSA", certificate.PrivateKey)
	}
	id, err := trust.ParseIdentity(certificate.Leaf)
	if err != nil {
		return nil, fmt.Errorf("reading the connector's certificate: %w", err)
	}
	if !strings.EqualFold(id.TenantID, tenantID) {
		return nil, fmt.Errorf("the connector's certificate is for tenant %s, its configuration for %s: use the identity that was registered for this tenant", id.TenantID, tenantID)
	}
	return &pair{certificate: certificate, identity: id, key: key}, nil
}

// Identity returns who the connector is at present.
func (s *Store) Identity() trust.Identity {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current.identity
}

// ClientCertificate gives TLS the current certificate; it has the form of
// tls.Config.GetClientCertificate.
func (s *Store) ClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &s.current.certificate, nil
}

// Holds reports whether a key identifier of a request names a held key.
func (s *Store) Holds(keyIdentifier string) bool { return s.find(keyIdentifier) != nil }

func (s *Store) find(keyIdentifier string) *rsa.PrivateKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range []*pair{s.current, s.previous} {
		if p != nil && strings.EqualFold(p.identity.KeyIdentifier(), keyIdentifier) {
			return p.key
		}
	}
	return nil
}

// Decrypt opens a ciphertext (RSAES-OAEP with SHA-1, protocol section 7.4).
// The caller wipes the result. Errors are ErrUnknownKey and ErrDecrypt.
func (s *Store) Decrypt(keyIdentifier string, ciphertext []byte) ([]byte, error) {
	key := s.find(keyIdentifier)
	if key == nil {
		return nil, ErrUnknownKey
	}
	plaintext, err := rsa.DecryptOAEP(sha1.New(), nil, key, ciphertext, nil)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}
