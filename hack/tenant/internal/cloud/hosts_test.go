// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/sas"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/authority"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
)

func registrationRequest(t *testing.T, ready cloud.Ready, token string) trust.RegistrationRequest {
	t.Helper()
	return trust.RegistrationRequest{
		CSR: csr(t, newKey(t)), Token: token, TenantID: ready.TenantID, UserAgent: "test/1", ModuleVersion: "1",
		System: trust.SystemSettings{MachineName: "server1"},
	}
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	good := registrationRequest(t, ready, mint(t, ready, `{}`))
	with := func(change func(*trust.RegistrationRequest)) trust.RegistrationRequest {
		r := good
		change(&r)
		return r
	}
	const other = "11111111-2222-4333-8444-555555555555"
	cases := map[string]struct {
		request trust.RegistrationRequest
		want    string
	}{
		"an expired token":        {with(func(r *trust.RegistrationRequest) { r.Token = mint(t, ready, `{"ttlSeconds":-60}`) }), "expired"},
		"another tenant's token":  {with(func(r *trust.RegistrationRequest) { r.Token = mint(t, ready, `{"tenantID":"`+other+`"}`) }), "not for this one"},
		"another service's token": {with(func(r *trust.RegistrationRequest) { r.Token = mint(t, ready, `{"audience":"https://graph.test"}`) }), "another service"},
		"no token":                {with(func(r *trust.RegistrationRequest) { r.Token = "x" }), "cannot be read"},
		"another tenant":          {with(func(r *trust.RegistrationRequest) { r.TenantID = other }), "another tenant"},
		"no certificate request":  {with(func(r *trust.RegistrationRequest) { r.CSR = []byte("hello") }), "certificate request"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := sendRegistration(t, ready, tc.request)
			if got.Successful || len(got.Certificate) != 0 || !strings.Contains(got.ErrorMessage, tc.want) {
				t.Errorf("got %+v, want a refusal about %q", got, tc.want)
			}
		})
	}
	if got := stats(t, ready); got["registrationsRefused"] != len(cases) || got["registrations"] != 0 {
		t.Errorf("stats %v, want %d refusals", got, len(cases))
	}
	if got := sendRegistration(t, ready, good); !got.Successful {
		t.Errorf("the good request is refused too: %s", got.ErrorMessage)
	}
}

func TestHostsAndPaths(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	plain := &http.Client{Transport: transport(t, ready)}
	key := newKey(t)
	foreign := &http.Client{Transport: transport(t, ready, foreignCertificate(t, key))}
	const domain = ".msappproxy.test"
	for name, tc := range map[string]struct {
		client *http.Client
		url    string
		want   int
	}{
		"a bootstrap without a certificate":      {plain, ready.BootstrapURL + bootstrap.Path, http.StatusForbidden},
		"a bootstrap at the older host":          {plain, "https://" + tenantID + ".bootstrap" + domain + bootstrap.Path, http.StatusForbidden},
		"a bootstrap with a foreign certificate": {foreign, ready.BootstrapURL + bootstrap.Path, http.StatusForbidden},
		"a renewal without a certificate":        {plain, "https://his-nam1-test1.renewtrust" + domain + "/renewTrust/RenewTrustCertificate", http.StatusForbidden},
		"a response without a certificate":       {plain, "https://proxy-1-pta-test.connector.his" + domain + "/subscriber/connection", http.StatusForbidden},
		"a response with a foreign certificate":  {foreign, "https://proxy-1-pta-test.connector.his" + domain + "/subscriber/connection", http.StatusForbidden},
		"a response on an old port":              {plain, "https://proxy-1-pta-test.connector.his" + domain + ":10100/subscriber/connection", http.StatusForbidden},
		"another tenant's host":                  {plain, "https://11111111-2222-4333-8444-555555555555.registration" + domain + trust.RegistrationPath, http.StatusMisdirectedRequest},
		"a path of another host":                 {plain, ready.RegistrationURL + bootstrap.Path, http.StatusNotFound},
		"a relay path without a WebSocket":       {plain, "https://his-nam1-test1.servicebus.test/$servicebus/websocket", http.StatusBadRequest},
		"a registration that is no XML":          {plain, ready.RegistrationURL + "/register/registerConnector", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if got, answer := post(t, tc.client, tc.url, trust.ContentType, []byte("hello")); got != tc.want {
				t.Errorf("status %d (%s), want %d", got, answer, tc.want)
			}
		})
	}
	for _, protocol := range []string{"wsrelayedconnection", "AMQPWSB10"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		socket, _, err := websocket.Dial(ctx, "wss://his-nam1-test1.servicebus.test/$servicebus/websocket", &websocket.DialOptions{HTTPClient: plain, Subprotocols: []string{protocol}})
		if err == nil {
			socket.CloseNow()
			t.Errorf("a namespace host takes subprotocol %s", protocol)
		}
	}
}

