// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const tenant = "6f5e4d3c-2b1a-4908-8716-253443526170"

// files are a certificate and a key on disk.
type files struct {
	t         *testing.T
	cert, key string
}

func newFiles(t *testing.T) *files {
	t.Helper()
	dir := t.TempDir()
	return &files{t: t, cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key")}
}

// issue writes a new pair for a tenant and returns the key.
func (f *files) issue(tenantID string) *rsa.PrivateKey {
	f.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(f.t, err)
	issuerKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(f.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Tenant CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	issuerDER, err := x509.CreateCertificate(rand.Reader, template, template, issuerKey.Public(), issuerKey)
	must(f.t, err)
	issuer, err := x509.ParseCertificate(issuerDER)
	must(f.t, err)
	tid, err := guid.Parse(tenantID)
	must(f.t, err)
	der, err := trust.IssueCertificate(trust.IssueRequest{
		PublicKey: &key.PublicKey, TenantID: tid, ConnectorID: guid.New(),
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}, issuer, issuerKey)
	must(f.t, err)
	f.write(pemOf("CERTIFICATE", der), pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))
	return key
}

func (f *files) write(cert, key []byte) {
	f.t.Helper()
	must(f.t, os.WriteFile(f.cert, cert, 0o600))
	must(f.t, os.WriteFile(f.key, key, 0o600))
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func encrypt(t *testing.T, key *rsa.PrivateKey, plaintext string) []byte {
	t.Helper()
	c, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, []byte(plaintext), nil)
	must(t, err)
	return c
}

func TestAStoreFollowsItsFilesAndKeepsThePreviousKey(t *testing.T) {
	f := newFiles(t)
	first := f.issue(tenant)
	s, err := Load(f.cert, f.key, strings.ToUpper(tenant))
	must(t, err)
	firstID := s.Identity().KeyIdentifier()
	if got, err := s.Decrypt(strings.ToUpper(firstID), encrypt(t, first, "one")); err != nil || string(got) != "one" {
		t.Errorf("Decrypt = %q, %v", got, err)
	}
	if changed, err := s.Reload(); changed || err != nil {
		t.Errorf("Reload of the same files = %v, %v", changed, err)
	}

	second := f.issue(tenant)
	if changed, err := s.Reload(); !changed || err != nil {
		t.Fatalf("Reload of new files = %v, %v", changed, err)
	}
	secondID := s.Identity().KeyIdentifier()
	if firstID == secondID {
		t.Fatal("the identity did not change")
	}
	for id, key := range map[string]*rsa.PrivateKey{firstID: first, secondID: second} {
		if got, err := s.Decrypt(id, encrypt(t, key, "two")); err != nil || string(got) != "two" {
			t.Errorf("Decrypt with %s = %q, %v", id, got, err)
		}
	}
	cert, err := s.ClientCertificate(nil)
	must(t, err)
	if id, err := trust.ParseIdentity(cert.Leaf); err != nil || id.KeyIdentifier() != secondID {
		t.Error("TLS is not given the new certificate")
	}

	f.issue(tenant)
	_, err = s.Reload()
	must(t, err)
	if s.Holds(firstID) || !s.Holds(secondID) {
		t.Error("the key before the previous one is still held, or the previous is not")
	}
}

func TestFilesThatAreGoneForAMomentChangeNothing(t *testing.T) {
	f := newFiles(t)
	f.issue(tenant)
	s, err := Load(f.cert, f.key, tenant)
	must(t, err)
	id := s.Identity()
	must(t, os.Remove(f.cert))
	if _, err := s.Reload(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Reload = %v, want that the file does not exist", err)
	}
	f.write([]byte("half a cert"), []byte("half a key"))
	if _, err := s.Reload(); err == nil {
		t.Error("Reload took files that hold no pair")
	}
	if s.Identity() != id {
		t.Error("the identity changed")
	}
}

func TestDecryptFailsInOneWay(t *testing.T) {
	f := newFiles(t)
	key := f.issue(tenant)
	s, err := Load(f.cert, f.key, tenant)
	must(t, err)
	id := s.Identity().KeyIdentifier()
	good := encrypt(t, key, "x")
	flipped := append([]byte(nil), good...)
	flipped[10] ^= 1
	for name, ciphertext := range map[string][]byte{"flipped": flipped, "short": good[:100], "long": append(good, 0), "empty": nil} {
		if _, err := s.Decrypt(id, ciphertext); err != ErrDecrypt { //nolint:errorlint // exactly this error and nothing around it
			t.Errorf("%s: error %v, want exactly ErrDecrypt", name, err)
		}
	}
	if _, err := s.Decrypt("another", good); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("error %v, want ErrUnknownKey", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	f := newFiles(t)
	if _, err := Load(f.cert, f.key, tenant); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing files: %v", err)
	}
	f.issue("11111111-2222-4333-8444-555555555555")
	if _, err := Load(f.cert, f.key, tenant); err == nil || !strings.Contains(err.Error(), "11111111-2222-4333-8444-555555555555") {
		t.Errorf("another tenant's identity: %v", err)
	}
	certPEM, err := os.ReadFile(f.cert)
	must(t, err)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	f.write(certPEM, pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(other)))
	if _, err := Load(f.cert, f.key, tenant); err == nil || !strings.Contains(err.Error(), "not a pair") {
		t.Errorf("a key of another certificate: %v", err)
	}
}
