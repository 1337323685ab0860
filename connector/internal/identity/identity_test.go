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
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const tenant = "6f5e4d3c-2b1a-4908-8716-253443526170"

// files are a certificate and a key on disk.
type files struct {
	t         *testing.T
	cert, key string
}

// pause is what tests of made-up time let pass between two looks at the files.
const pause = time.Minute

func newFiles(t *testing.T) *files {
	t.Helper()
	dir := t.TempDir()
	return &files{t: t, cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key")}
}

// issuer is the key of the certificate authority.
var issuer = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// issue writes a new pair for a tenant and returns the key.
func (f *files) issue(tenantID string) *rsa.PrivateKey {
	f.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(f.t, err)
	issuerKey, err := issuer()
	must(f.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Tenant CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	issuerDER, err := x509.CreateCertificate(rand.Reader, template, template, issuerKey.Public(), issuerKey)
	must(f.t, err)
	issuing, err := x509.ParseCertificate(issuerDER)
	must(f.t, err)
	tid, err := guid.Parse(tenantID)
	must(f.t, err)
	der, err := trust.IssueCertificate(trust.IssueRequest{
		PublicKey: &key.PublicKey, TenantID: tid, ConnectorID: guid.New(),
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}, issuing, issuerKey)
	must(f.t, err)
	f.write(pemOf("CERTIFICATE", der), pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))
	return key
}

func (f *files) write(cert, key []byte) {
	f.t.Helper()
	must(f.t, os.WriteFile(f.cert, cert, 0o600))
	must(f.t, os.WriteFile(f.key, key, 0o600))
}

func (f *files) previousCert() string {
	return filepath.Join(filepath.Dir(f.cert), PreviousCertificateFile)
}
func (f *files) previousKey() string { return filepath.Join(filepath.Dir(f.cert), PreviousKeyFile) }

// moveToPrevious does what the operator does when it renews.
func (f *files) moveToPrevious() {
	f.t.Helper()
	must(f.t, os.Rename(f.cert, f.previousCert()))
	must(f.t, os.Rename(f.key, f.previousKey()))
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
	if diff := cmp.Diff([]string{strings.Split(firstID, "_")[1]}, s.Previous()); diff != "" {
		t.Errorf("earlier certificates (-want +got):\n%s", diff)
	}
}

// overlapping is a store that has just taken over a second pair.
func overlapping(t *testing.T) (s *Store, f *files, first trust.Identity) {
	t.Helper()
	f = newFiles(t)
	f.issue(tenant)
	s, err := Load(f.cert, f.key, tenant)
	must(t, err)
	first = s.Identity()
	f.issue(tenant)
	_, err = s.Reload()
	must(t, err)
	return s, f, first
}

// held lets time pass, looking at the files as the connector does and naming the
// key as requests would, and returns how long the key was held.
func held(t *testing.T, s *Store, key string, most time.Duration, named func(since time.Duration) bool) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < most {
		if named(time.Since(began)) {
			s.Holds(key)
		}
		time.Sleep(pause)
		_, err := s.Reload()
		must(t, err)
		if !slices.Contains(s.Previous(), strings.Split(key, "_")[1]) {
			return time.Since(began)
		}
	}
	return most
}

func TestAnEarlierKeyIsHeldAsLongAsItIsNeeded(t *testing.T) {
	for name, tc := range map[string]struct {
		proven bool
		named  func(since time.Duration) bool
		want   time.Duration
	}{
		"the new certificate has not carried a bootstrap": {false, func(time.Duration) bool { return false }, 20 * time.Hour},
		"no request names it":                             {true, func(time.Duration) bool { return false }, quiet},
		"requests name it for an hour":                    {true, func(d time.Duration) bool { return d <= time.Hour }, time.Hour + quiet},
		"requests name it for ever":                       {true, func(time.Duration) bool { return true }, 20 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _, first := overlapping(t)
				s.Proven(first.Thumbprint, time.Now()) // an old connection's: says nothing of the new certificate
				if tc.proven {
					s.Proven(s.Identity().Thumbprint, time.Now())
				}
				if got := held(t, s, first.KeyIdentifier(), 20*time.Hour, tc.named); got < tc.want || got > tc.want+2*pause {
					t.Errorf("held for %s, want %s", got, tc.want)
				}
				if s.Holds(first.KeyIdentifier()) != (tc.want == 20*time.Hour) {
					t.Error("Holds and Previous differ")
				}
			})
		})
	}
}

func TestAnEarlierKeyIsHeldADayAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, first := overlapping(t)
		s.previous[0].identity.NotAfter = time.Now().AddDate(1, 0, 0) // not what ends it here
		s.Proven(s.Identity().Thumbprint, time.Now())
		if got := held(t, s, first.KeyIdentifier(), 48*time.Hour, func(time.Duration) bool { return true }); got < maxOverlap || got > maxOverlap+2*pause {
			t.Errorf("held for %s, want %s", got, maxOverlap)
		}
	})
}

func TestAnEarlierKeyEndsWithItsCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, first := overlapping(t)
		ends := time.Until(first.NotAfter) + quiet
		if got := held(t, s, first.KeyIdentifier(), 48*time.Hour, func(time.Duration) bool { return true }); got < ends || got > ends+2*pause {
			t.Errorf("held for %s, want %s", got, ends)
		}
	})
}

func TestThePreviousPairIsReadFromItsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t)
		first := f.issue(tenant)
		f.moveToPrevious()
		second := f.issue(tenant)
		s, err := Load(f.cert, f.key, tenant)
		must(t, err)
		if len(s.Previous()) != 1 {
			t.Fatalf("earlier certificates %v, want one", s.Previous())
		}
		firstID, secondID := s.previous[0].identity.KeyIdentifier(), s.Identity().KeyIdentifier()
		for id, key := range map[string]*rsa.PrivateKey{firstID: first, secondID: second} {
			if got, err := s.Decrypt(id, encrypt(t, key, "both")); err != nil || string(got) != "both" {
				t.Errorf("Decrypt with %s = %q, %v", id, got, err)
			}
		}
		// It stays while it is there, whatever requests name.
		s.Proven(s.Identity().Thumbprint, time.Now())
		if got := held(t, s, firstID, 2*time.Hour, func(time.Duration) bool { return false }); got != 2*time.Hour {
			t.Errorf("held for %s only, though its files are there", got)
		}
		must(t, os.Remove(f.previousCert()))
		if changed, err := s.Reload(); changed || err == nil || !strings.Contains(err.Error(), "before the current one") {
			t.Errorf("half a previous pair: changed %v, %v", changed, err)
		}
		must(t, os.Remove(f.previousKey()))
		if got := held(t, s, firstID, time.Hour, func(time.Duration) bool { return false }); got > 2*pause {
			t.Errorf("held for %s after its files were gone and nothing named it for hours", got)
		}
	})
}

func TestAFaultyPreviousPairKeepsNoNewCertificateFromBeingUsed(t *testing.T) {
	f := newFiles(t)
	f.issue(tenant)
	s, err := Load(f.cert, f.key, tenant)
	must(t, err)
	must(t, os.WriteFile(f.previousCert(), []byte("half"), 0o600))
	must(t, os.WriteFile(f.previousKey(), []byte("half"), 0o600))
	before := s.Identity().Thumbprint
	f.issue(tenant)
	for range 2 { // it is looked at again and again
		if _, err := s.Reload(); err == nil {
			t.Error("the fault is not reported")
		}
	}
	if s.Identity().Thumbprint == before || len(s.Previous()) != 1 || s.Previous()[0] != before {
		t.Errorf("current %s, earlier %v; want the new certificate, and %s in memory", s.Identity().Thumbprint, s.Previous(), before)
	}
}

func TestAPairThatComesBackIsNotItsOwnPredecessor(t *testing.T) {
	f := newFiles(t)
	f.issue(tenant)
	oldCert, err := os.ReadFile(f.cert)
	must(t, err)
	oldKey, err := os.ReadFile(f.key)
	must(t, err)
	s, err := Load(f.cert, f.key, tenant)
	must(t, err)
	old := s.Identity().Thumbprint
	f.issue(tenant)
	_, err = s.Reload()
	must(t, err)
	second := s.Identity().Thumbprint
	f.write(oldCert, oldKey)
	changed, err := s.Reload()
	must(t, err)
	if diff := cmp.Diff([]string{second}, s.Previous()); !changed || s.Identity().Thumbprint != old || diff != "" {
		t.Errorf("current %s, earlier (-want +got):\n%s", s.Identity().Thumbprint, diff)
	}
	for range 5 {
		f.issue(tenant)
		_, err = s.Reload()
		must(t, err)
	}
	if len(s.Previous()) != maxPrevious {
		t.Errorf("%d earlier keys are held, want at most %d", len(s.Previous()), maxPrevious)
	}
}

func TestLoadWaitsForFilesThatAreBeingSwapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t)
		f.issue(tenant)
		hidden := f.cert + ".hidden"
		must(t, os.Rename(f.cert, hidden))
		go func() {
			time.Sleep(loadPause * 3 / 2)
			if err := os.Rename(hidden, f.cert); err != nil {
				t.Error(err)
			}
		}()
		if _, err := Load(f.cert, f.key, tenant); err != nil {
			t.Errorf("Load = %v, want that it waits a moment", err)
		}
	})
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
	synctest.Test(t, testLoadRefuses) // it reads files several times
}

func testLoadRefuses(t *testing.T) {
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
