// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
)

// throughProxy opens a TCP connection to a host and port by CONNECT.
func throughProxy(t *testing.T, ready cloud.Ready, address string) (net.Conn, error) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(ready.Proxy, "http://"))
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		conn.Close()
		return nil, fmt.Errorf("the proxy answered %s", response.Status)
	}
	return conn, conn.SetDeadline(time.Time{})
}

// secureTo opens a TLS connection; before is written first.
func secureTo(t *testing.T, ready cloud.Ready, host, port string, before []byte) (*tls.Conn, error) {
	t.Helper()
	raw, err := throughProxy(t, ready, net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	if _, err := raw.Write(before); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	secured := tls.Client(raw, &tls.Config{RootCAs: roots(t, ready), ServerName: host, MinVersion: tls.VersionTLS12})
	if err := secured.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return secured, nil
}

func roots(t *testing.T, ready cloud.Ready) *x509.CertPool {
	t.Helper()
	return transport(t, ready).TLSClientConfig.RootCAs
}

// toListen opens the byte stream to a namespace.
func (c *connector) toListen(host string) net.Conn {
	c.t.Helper()
	if !c.direct {
		return websocket.NetConn(context.Background(), dial(c.t, c.ready, host, "wsrelayedamqp"), websocket.MessageBinary)
	}
	conn, err := secureTo(c.t, c.ready, host, "5671", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// toMeet opens the byte stream to an instance.
func (c *connector) toMeet(ctx context.Context, to relay.Connect) net.Conn {
	if !c.direct {
		return websocket.NetConn(ctx, dial(c.t, c.ready, to.InstanceDNSAddress, "wsrelayedconnection"), websocket.MessageBinary)
	}
	conn, err := secureTo(c.t, c.ready, to.InstanceDNSAddress, "9352", relay.AppendPrelude(nil, to.IPAddress, to.IPPort))
	if err != nil {
		c.t.Errorf("meeting at %s: %v", to.InstanceDNSAddress, err)
		ours, theirs := net.Pipe()
		theirs.Close()
		return ours
	}
	return conn
}

func TestDocumentedPorts(t *testing.T) {
	running := start(t, cloud.Options{Ports: cloud.PortsDocumented})
	ready := running.Ready()
	if len(ready.Ports) != 28 || ready.Ports["443"] != ready.TLS {
		t.Errorf("ports %v", ready.Ports)
	}
	if !strings.HasSuffix(ready.RegistrationURL, ":9090") || !strings.HasSuffix(ready.BootstrapURL, ":8080") {
		t.Errorf("registration %s, bootstrap %s", ready.RegistrationURL, ready.BootstrapURL)
	}
	c := register(t, ready, "one")
	response := c.bootstrap()
	if !strings.Contains(response.TrustRenewEndpoint, ":9091/") {
		t.Errorf("renewal endpoint %s", response.TrustRenewEndpoint)
	}
	c.become(right, behaviour{})
	c.direct = true
	c.listen(response.Endpoints[0])
	seen := map[int]bool{}
	for n, delivery := range []signin.Delivery{signin.DeliverInline, signin.DeliverConnect, signin.DeliverConnectBytes} {
		if result, _ := signInBy(t, ready, delivery); result.Verdict != signin.Success {
			t.Fatalf("%s: %+v", delivery, result)
		}
		m := c.seen()[n]
		if m.OverrideServiceHostEnabled || m.ReturnPort < 10100 || m.ReturnPort > 10120 {
			t.Errorf("the answer is to go to %d, by override: %v", m.ReturnPort, m.OverrideServiceHostEnabled)
		}
		seen[m.ReturnPort] = true
	}
	if len(seen) != 3 {
		t.Errorf("return ports %v; want them in turn", seen)
	}
	// The other transport is served beside it; agents take turns.
	other := register(t, ready, "two")
	other.become(right, behaviour{})
	other.listen(other.bootstrap().Endpoints[0])
	waitForLinks(t, ready, other.identity.ConnectorID, 1)
	eventually(t, "the other one is asked", func() bool {
		result, _ := signInBy(t, ready, "")
		return result.Verdict == signin.Success && result.ConnectorID == other.identity.ConnectorID
	})
}

// TestNothingIsOnAnotherPort: what a connector or a policy gets wrong must show.
func TestNothingIsOnAnotherPort(t *testing.T) {
	ready := start(t, cloud.Options{Ports: cloud.PortsDocumented}).Ready()
	const proxy = "proxy-1-pta-test.connector.his.msappproxy.test"
	client := &http.Client{Transport: transport(t, ready)}
	for at, want := range map[string]int{
		tenantID + ".registration.msappproxy.test:9090/register/RegisterConnector":        http.StatusMethodNotAllowed,
		tenantID + ".registration.msappproxy.test:443/register/RegisterConnector":         http.StatusMisdirectedRequest,
		tenantID + ".pta.bootstrap.his.msappproxy.test:8080/ConnectorBootstrap":           http.StatusMethodNotAllowed,
		tenantID + ".pta.bootstrap.his.msappproxy.test:443/ConnectorBootstrap":            http.StatusMethodNotAllowed,
		tenantID + ".pta.bootstrap.his.msappproxy.test:9091/ConnectorBootstrap":           http.StatusMisdirectedRequest,
		"his-nam1-test1.renewtrust.msappproxy.test:9091/renewTrust/RenewTrustCertificate": http.StatusForbidden,
		"his-nam1-test1.renewtrust.msappproxy.test:443/renewTrust/RenewTrustCertificate":  http.StatusMisdirectedRequest,
		proxy + ":10100/subscriber/connection":                                            http.StatusMethodNotAllowed,
		proxy + ":10120/subscriber/connection":                                            http.StatusMethodNotAllowed,
		proxy + ":443/subscriber/connection":                                              http.StatusMisdirectedRequest,
		"his-nam1-test1.servicebus.test:443/$servicebus/websocket":                        http.StatusBadRequest,
		"login.msappproxy.test:443/" + tenantID + "/oauth2/v2.0/token":                    http.StatusMethodNotAllowed,
		"login.msappproxy.test:9090/" + tenantID + "/oauth2/v2.0/token":                   http.StatusMisdirectedRequest,
		"his-nam1-test1.servicebus.test:10100/$servicebus/websocket":                      http.StatusMisdirectedRequest,
	} {
		if got := statusOf(t, client, "https://"+at); got != want {
			t.Errorf("%s: status %d, want %d", at, got, want)
		}
	}
	for _, address := range []string{proxy + ":10121", proxy + ":10099", "his-nam1-test1.servicebus.test:9350", "his-nam1-test1.servicebus.test:22"} {
		if conn, err := throughProxy(t, ready, address); err == nil {
			conn.Close()
			t.Errorf("the proxy leads to %s", address)
		}
	}
	prelude := relay.AppendPrelude(nil, netip.MustParseAddr("127.0.0.1"), 9352)
	for name, tc := range map[string]struct {
		host, port string
		before     []byte
	}{
		"an instance asked for AMQP":         {"g1-test-sn1-001-sb.servicebus.test", "5671", nil},
		"a namespace asked for a rendezvous": {"his-nam1-test1.servicebus.test", "9352", prelude},
		"a rendezvous without its opening":   {"g1-test-sn1-001-sb.servicebus.test", "9352", nil},
		"a rendezvous without TLS":           {"g1-test-sn1-001-sb.servicebus.test", "9352", append(prelude[:len(prelude)-1:len(prelude)-1], 0)},
	} {
		conn, err := secureTo(t, ready, tc.host, tc.port, tc.before)
		if err != nil {
			continue
		}
		// The handshake may end before the host is refused.
		must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
		if _, err := conn.Write([]byte("AMQP\x03\x01\x00\x00")); err == nil {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s is served", name)
			}
		}
		conn.Close()
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func statusOf(t *testing.T, client *http.Client, address string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	must(t, err)
	resp, err := client.Do(req)
	must(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func TestTheRevocationListIsSignedAndNamed(t *testing.T) {
	ready := start(t, cloud.Options{Ports: cloud.PortsDocumented}).Ready()
	conn, err := secureTo(t, ready, tenantID+".registration.msappproxy.test", "9090", nil)
	must(t, err)
	defer conn.Close()
	points := conn.ConnectionState().PeerCertificates[0].CRLDistributionPoints
	if len(points) != 1 || points[0] != "http://crl.msappproxy.test/ca.crl" {
		t.Fatalf("distribution points %v", points)
	}
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return throughProxy(t, ready, "crl.msappproxy.test:80")
	}}}
	resp, err := plain.Get(points[0])
	must(t, err)
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	must(t, err)
	list, err := x509.ParseRevocationList(der)
	if err != nil || resp.Header.Get("Content-Type") != "application/pkix-crl" {
		t.Fatalf("%s: %v", resp.Header.Get("Content-Type"), err)
	}
	must(t, list.CheckSignatureFrom(conn.ConnectionState().VerifiedChains[0][1]))
	if len(list.RevokedCertificateEntries) != 0 || time.Until(list.NextUpdate) < time.Hour {
		t.Errorf("list %+v", list)
	}
}

func TestPortsThatAreNone(t *testing.T) {
	if err := (cloud.Options{Dir: "x", TenantID: tenantID, Ports: "some"}).Validate(); err == nil || !strings.Contains(err.Error(), "--ports") {
		t.Errorf("error %v", err)
	}
}

// TestRealPorts: who may have them has them. Others are led there by the proxy,
// as in every other test.
func TestRealPorts(t *testing.T) {
	ready := start(t, cloud.Options{Ports: cloud.PortsDocumented, Listen: "127.41.9.77"}).Ready()
	for port, address := range ready.Ports {
		real := address == net.JoinHostPort("127.41.9.77", port)
		if low := len(port) < 4; !real && (!low || os.Geteuid() == 0) {
			t.Errorf("port %s is at %s", port, address)
		}
	}
}

// TestGarbageOnAnyPort: whatever comes in, those who know the protocol are
// served, and nothing of it outlives the tenant.
func TestGarbageOnAnyPort(t *testing.T) {
	running := start(t, cloud.Options{Ports: cloud.PortsDocumented})
	ready := running.Ready()
	c := register(t, ready, "one")
	c.become(right, behaviour{})
	c.direct = true
	c.listen(c.bootstrap().Endpoints[0])
	for port := range ready.Ports {
		for _, garbage := range []string{
			"", // and not a word more
			"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
			"AMQP\x00\x01\x00\x00",
			"\x16\x03\x01\xFF\xFF" + strings.Repeat("\xFF", 400),
			"\xFF\xFF\xFF\x7Fconnect",
			string(relay.AppendPrelude(nil, netip.MustParseAddr("127.0.0.1"), 9352)) + "no handshake",
		} {
			conn, err := net.Dial("tcp", ready.Ports[port])
			must(t, err)
			t.Cleanup(func() { conn.Close() }) // open until after the tenant has stopped
			if _, err := io.WriteString(conn, garbage); err != nil {
				t.Logf("port %s was quick to hang up: %v", port, err)
			}
		}
	}
	if result, _ := signInBy(t, ready, signin.DeliverConnect); result.Verdict != signin.Success {
		t.Errorf("%+v", result)
	}
	running.stop()
}
