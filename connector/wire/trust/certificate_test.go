// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // what older agents sign with
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

var agentKey, issuerKey = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, KeyBits)
	if err != nil {
		panic(err)
	}
	return key
}

func mustGUID(t *testing.T, s string) guid.GUID {
	t.Helper()
	g, err := guid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// newIssuer makes a CA that is valid from yesterday for 100 days.
func newIssuer(t *testing.T) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "registration CA of contoso.test"},
		NotBefore:             time.Now().Add(-24 * time.Hour),
		NotAfter:              time.Now().Add(99 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, issuerKey().Public(), issuerKey())
	if err != nil {
		t.Fatal(err)
	}
	return mustCertificate(t, der)
}

func mustCertificate(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// issue makes the certificate of the worked example, for agentKey.
func issue(t *testing.T, issuer *x509.Certificate) *x509.Certificate {
	t.Helper()
	der, err := IssueCertificate(IssueRequest{
		PublicKey:   &agentKey().PublicKey,
		TenantID:    mustGUID(t, "6f5e4d3c-2b1a-4908-8716-253443526170"),
		ConnectorID: mustGUID(t, "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"),
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(180 * 24 * time.Hour),
	}, issuer, issuerKey())
	if err != nil {
		t.Fatal(err)
	}
	return mustCertificate(t, der)
}

func TestCSRIsWhatTheServiceTakes(t *testing.T) {
	der, err := NewCSR(agentKey())
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := csr.CheckSignature(); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(csr.RawSubject, []byte{0x30, 0x00}) {
		t.Errorf("the subject is % X, want an empty sequence", csr.RawSubject)
	}
	if csr.SignatureAlgorithm != x509.SHA256WithRSA || csr.Version != 0 {
		t.Errorf("algorithm %v, version %d", csr.SignatureAlgorithm, csr.Version)
	}
	var got []string
	for _, e := range csr.Extensions {
		got = append(got, e.Id.String())
		if e.Critical != (e.Id.String() == "2.5.29.37") {
			t.Errorf("extension %s: critical = %v", e.Id, e.Critical)
		}
	}
	if diff := cmp.Diff([]string{"2.5.29.15", "2.5.29.37", "2.5.29.14"}, got); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
	if !bytes.Equal(csr.Extensions[0].Value, []byte{0x03, 0x02, 0x04, 0xF0}) {
		t.Errorf("key usage is % X", csr.Extensions[0].Value)
	}
	public, err := ParseCSR(der)
	if err != nil {
		t.Fatal(err)
	}
	if !public.Equal(agentKey().Public()) {
		t.Error("ParseCSR returned another key")
	}
}

func TestNewCSRRefusesOtherKeys(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"short": short, "elliptic": ec} {
		if _, err := NewCSR(key); err == nil {
			t.Errorf("a %s key was accepted", name)
		}
	}
}

