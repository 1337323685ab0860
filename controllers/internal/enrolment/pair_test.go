// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

const connectorID = "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"

func TestParsePair(t *testing.T) {
	authority := fixture.NewAuthority(t, "Test Registration CA")
	now := time.Now().Truncate(time.Second)
	cert, key := authority.Pair(t, fixture.TenantID, connectorID, now.Add(time.Hour))
	expired, _ := authority.Pair(t, fixture.TenantID, connectorID, now)
	other, _ := authority.Pair(t, fixture.OtherTenant, connectorID, now.Add(time.Hour))
	strange := anotherKey(t)
	for name, tc := range map[string]struct {
		cert, key []byte
		want      string // part of the error; "" for none
	}{
		"a good pair":                         {cert, key, ""},
		"a good pair with an older key form":  {cert, pkcs1(t, key), ""},
		"nothing at all":                      {nil, nil, "tls.crt holds no PEM certificate"},
		"a certificate alone":                 {cert, nil, "tls.key holds no PEM private key"},
		"key and certificate exchanged":       {key, cert, "tls.crt holds no PEM certificate"},
		"a certificate twice":                 {cert, cert, "tls.key holds no PEM private key"},
		"a key of something else":             {cert, strange, "belongs to another key"},
		"a key that is not RSA":               {cert, ecKey(t), "not RSA"},
		"a damaged key":                       {cert, damaged("PRIVATE KEY"), "cannot be read"},
		"a damaged older key":                 {cert, damaged("RSA PRIVATE KEY"), "cannot be read"},
		"a damaged certificate":               {damaged("CERTIFICATE"), key, "cannot be read"},
		"a certificate of another tenant":     {other, key, "is for tenant " + fixture.OtherTenant},
		"a certificate that has just expired": {expired, key, "expired at"},
		"a certificate of no connector":       {pemCert(authority.Certificate.Raw), key, "not one of a connector"},
	} {
		t.Run(name, func(t *testing.T) {
			identity, err := enrolment.ParsePair(tc.cert, tc.key, fixture.TenantID, now)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if identity.ConnectorID != connectorID || !identity.NotAfter.Equal(now.Add(time.Hour)) {
					t.Errorf("got identity %+v", identity)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "PRIVATE KEY-") {
				t.Error("the error repeats a key")
			}
		})
	}
}

func pemCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func damaged(kind string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("damaged")})
}

func anotherKey(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func pkcs1(t *testing.T, keyPEM []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(keyPEM)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))})
}

func ecKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
