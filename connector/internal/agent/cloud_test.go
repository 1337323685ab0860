// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
)

// issuer is a certificate authority.
type issuer struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newIssuer(t *testing.T, organization string) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}, CommonName: organization + " Root"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return &issuer{t, certificate, key}
}

// serverCertificate is one for names; change may spoil it.
func (i *issuer) serverCertificate(names []string, change ...func(*x509.Certificate)) tls.Certificate {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(i.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	for _, f := range change {
		f(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.certificate, key.Public(), i.key)
	must(i.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (i *issuer) file() string {
	i.t.Helper()
	name := filepath.Join(i.t.TempDir(), "ca.pem")
	must(i.t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw}), 0o600))
	return name
}

// cloudNames are all hosts that a connector calls.
var cloudNames = []string{"*.pta.bootstrap.his.msappproxy.test", "*.connector.his.msappproxy.test", "*.servicebus.test"}

// fakeCloud is a TLS server for every host, and the proxy that leads there. It
// writes down what reaches it.
type fakeCloud struct {
	t       *testing.T
	proxy   string
	address string // of the server itself

	mu sync.Mutex
	// requests are host and path, a space, and the thumbprint of the client's
	// certificate.
	requests []string
	// connections are the client's ports of the requests.
	connections []string
	// resumed are the requests, as above, on resumed TLS sessions.
	resumed []string
	serve   http.HandlerFunc
}

func newFakeCloud(t *testing.T, config *tls.Config) *fakeCloud {
	t.Helper()
	c := &fakeCloud{t: t}
	server := httptest.NewUnstartedServer(http.HandlerFunc(c.handle))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	config.ClientAuth = tls.RequestClientCert
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	c.address = server.Listener.Addr().String()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connect(w, r, server.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	c.proxy = proxy.URL
	return c
}

// The address of a relay instance, for the transport without WebSockets.
const instancePort = 9352

var instanceIP = netip.MustParseAddr("192.0.2.1")

// connect leads a CONNECT request to the address.
func connect(w http.ResponseWriter, r *http.Request, address string) {
	there, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", address)
	if err != nil || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	// A length that an answer to CONNECT must not have, and that clients must ignore
	// (RFC 9110 9.3.6).
	if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
		return
	}
	if strings.HasSuffix(r.Host, ":"+strconv.Itoa(instancePort)) { // TLS begins behind the prelude
		prelude := relay.AppendPrelude(nil, instanceIP, instancePort)
		if _, err := io.CopyN(io.Discard, buffered, int64(len(prelude))); err != nil {
			return
		}
	}
	var both sync.WaitGroup
	pipe := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from)
		to.Close()
	}
	both.Go(func() { pipe(there, buffered) })
	both.Go(func() { pipe(here, there) })
	both.Wait()
}

func (c *fakeCloud) handle(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	shown := ""
	if len(r.TLS.PeerCertificates) > 0 {
		sum := sha1.Sum(r.TLS.PeerCertificates[0].Raw)
		shown = strings.ToUpper(hex.EncodeToString(sum[:]))
	}
	c.mu.Lock()
	c.requests = append(c.requests, host+r.URL.Path+" "+shown)
	c.connections = append(c.connections, r.RemoteAddr)
	if r.TLS.DidResume {
		c.resumed = append(c.resumed, host+r.URL.Path+" "+shown)
	}
	serve := c.serve
	c.mu.Unlock()
	if serve != nil {
		serve(w, r)
		return
	}
	answer, err := bootstrap.DefaultResponse().Marshal()
	if err != nil {
		c.t.Error(err)
	}
	_, _ = w.Write(answer)
}

// seen returns the requests and connections so far.
func (c *fakeCloud) seen() (requests, connections []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.requests...), append([]string(nil), c.connections...)
}
