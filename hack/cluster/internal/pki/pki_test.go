// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestAuthority(t *testing.T) {
	t.Run("survives a restart and its certificates verify against it", func(t *testing.T) {
		dir := t.TempDir()
		first, err := LoadOrCreate(dir, "ca")
		if err != nil {
			t.Fatal(err)
		}
		second, err := LoadOrCreate(dir, "ca")
		if err != nil {
			t.Fatal(err)
		}
		pair, err := second.Issue(Request{CommonName: "apiserver", Addresses: []net.IP{net.IPv4(127, 3, 0, 1)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.X509KeyPair(pair.Certificate, pair.Key); err != nil {
			t.Errorf("certificate and key do not belong together: %v", err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(first.CertificatePEM())
		leaf := mustParse(t, pair.Certificate)
		options := x509.VerifyOptions{Roots: roots, DNSName: "127.3.0.1", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if _, err := leaf.Verify(options); err != nil {
			t.Errorf("verifying against the authority as first made: %v", err)
		}
	})
	t.Run("gives clients no right to be servers", func(t *testing.T) {
		authority, err := LoadOrCreate(t.TempDir(), "ca")
		if err != nil {
			t.Fatal(err)
		}
		pair, err := authority.Issue(Request{CommonName: "admin", Organizations: []string{"system:masters"}})
		if err != nil {
			t.Fatal(err)
		}
		leaf := mustParse(t, pair.Certificate)
		if len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
			t.Errorf("extended key usages %v, want client authentication alone", leaf.ExtKeyUsage)
		}
		if leaf.Subject.CommonName != "admin" || len(leaf.Subject.Organization) != 1 || leaf.Subject.Organization[0] != "system:masters" {
			t.Errorf("subject %v", leaf.Subject)
		}
	})
	t.Run("refuses half an authority", func(t *testing.T) {
		dir := t.TempDir()
		if _, err := LoadOrCreate(dir, "ca"); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreate(dir, "ca"); err == nil {
			t.Error("no error for a certificate without its key")
		}
	})
}

func TestEnsureSigningKeyKeepsTheKey(t *testing.T) {
	dir := t.TempDir()
	if err := EnsureSigningKey(dir, "sa"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "sa.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := EnsureSigningKey(dir, "sa"); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "sa.key"))
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the key changed; tokens held by pods would be refused")
	}
}

func mustParse(t *testing.T, certificatePEM []byte) *x509.Certificate {
	t.Helper()
	decoded, _ := pem.Decode(certificatePEM)
	if decoded == nil {
		t.Fatal("not PEM")
	}
	certificate, err := x509.ParseCertificate(decoded.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
