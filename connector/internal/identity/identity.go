// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package identity holds the connector's certificate and key: the credential
// for mutual TLS, and what decrypts the passwords that the cloud sends.
//
// A Store is loaded once and follows its files: call Reload on a timer. New TLS
// connections are made with the current certificate alone. To decrypt, the keys
// of earlier certificates are held too, because for a while after a renewal the
// cloud encrypts requests for both (protocol section 3.3).
package identity

import (
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const (
	// quiet is for how long no request must have named an earlier key before it
	// is let go: longer than the cloud takes from one bootstrap to the next.
	quiet = 15 * time.Minute
	// maxOverlap bounds how long an earlier key is held, from the bootstrap of the
	// certificate that replaced it, however many requests name it.
	maxOverlap = 24 * time.Hour
	// maxPrevious bounds the earlier keys.
	maxPrevious = 3
)

// ErrDecrypt is the one error of Decrypt for everything that can be wrong with
// a ciphertext: telling more would make the connector a padding oracle.
var ErrDecrypt = errors.New("the password could not be decrypted")

// ErrUnknownKey means that no held key has the identifier.
var ErrUnknownKey = errors.New("no key of this connector has that identifier")

// Store holds the current pair and those before it. Its methods may be called
// concurrently.
type Store struct {
	paths    paths
	tenantID string

	mu       sync.Mutex // protects what follows
	read     digest     // of the files' content, to notice changes
	current  *pair
	proven   time.Time // when the current certificate first carried a bootstrap
	previous []*earlier
}

// pair is a certificate with its key.
type pair struct {
	certificate tls.Certificate
	identity    trust.Identity
	decrypter   decrypter
}

// earlier is a pair that was replaced.
type earlier struct {
	*pair
	stored bool      // it is in the files of the previous pair
	named  time.Time // when a request last named it, or when it was replaced
}

// Load reads certificate and key, both PEM, and checks that they belong
// together and to the tenant. Beside the certificate it looks for the pair
// before it, in PreviousCertificateFile and PreviousKeyFile. Files that are not
// there yet, or are being replaced, are read again for a second.
func Load(certFile, keyFile, tenantID string) (*Store, error) {
	s := &Store{paths: pathsOf(certFile, keyFile), tenantID: tenantID}
	var err error
	for range loadAttempts {
		if _, err = s.Reload(); s.current != nil {
			return s, nil
		}
		time.Sleep(loadPause)
	}
	return nil, err
}

// Reload reads the files again and reports whether there is a new certificate.
// It lets go of earlier keys that are not needed any more. On error the store
// keeps what it has: files are swapped under a running connector, and on Windows
// they are gone for a moment while that happens. A faulty previous pair is an
// error, too, but keeps no new certificate from being used.
func (s *Store) Reload() (changed bool, err error) {
	content, err := s.paths.read()
	defer content.wipe()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.letGo(time.Now())
	if err != nil {
		return false, err
	}
	if s.current != nil && content.digest() == s.read {
		return false, nil
	}
	next, err := parse(content.cert, content.key, s.tenantID)
	if err != nil {
		return false, err
	}
	var before *pair
	if content.previousCert != nil || content.previousKey != nil {
		if before, err = parse(content.previousCert, content.previousKey, s.tenantID); err != nil {
			err = fmt.Errorf("the pair before the current one: %w", err)
		}
	}
	changed = s.adopt(next, time.Now())
	if err == nil {
		s.keepStored(before, time.Now())
		s.read = content.digest()
	}
	return changed, err
}

// adopt makes a pair the current one, and an earlier one of what it replaces.
func (s *Store) adopt(next *pair, now time.Time) (changed bool) {
	if s.current != nil && s.current.identity.Thumbprint == next.identity.Thumbprint {
		return false
	}
	if s.current != nil {
		s.previous = append([]*earlier{{pair: s.current, named: now}}, s.previous...)
	}
	s.previous = slices.DeleteFunc(s.previous, func(e *earlier) bool { return e.identity.Thumbprint == next.identity.Thumbprint })
	s.previous = s.previous[:min(len(s.previous), maxPrevious)]
	s.current, s.proven = next, time.Time{}
	return true
}

// keepStored takes over what the files of the previous pair hold; nil if they
// hold nothing.
func (s *Store) keepStored(before *pair, now time.Time) {
	known := before == nil || before.identity.Thumbprint == s.current.identity.Thumbprint
	for _, e := range s.previous {
		e.stored = before != nil && e.identity.Thumbprint == before.identity.Thumbprint
		known = known || e.stored
	}
	if known {
		return
	}
	s.previous = append([]*earlier{{pair: before, stored: true, named: now}}, s.previous...)
	s.previous = s.previous[:min(len(s.previous), maxPrevious)]
}

// letGo drops the earlier keys that nobody needs.
func (s *Store) letGo(now time.Time) {
	s.previous = slices.DeleteFunc(s.previous, func(e *earlier) bool {
		switch {
		case now.After(e.identity.NotAfter.Add(quiet)): // nothing is encrypted for it any more
			return true
		case e.stored || s.proven.IsZero():
			return false
		}
		return now.After(later(s.proven, e.named).Add(quiet)) || now.After(s.proven.Add(maxOverlap))
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
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
	return &pair{certificate: certificate, identity: id, decrypter: newDecrypter(key)}, nil
}

// Identity returns who the connector is at present.
func (s *Store) Identity() trust.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.identity
}

// Previous returns the thumbprints of the earlier certificates whose keys are
// held, newest first.
func (s *Store) Previous() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.previous {
		all = append(all, e.identity.Thumbprint)
	}
	return all
}

// Proven reports that a certificate has carried a bootstrap. If it is the
// current one, earlier keys may be let go once requests stop naming them.
func (s *Store) Proven(thumbprint string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proven.IsZero() && s.current.identity.Thumbprint == thumbprint {
		s.proven = at
	}
}

// ClientCertificate gives TLS the current certificate; it has the form of
// tls.Config.GetClientCertificate.
func (s *Store) ClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &s.current.certificate, nil
}

// Holds reports whether a key identifier of a request names a held key. Call it
// for every entry of a request: an earlier key is kept while requests name it.
func (s *Store) Holds(keyIdentifier string) bool { return s.find(keyIdentifier) != nil }

func (s *Store) find(keyIdentifier string) *pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.EqualFold(s.current.identity.KeyIdentifier(), keyIdentifier) {
		return s.current
	}
	for _, e := range s.previous {
		if strings.EqualFold(e.identity.KeyIdentifier(), keyIdentifier) {
			e.named = time.Now()
			return e.pair
		}
	}
	return nil
}

// DecryptsWith tells whose code decrypts with the current key: "Go", or "CNG" for
// that of Windows.
func (s *Store) DecryptsWith() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.decrypter.name()
}

// Decrypt opens a ciphertext (RSAES-OAEP with SHA-1, protocol section 7.4).
// The caller wipes the result. Errors are ErrUnknownKey and ErrDecrypt.
func (s *Store) Decrypt(keyIdentifier string, ciphertext []byte) ([]byte, error) {
	found := s.find(keyIdentifier)
	if found == nil {
		return nil, ErrUnknownKey
	}
	plaintext, err := found.decrypter.decrypt(ciphertext)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}