// foreignCertificate is of this tenant, but from another registration
// authority.
func foreignCertificate(t *testing.T, key *rsa.PrivateKey) tls.Certificate {
	t.Helper()
	other, err := authority.Open(t.TempDir(), "msappproxy.test")
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := guid.Parse(tenantID)
	if err != nil {
		t.Fatal(err)
	}
	der, err := other.IssueConnector(&key.PublicKey, tenant, guid.New(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestRenewal(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	c := register(t, ready, "server1")
	c.password = right
	first := c.identity
	key := newKey(t)
	body, err := trust.RenewalRequest{CSR: csr(t, key), ConnectorVersion: "1", System: trust.SystemSettings{MachineName: "server1"}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	endpoint := c.bootstrap().TrustRenewEndpoint
	status, answer := post(t, c.client, endpoint+trust.RenewalPath, trust.ContentType, body)
	result, err := trust.ParseResult(answer)
	if status != http.StatusOK || err != nil || !result.Successful {
		t.Fatalf("renewal: status %d, %+v, %v", status, result, err)
	}
	c.use(result.Certificate, key)
	if c.identity.ConnectorID != first.ConnectorID || c.identity.TenantID != first.TenantID || c.identity.Thumbprint == first.Thumbprint {
		t.Errorf("after the renewal %+v, before %+v; want the same ids", c.identity, first)
	}
	// Requests are encrypted for both until the new one has carried a bootstrap.
	listening := register(t, ready, "server2")
	listening.password = right
	endpoints := listening.bootstrap().Endpoints
	for _, e := range endpoints {
		listening.listen(e)
	}
	waitForLinks(t, ready, listening.identity.ConnectorID, len(endpoints))
	entries := func() int {
		t.Helper()
		if got := signIn(t, ready, user, right); got.Verdict != "success" {
			t.Fatalf("sign-in: %+v", got)
		}
		seen := listening.seen()
		return len(seen[len(seen)-1].Tunnel.Protocol.PasswordValidation.EncryptedData)
	}
	if got := entries(); got != 3 {
		t.Errorf("%d entries after the renewal, want 3", got)
	}
	c.bootstrap()
	if got := entries(); got != 2 {
		t.Errorf("%d entries once the new certificate is in use, want 2", got)
	}
	if got := agents(t, ready)[0]; got.Thumbprint != c.identity.Thumbprint {
		t.Errorf("agent %+v, want the new thumbprint %s", got, c.identity.Thumbprint)
	}
}

// messages reads WebSocket messages one by one, which go-amqp cannot show.
func message(t *testing.T, socket *websocket.Conn) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	kind, b, err := socket.Read(ctx)
	if err != nil || kind != websocket.MessageBinary {
		t.Fatalf("reading a message: %v, %v", kind, err)
	}
	return b
}

func write(t *testing.T, socket *websocket.Conn, b []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := socket.Write(ctx, websocket.MessageBinary, b); err != nil {
		t.Fatal(err)
	}
}

// TestMessageBoundaries plays a client of the field that cuts nothing itself:
// every AMQP frame must be one message, and a transfer two.
func TestMessageBoundaries(t *testing.T) {
	ready := start(t, cloud.Options{AcceptTimeout: 2 * time.Second, ResponseTimeout: time.Second}).Ready()
	c := register(t, ready, "server1")
	e := c.bootstrap().Endpoints[0]
	vectors := vectorsOf(t)
	socket := dial(t, ready, e.Host(), "wsrelayedamqp")
	defer socket.CloseNow()

	write(t, socket, []byte{'A', 'M', 'Q', 'P', 3, 1, 0, 0})
	message(t, socket)
	if got := len(message(t, socket)); got > 64 {
		t.Errorf("the mechanisms have %d bytes, clients read 64", got)
	}
	write(t, socket, vectors["saslInit.client"])
	if got := len(message(t, socket)); got > 32 {
		t.Errorf("the outcome has %d bytes, clients read 32", got)
	}
	write(t, socket, append([]byte{'A', 'M', 'Q', 'P', 0, 1, 0, 0}, vectors["open.client"]...)) // back to back
	if got := len(message(t, socket)); got != 8 {
		t.Errorf("the header has %d bytes", got)
	}
	if got := len(message(t, socket)); got > 128 {
		t.Errorf("the open has %d bytes, clients read 128", got)
	}
	write(t, socket, vectors["begin.client"])
	if got := len(message(t, socket)); got > 64 {
		t.Errorf("the begin has %d bytes, clients read 64", got)
	}
	for _, name := range []string{"attachOut.client", "attachIn.client"} {
		write(t, socket, forEndpoint(vectors[name], e))
	}
	write(t, socket, vectors["flow.client"])
	second := append([]byte(nil), vectors["flow.client"]...)
	second = append(append(second[:28:28], 0x52, 0x01), second[29:]...) // handle 1 in place of 0
	second[3]++
	second[12]++
	write(t, socket, second)
	for range 3 { // two attaches, one flow
		if b := message(t, socket); len(b) > 1024 || int(binary.BigEndian.Uint32(b)) != len(b) {
			t.Errorf("a message of %d bytes is not one frame that clients can read", len(b))
		}
	}
	waitForLinks(t, ready, c.identity.ConnectorID, 1)
	done := make(chan int, 1)
	go func() { done <- signIn(t, ready, user, right).AADSTS }()
	head, payload := message(t, socket), message(t, socket)
	if int(binary.BigEndian.Uint32(head)) != len(head)+len(payload) || len(head) > 49 || len(payload) > 1024 {
		t.Errorf("the transfer came in %d and %d bytes, its size says %d", len(head), len(payload), binary.BigEndian.Uint32(head))
	}
	connect, err := relay.DecodeConnect(payload[8:])
	if err != nil {
		t.Fatal(err)
	}
	write(t, socket, vectors["disposition.client"])
	meet(t, ready, connect)
	if got := <-done; got != 80002 {
		t.Errorf("AADSTS%d for a connector that went no further, want 80002", got)
	}
}

// meet accepts a connection and checks the messages of the answer.
func meet(t *testing.T, ready cloud.Ready, connect relay.Connect) {
	t.Helper()
	socket := dial(t, ready, connect.InstanceDNSAddress, "wsrelayedconnection")
	defer socket.CloseNow()
	accept := relay.AppendPrefixed(nil, relay.EncodeAccept(connect.ID))
	write(t, socket, accept[:4])
	write(t, socket, accept[4:])
	if got := message(t, socket); hex.EncodeToString(got) != "98000000" {
		t.Errorf("the reply's length came as % X", got)
	}
	if err := relay.DecodeAcceptReply(message(t, socket)); err != nil {
		t.Error(err)
	}
	// The same id again meets nobody.
	again := dial(t, ready, connect.InstanceDNSAddress, "wsrelayedconnection")
	defer again.CloseNow()
	write(t, again, accept)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, b, err := again.Read(ctx); err == nil {
		t.Errorf("an id that was used was accepted again with % X", b)
	}
}

func vectorsOf(t *testing.T) map[string][]byte {
	t.Helper()
	f, err := os.Open("../amqp/testdata/transcript.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	vectors := map[string][]byte{}
	name := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			name = strings.Trim(line, "[]")
		default:
			b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			vectors[name] = append(vectors[name], b...)
		}
	}
	return vectors
}

// forEndpoint puts address and token of an endpoint in place of the vector's,
// without mending the sizes inside: the server goes by counts.
func forEndpoint(vector []byte, e bootstrap.Endpoint) []byte {
	s := string(vector)
	replace := func(marker byte, begin, with string) {
		at := strings.Index(s, begin)
		length := int(s[at-1])
		if s[at-2] != marker {
			panic("the vector is not what this test was written for")
		}
		s = s[:at-2] + string([]byte{0xB1}) + string(binary.BigEndian.AppendUint32(nil, uint32(len(with)))) + with + s[at+length:]
	}
	replace(0xA1, "sb://", "sb://"+e.Host()+"/"+e.ServicePath+"/")
	replace(0xA1, "SharedAccessSignature", sas.Sign(sas.ResourceURI(e.Host(), e.ServicePath), e.SharedAccessKeyName, e.SharedAccessKey, time.Now().Add(time.Hour)))
	b := []byte(s)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}
