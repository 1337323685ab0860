// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package connectproxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"go.uber.org/goleak"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/connectproxy"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that sends everything back, and ends when the client does.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // ends with either side
			}()
		}
	}()
	return l.Addr().String()
}

func start(t *testing.T) (proxy *connectproxy.Proxy, address string) {
	t.Helper()
	target := echo(t)
	toEcho := func(port string) (string, bool) { return target, port == "443" || port == "10100" }
	proxy = &connectproxy.Proxy{Domains: []string{"msappproxy.test", "servicebus.test"}, Target: toEcho, Tally: tally.New(), Log: testr.New(t)}
	server := httptest.NewServer(proxy)
	t.Cleanup(func() { server.Close(); proxy.Close() })
	return proxy, strings.TrimPrefix(server.URL, "http://")
}

// request sends a request line and returns the connection behind the answer.
func request(t *testing.T, address, line string) (net.Conn, *bufio.Reader, int) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimSuffix(strings.TrimPrefix(strings.Fields(line)[1], "http://"), "/")
	// What comes right behind the request must not be lost.
	if _, err := io.WriteString(conn, line+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: strings.Fields(line)[0]})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return conn, r, resp.StatusCode
}

func TestWhereTheProxyLeads(t *testing.T) {
	_, address := start(t)
	for line, want := range map[string]int{
		"CONNECT ns1.servicebus.test:443":           200,
		"CONNECT a.b.MSAPPPROXY.test:10100":         200,
		"CONNECT msappproxy.test:443":               403,
		"CONNECT evilmsappproxy.test:443":           403,
		"CONNECT ns1.servicebus.test.evil.test:443": 403,
		"CONNECT ns1.servicebus.test:9090":          403,
		"CONNECT 127.0.0.1:22":                      403,
		"CONNECT ns1.servicebus.test":               403,
		"GET http://ns1.servicebus.test/":           405,
	} {
		if _, _, got := request(t, address, line); got != want {
			t.Errorf("%s: status %d, want %d", line, got, want)
		}
	}
}

func TestTunnelCarriesBothWaysAndEnds(t *testing.T) {
	_, address := start(t)
	conn, r, _ := request(t, address, "CONNECT ns1.servicebus.test:443")
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "hello" {
		t.Errorf("through the tunnel came %q, %v; want hello and its end", got, err)
	}
}

func TestCloseEndsTunnels(t *testing.T) {
	proxy, address := start(t)
	_, r, _ := request(t, address, "CONNECT ns1.servicebus.test:443")
	proxy.Close()
	if _, err := r.ReadByte(); err == nil {
		t.Error("the tunnel is open although the proxy was closed")
	}
}
