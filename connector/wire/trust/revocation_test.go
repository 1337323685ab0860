// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// chainOf returns a certificate, its issuer and the issuer's key.
func chainOf(t *testing.T, extensions ...pkix.Extension) (leaf, issuer *x509.Certificate, key crypto.Signer) {
	t.Helper()
	make := func(template, parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, crypto.Signer) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if parent == nil {
			parent, parentKey = template, own
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, own.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return certificate, own
	}
	issuer, key = make(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}, nil, nil)
	leaf, _ = make(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"a.test"}, ExtraExtensions: extensions}, issuer, key)
	return leaf, issuer, key
}

func TestCheckRevocation(t *testing.T) {
	now := time.Now()
	demand := pkix.Extension{Id: oidTLSFeature, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05}}
	other := pkix.Extension{Id: oidTLSFeature, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x11}}
	broken := pkix.Extension{Id: oidTLSFeature, Value: []byte{0x30, 0x05, 0x02}}
	staple := func(status int, thisUpdate, nextUpdate time.Time) ocsp.Response {
		return ocsp.Response{Status: status, SerialNumber: big.NewInt(2), ThisUpdate: thisUpdate, NextUpdate: nextUpdate, RevokedAt: now.AddDate(0, -1, 0)}
	}
	hour := now.Add(time.Hour)
	for name, tc := range map[string]struct {
		extensions []pkix.Extension
		staple     *ocsp.Response
		spoil      bool
		wantErr    bool
		revoked    bool
	}{
		"nothing stapled":                        {nil, nil, false, false, false},
		"good":                                   {nil, new(staple(ocsp.Good, now.Add(-time.Hour), hour)), false, false, false},
		"revoked":                                {nil, new(staple(ocsp.Revoked, now.Add(-time.Hour), hour)), false, true, true},
		"revoked, said long ago":                 {nil, new(staple(ocsp.Revoked, now.AddDate(-1, 0, 0), now.AddDate(0, -11, 0))), false, true, true},
		"unknown to the issuer":                  {nil, new(staple(ocsp.Unknown, now.Add(-time.Hour), hour)), false, false, false},
		"out of date":                            {nil, new(staple(ocsp.Good, now.AddDate(0, -1, 0), now.Add(-time.Hour))), false, false, false},
		"revoked by somebody else":               {nil, new(staple(ocsp.Revoked, now.Add(-time.Hour), hour)), true, false, false},
		"demanded and good":                      {[]pkix.Extension{demand}, new(staple(ocsp.Good, now.Add(-time.Hour), hour)), false, false, false},
		"demanded and missing":                   {[]pkix.Extension{demand}, nil, false, true, false},
		"demanded and out of date":               {[]pkix.Extension{demand}, new(staple(ocsp.Good, now.AddDate(0, -1, 0), now.Add(-time.Hour))), false, true, false},
		"demanded and from the future":           {[]pkix.Extension{demand}, new(staple(ocsp.Good, hour, hour.Add(time.Hour))), false, true, false},
		"demanded and unknown":                   {[]pkix.Extension{demand}, new(staple(ocsp.Unknown, now.Add(-time.Hour), hour)), false, true, false},
		"demanded and broken":                    {[]pkix.Extension{demand}, new(staple(ocsp.Good, now.Add(-time.Hour), hour)), true, true, false},
		"a demand of something else":             {[]pkix.Extension{other}, nil, false, false, false},
		"a demand that cannot be read is strict": {[]pkix.Extension{broken}, nil, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			leaf, issuer, key := chainOf(t, tc.extensions...)
			var stapled []byte
			if tc.staple != nil {
				by, signer := issuer, key
				if tc.spoil { // not signed by the issuer
					_, by, signer = chainOf(t)
				}
				response, err := ocsp.CreateResponse(by, by, *tc.staple, signer)
				if err != nil {
					t.Fatal(err)
				}
				stapled = response
			}
			err := CheckRevocation([][]*x509.Certificate{{leaf, issuer}}, stapled, now)
			if (err != nil) != tc.wantErr || errors.Is(err, ErrRevoked) != tc.revoked {
				t.Errorf("error %v, want one: %v, revoked: %v", err, tc.wantErr, tc.revoked)
			}
		})
	}
	if err := CheckRevocation(nil, nil, now); err == nil {
		t.Error("a connection whose chain was not verified is taken")
	}
}

func FuzzCheckRevocation(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	good, err := ocsp.CreateResponse(certificate, certificate, ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(2), ThisUpdate: time.Now()}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x30, 0x03, 0x0a, 0x01, 0x06}) // unauthorized
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, response []byte) {
		// Nothing that the issuer did not sign refuses a server, or takes one.
		err := CheckRevocation([][]*x509.Certificate{{certificate, certificate}}, response, time.Now())
		if err != nil {
			t.Errorf("refused for %x: %v", response, err)
		}
	})
}
