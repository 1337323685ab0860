// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
)

// farEnd is a proxy behind which one relay host is: it answers CONNECT and goes
// on as that host.
type farEnd struct {
	t           *testing.T
	proxy       string
	answer      string // to CONNECT
	preluded    bool
	certificate tls.Certificate
	asked       chan string // what CONNECT named
	prelude     chan relay.Prelude
	said        chan string // over TLS
	shown       chan int    // certificates of the client
}

const connected = "HTTP/1.1 200 Connection Established\r\nVia: 1.1 proxy\r\n\r\n"

func newFarEnd(t *testing.T, i *issuer) *farEnd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f := &farEnd{
		t: t, proxy: "http://" + l.Addr().String(), answer: connected, certificate: i.serverCertificate([]string{"*.servicebus.test"}),
		asked: make(chan string, 1), prelude: make(chan relay.Prelude, 1), said: make(chan string, 1), shown: make(chan int, 1),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err == nil {
			f.serve(conn)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return f
}

func (f *farEnd) serve(conn net.Conn) {
	buffered := bufio.NewReader(conn)
	request, err := http.ReadRequest(buffered)
	if err != nil {
		return
	}
	f.asked <- request.Method + " " + request.Host
	if _, err := io.WriteString(conn, f.answer); err != nil || f.answer != connected {
		_, _ = io.Copy(io.Discard, conn) // until the connector has had enough
		return
	}
	if f.preluded {
		p, err := relay.ReadPrelude(conn)
		if err != nil {
			f.t.Errorf("what comes before TLS: %v", err)
			return
		}
		f.prelude <- p
	}
	secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{f.certificate}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12})
	said := make([]byte, 2)
	if _, err := io.ReadFull(secured, said); err != nil {
		return
	}
	f.shown <- len(secured.ConnectionState().PeerCertificates)
	f.said <- string(said)
}

// clientsFor are clients of the transport without WebSockets.
func clientsFor(t *testing.T, i *issuer, proxy string) *clients {
	t.Helper()
	cl, err := newClients(config.Service{
		Transport: config.TransportAMQP, ProxyURL: proxy, CAFile: i.file(),
		ServiceSuffixes: []string{".msappproxy.test"}, RelaySuffixes: []string{".servicebus.test"},
	}, nil)
	must(t, err)
	return cl
}

func TestTheRelayIsReachedWithoutWebSockets(t *testing.T) {
	i := newIssuer(t, "Test")
	to := relay.Connect{InstanceDNSAddress: "g1.servicebus.test", IPAddress: netip.MustParseAddr("127.9.8.7"), IPPort: 9352}
	for name, tc := range map[string]struct {
		dial     func(context.Context, *clients) (net.Conn, error)
		preluded bool
		want     string
	}{
		"a signalling link": {func(ctx context.Context, cl *clients) (net.Conn, error) {
			return cl.dialListener(ctx, "ns.servicebus.test")
		}, false, "CONNECT ns.servicebus.test:5671"},
		"a rendezvous": {func(ctx context.Context, cl *clients) (net.Conn, error) { return cl.dialInstance(ctx, to) }, true, "CONNECT g1.servicebus.test:9352"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFarEnd(t, i)
			f.preluded = tc.preluded
			conn, err := tc.dial(t.Context(), clientsFor(t, i, f.proxy))
			must(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, "hi")
			must(t, err)
			if got := <-f.asked; got != tc.want {
				t.Errorf("the proxy was asked to %s, want %s", got, tc.want)
			}
			if tc.preluded {
				if p := <-f.prelude; !p.TLS || p.Address.String() != "127.9.8.7:9352" {
					t.Errorf("prelude %+v", p)
				}
			}
			if got := <-f.said; got != "hi" {
				t.Errorf("the host heard %q", got)
			}
			if n := <-f.shown; n != 0 {
				t.Error("the relay was shown the connector's certificate")
			}
		})
	}
}

func TestWhatIsNotTheRelay(t *testing.T) {
	i := newIssuer(t, "Test")
	for name, tc := range map[string]struct {
		arrange func(*farEnd)
		want    string
	}{
		"a host of another name": {func(f *farEnd) { f.certificate = i.serverCertificate([]string{"evil.test"}) }, "certificate is valid for evil.test"},
		"a host of another authority": {func(f *farEnd) {
			f.certificate = newIssuer(f.t, "Other").serverCertificate([]string{"*.servicebus.test"})
		}, "unknown authority"},
		"a proxy that refuses": {func(f *farEnd) { f.answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n" }, "407"},
		"a proxy that redirects": {func(f *farEnd) {
			f.answer = "HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n"
		}, "302"},
		"a proxy that talks on":  {func(f *farEnd) { f.answer = connected + "welcome" }, "before the host does"},
		"a proxy without an end": {func(f *farEnd) { f.answer = "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxProxyAnswer) }, "reading the proxy's answer"},
		"what is no proxy":       {func(f *farEnd) { f.answer = "220 smtp.test ESMTP\r\n\r\n" }, "reading the proxy's answer"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFarEnd(t, i)
			tc.arrange(f)
			conn, err := clientsFor(t, i, f.proxy).dialListener(t.Context(), "ns.servicebus.test")
			if err == nil {
				conn.Close()
				t.Fatal("a connection was opened")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want one with %q", err, tc.want)
			}
		})
	}
}

func TestASilentProxyIsGivenUp(t *testing.T) {
	i := newIssuer(t, "Test")
	f := newFarEnd(t, i)
	f.answer = ""
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if conn, err := clientsFor(t, i, f.proxy).dialListener(ctx, "ns.servicebus.test"); err == nil {
		conn.Close()
		t.Fatal("a connection was opened")
	}
}