// request is the outer structure of PKCS#10.
type request struct {
	Info      asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// resign replaces algorithm and signature of a certificate request.
func resign(t *testing.T, der []byte, algorithm asn1.ObjectIdentifier, hash crypto.Hash) []byte {
	t.Helper()
	var r request
	if _, err := asn1.Unmarshal(der, &r); err != nil {
		t.Fatal(err)
	}
	h := hash.New()
	h.Write(r.Info.FullBytes)
	signature, err := rsa.SignPKCS1v15(rand.Reader, agentKey(), hash, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	out, err := asn1.Marshal(request{
		Info:      r.Info,
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: algorithm, Parameters: asn1.NullRawValue},
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParseCSR(t *testing.T) {
	good, err := NewCSR(agentKey())
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	elliptical, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ec)
	if err != nil {
		t.Fatal(err)
	}
	sha1Signed := resign(t, good, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, crypto.SHA1)
	sha1Forged := bytes.Clone(sha1Signed)
	sha1Forged[len(sha1Forged)-1] ^= 1
	for name, tc := range map[string]struct {
		der  []byte
		want string // "" means accepted
	}{
		"signed with SHA-256, as third parties do":    {good, ""},
		"signed with SHA-1, as the service's agent":   {sha1Signed, ""},
		"a SHA-256 signature that is wrong":           {forged, "signature"},
		"a SHA-1 signature that is wrong":             {sha1Forged, "signature"},
		"an algorithm that nobody uses":               {resign(t, good, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, crypto.SHA512), "SHA512"},
		"a SHA-1 signature that claims to be SHA-256": {resign(t, good, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, crypto.SHA1), "signature"},
		"an elliptic key":                             {elliptical, "RSA"},
		"something else":                              {[]byte("-----BEGIN"), "reading"},
		"data behind the request":                     {append(bytes.Clone(good), 0), "reading"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCSR(tc.der)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestIssuedCertificateIsTheServicesOwn(t *testing.T) {
	issuer := newIssuer(t)
	c := issue(t, issuer)
	if n := c.SerialNumber.BitLen(); n < 121 || n > 127 {
		t.Errorf("the serial number has %d bits, want 16 bytes", n)
	}
	if c.Version != 3 || c.SignatureAlgorithm != x509.SHA256WithRSA {
		t.Errorf("version %d, algorithm %v", c.Version, c.SignatureAlgorithm)
	}
	if c.Subject.String() != "CN=6f5e4d3c-2b1a-4908-8716-253443526170" || c.Issuer.String() != issuer.Subject.String() {
		t.Errorf("subject %s, issuer %s", c.Subject, c.Issuer)
	}
	if !c.NotAfter.Equal(issuer.NotAfter) {
		t.Errorf("ends %s, want it cut to the issuer's %s", c.NotAfter, issuer.NotAfter)
	}
	for what, want := range map[string][]byte{
		"subjectUniqueID": {0x82, 0x11, 0x00, 0x3C, 0x4D, 0x5E, 0x6F, 0x1A, 0x2B, 0x08, 0x49, 0x87, 0x16, 0x25, 0x34, 0x43, 0x52, 0x61, 0x70},
		"connector id extension": {0x30, 0x1D, 0x06, 0x09, 0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x52, 0x01, 0x04, 0x10,
			0x3F, 0x2E, 0x1D, 0x0C, 0x5B, 0x4A, 0x7D, 0x4C, 0x8E, 0x9F, 0xA0, 0xB1, 0xC2, 0xD3, 0xE4, 0xF5},
		"extended key usage": {0x06, 0x03, 0x55, 0x1D, 0x25, 0x01, 0x01, 0xFF, 0x04, 0x0C, 0x30, 0x0A, 0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02},
	} {
		if !bytes.Contains(c.RawTBSCertificate, want) {
			t.Errorf("there is no %s % X", what, want)
		}
	}
	var extensions []string
	for _, e := range c.Extensions {
		extensions = append(extensions, e.Id.String())
	}
	if diff := cmp.Diff([]string{"1.3.6.1.4.1.311.82.1", "2.5.29.37", "1.3.6.1.4.1.311.82.2"}, extensions); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
	if !bytes.HasPrefix(c.Extensions[2].Value, []byte("v2:")) {
		t.Errorf("extension 311.82.2 is %q", c.Extensions[2].Value)
	}
	roots := x509.NewCertPool()
	roots.AddCert(issuer)
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("the certificate may be used by a server")
	}
}

func TestIssueCertificateRefuses(t *testing.T) {
	issuer := newIssuer(t)
	good := IssueRequest{
		PublicKey: &agentKey().PublicKey, TenantID: guid.New(), ConnectorID: guid.New(),
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	for name, tc := range map[string]struct {
		change func(*IssueRequest)
		signer crypto.Signer
	}{
		"a signer that is not the issuer's": {func(*IssueRequest) {}, agentKey()},
		"no key":                            {func(r *IssueRequest) { r.PublicKey = nil }, issuerKey()},
		"no tenant":                         {func(r *IssueRequest) { r.TenantID = guid.GUID{} }, issuerKey()},
		"no connector":                      {func(r *IssueRequest) { r.ConnectorID = guid.GUID{} }, issuerKey()},
		"an end before the beginning":       {func(r *IssueRequest) { r.NotAfter = r.NotBefore }, issuerKey()},
		"an issuer that ends before then": {func(r *IssueRequest) {
			r.NotBefore = issuer.NotAfter.Add(time.Hour)
			r.NotAfter = r.NotBefore.Add(time.Hour)
		}, issuerKey()},
	} {
		t.Run(name, func(t *testing.T) {
			req := good
			tc.change(&req)
			if _, err := IssueCertificate(req, issuer, tc.signer); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	c := issue(t, newIssuer(t))
	id, err := ParseIdentity(c)
	if err != nil {
		t.Fatal(err)
	}
	want := Identity{
		TenantID:    "6f5e4d3c-2b1a-4908-8716-253443526170",
		ConnectorID: "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5",
		Thumbprint:  id.Thumbprint,
		NotBefore:   c.NotBefore,
		NotAfter:    c.NotAfter,
	}
	if diff := cmp.Diff(want, id); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	sum := new(big.Int).SetBytes(func() []byte { h := sha1.Sum(c.Raw); return h[:] }())
	got, ok := new(big.Int).SetString(id.Thumbprint, 16)
	if !ok || got.Cmp(sum) != 0 || len(id.Thumbprint) != 40 || strings.ToUpper(id.Thumbprint) != id.Thumbprint {
		t.Errorf("thumbprint is %s", id.Thumbprint)
	}
	if id.KeyIdentifier() != "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5_"+id.Thumbprint {
		t.Errorf("key identifier is %s", id.KeyIdentifier())
	}
}

func TestParseIdentityReadsEveryFormOfTheConnectorID(t *testing.T) {
	id := mustGUID(t, "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5").DotNet()
	// An identifier whose own first bytes look like a header must stay whole.
	lookalike := guid.FromDotNet([16]byte{0x04, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14})
	lookalikeBytes := lookalike.DotNet()
	for name, tc := range map[string]struct {
		value []byte
		want  string // "" means an error
	}{
		"the bytes alone":                    {id[:], "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"},
		"an inner octet string":              {append([]byte{0x04, 0x10}, id[:]...), "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"},
		"an inner octet string, long length": {append([]byte{0x04, 0x81, 0x10}, id[:]...), "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"},
		"bytes that begin like one":          {lookalikeBytes[:], lookalike.String()},
		"a byte short":                       {id[:15], ""},
		"nothing":                            {nil, ""},
		"another inner type":                 {append([]byte{0x0C, 0x10}, id[:]...), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseIdentity(&x509.Certificate{
				Subject:    pkix.Name{CommonName: "6F5E4D3C-2B1A-4908-8716-253443526170"},
				Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}}, {Id: oidConnectorID, Value: tc.value}},
			})
			if (err == nil) != (tc.want != "") || got.ConnectorID != tc.want {
				t.Fatalf("got %q, %v; want %q", got.ConnectorID, err, tc.want)
			}
			if err == nil && got.TenantID != "6f5e4d3c-2b1a-4908-8716-253443526170" {
				t.Errorf("tenant is %s", got.TenantID)
			}
		})
	}
	if _, err := ParseIdentity(newIssuer(t)); err == nil {
		t.Error("a CA is taken for a connector")
	}
	if _, err := ParseIdentity(&x509.Certificate{Subject: pkix.Name{CommonName: "6f5e4d3c-2b1a-4908-8716-253443526170"}}); err == nil {
		t.Error("a certificate without a connector id is taken for one")
	}
}

// The certificate must work where it is for: as a client's in mutual TLS, with
// both versions the service may speak.
func TestIssuedCertificateWorksInMutualTLS(t *testing.T) {
	issuer := newIssuer(t)
	c := issue(t, issuer)
	serverTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"bootstrap.msappproxy.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, serverTemplate, issuer, issuerKey().Public(), issuerKey())
	if err != nil {
		t.Fatal(err)
	}
	// Through PEM, as the connector's files hold them.
	pair, err := tls.X509KeyPair(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(agentKey())}))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(issuer)
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			serverSide, clientSide := net.Pipe()
			deadline := time.Now().Add(30 * time.Second)
			for _, end := range []net.Conn{serverSide, clientSide} {
				t.Cleanup(func() { end.Close() })
				if err := end.SetDeadline(deadline); err != nil {
					t.Fatal(err)
				}
			}
			server := tls.Server(serverSide, &tls.Config{
				Certificates: []tls.Certificate{{Certificate: [][]byte{serverDER}, PrivateKey: issuerKey()}},
				ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
				MinVersion: version, MaxVersion: version,
			})
			client := tls.Client(clientSide, &tls.Config{
				Certificates: []tls.Certificate{pair}, RootCAs: pool,
				ServerName: "bootstrap.msappproxy.test", MinVersion: version, MaxVersion: version,
			})
			sent := make(chan error, 1)
			go func() {
				_, err := client.Write([]byte("hello"))
				sent <- err
			}()
			got := make([]byte, 5)
			if _, err := io.ReadFull(server, got); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil || string(got) != "hello" {
				t.Fatalf("got %q, %v", got, err)
			}
			id, err := ParseIdentity(server.ConnectionState().PeerCertificates[0])
			if err != nil || id.ConnectorID != "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5" {
				t.Errorf("the server sees %+v, %v", id, err)
			}
		})
	}
}

func FuzzParseCSR(f *testing.F) {
	der, err := NewCSR(agentKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(testdata(f, "csr.der"))
	f.Fuzz(func(t *testing.T, data []byte) {
		public, err := ParseCSR(data)
		if err == nil && public.N.BitLen() != KeyBits {
			t.Fatalf("accepted a key of %d bits", public.N.BitLen())
		}
	})
}

func FuzzParseIdentity(f *testing.F) {
	f.Add(testdata(f, "connector.der"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := x509.ParseCertificate(data)
		if err != nil {
			return
		}
		id, err := ParseIdentity(c)
		if err != nil {
			return
		}
		for _, s := range []string{id.TenantID, id.ConnectorID} {
			if g, err := guid.Parse(s); err != nil || g.String() != s {
				t.Fatalf("%q is not a lower-case GUID", s)
			}
		}
	})
}
