// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A certificate that demands a stapled response (RFC 7633) and comes without
// one is refused before anything is sent to its server.
func TestARegistrationServiceThatMustStapleAndDoesNotIsRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		mustStaple bool
		want       bool // that a request arrives
	}{
		"a certificate that demands nothing":         {want: true},
		"a certificate that demands a good response": {mustStaple: true},
	} {
		t.Run(name, func(t *testing.T) {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registration.test"}, DNSNames: []string{"registration.test"},
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			}
			if tc.mustStaple {
				value, err := asn1.Marshal([]int{5}) // status_request
				if err != nil {
					t.Fatal(err)
				}
				template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: value}}
			}
			der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
			if err != nil {
				t.Fatal(err)
			}
			root, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AddCert(root)
			arrived := false
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived = true }))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
			server.StartTLS()
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
				MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "registration.test", VerifyConnection: notRevoked,
			}}}
			response, err := client.Get(server.URL)
			if err == nil {
				response.Body.Close()
			}
			if (err == nil) != tc.want || arrived != tc.want {
				t.Errorf("error %v, a request arrived: %v; want it to arrive: %v", err, arrived, tc.want)
			}
		})
	}
}
