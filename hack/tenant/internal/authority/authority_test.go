// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package authority_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/authority"
)

func open(t *testing.T, dir string) *authority.Authority {
	t.Helper()
	a, err := authority.Open(dir, "msappproxy.test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestServerCertificateVerifiesAgainstTheRootAfterARestart(t *testing.T) {
	dir := t.TempDir()
	first, second := open(t, dir), open(t, dir)
	root, err := os.ReadFile(first.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		t.Fatal("the root file holds no certificate")
	}
	issued, err := second.ServerCertificate([]string{"*.registration.msappproxy.test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(issued.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "a.registration.msappproxy.test"}); err != nil {
		t.Errorf("verifying the certificate of a service host: %v", err)
	}
	if !strings.Contains(leaf.Issuer.CommonName, "not for production") {
		t.Errorf("the issuer %q does not say that it is for tests", leaf.Issuer)
	}
}

func TestConnectorCertificates(t *testing.T) {
	dir := t.TempDir()
	mine, foreign := open(t, dir), open(t, t.TempDir())
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tenant, connector := guid.New(), guid.New()
	issue := func(a *authority.Authority) *x509.Certificate {
		der, err := a.IssueConnector(&key.PublicKey, tenant, connector, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return certificate
	}
	good := issue(mine)
	identity, err := trust.ParseIdentity(good)
	if err != nil || identity.TenantID != tenant.String() || identity.ConnectorID != connector.String() {
		t.Errorf("identity %+v, %v; want tenant %s, connector %s", identity, err, tenant, connector)
	}
	for name, tc := range map[string]struct {
		by          *authority.Authority
		certificate *x509.Certificate
		at          time.Time
		want        string
	}{
		"its own, in time":         {mine, good, time.Now(), ""},
		"its own, after restart":   {open(t, dir), good, time.Now(), ""},
		"its own, too late":        {mine, good, time.Now().Add(2 * time.Hour), "valid from"},
		"its own, too early":       {mine, good, time.Now().Add(-2 * time.Hour), "valid from"},
		"that of another tenant":   {mine, issue(foreign), time.Now(), "not issued by"},
		"one of the same name":     {foreign, good, time.Now(), "not issued by"},
		"a server's of the tenant": {mine, server(t, mine), time.Now(), "not issued by"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.by.CheckConnector(tc.certificate, tc.at)
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func server(t *testing.T, a *authority.Authority) *x509.Certificate {
	t.Helper()
	issued, err := a.ServerCertificate([]string{"host.test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(issued.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
