// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"
	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/sas"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
)

// connector is the smallest one that works: what the tenant must get along
// with, without any code of the real one.
type connector struct {
	t        *testing.T
	ready    cloud.Ready
	name     string
	key      *rsa.PrivateKey
	identity trust.Identity
	client   *http.Client // with the client certificate
	direct   bool         // reaches the relay without WebSockets

	mu sync.Mutex
	// What it does with requests; see plan and become.
	password string // the right one
	behave   behaviour
	signals  []signal.Message
	statuses []int    // of responses
	wire     []string // what reliable sessions brought
}

// behaviour says where a connector departs from the straight path.
type behaviour struct {
	ignore       bool // messages on the link are taken, and no connection made
	release      bool // messages on the link are turned down
	closing      bool // signals are answered with the closing fault
	dontAck      bool // signals are not acknowledged, yet validated
	dontRespond  bool
	earlyAck     bool           // of the preamble
	answer       signal.Verdict // instead of the validation's, if not zero
	rawAnswer    string         // instead of a verdict
	respondAfter <-chan struct{}
	creditAfter  <-chan struct{} // links take no message before
	anotherID    bool            // in SignalConnectorResponse
	// On reliable endpoints only, see converse.
	session      sessionBehaviour
	abandon      bool // a fetch is not ended in order
	anotherTrans bool // a fetch names another transaction
}

// transport leads through the tenant's proxy and trusts its root.
func transport(t *testing.T, ready cloud.Ready, certificates ...tls.Certificate) *http.Transport {
	t.Helper()
	root, err := os.ReadFile(ready.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	proxy, err := url.Parse(ready.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{
		Proxy:           http.ProxyURL(proxy),
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates, MinVersion: tls.VersionTLS12},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// register registers a connector and gives it its certificate.
func register(t *testing.T, ready cloud.Ready, name string) *connector {
	t.Helper()
	c := &connector{t: t, ready: ready, name: name, key: newKey(t)}
	result := sendRegistration(t, ready, trust.RegistrationRequest{
		CSR: csr(t, c.key), Token: mint(t, ready, `{}`), TenantID: ready.TenantID, UserAgent: "PassthroughAuthenticationConnector/1.5.3437.0",
		ModuleVersion: "1.5.3437.0", System: trust.SystemSettings{MachineName: name},
	})
	if !result.Successful {
		t.Fatalf("registering: %s", result.ErrorMessage)
	}
	c.use(result.Certificate, c.key)
	return c
}

func csr(t *testing.T, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := trust.NewCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// use takes a certificate into use.
func (c *connector) use(der []byte, key *rsa.PrivateKey) {
	c.t.Helper()
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.identity, err = trust.ParseIdentity(certificate); err != nil {
		c.t.Fatal(err)
	}
	c.key = key
	tr := transport(c.t, c.ready, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	c.client = &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func sendRegistration(t *testing.T, ready cloud.Ready, request trust.RegistrationRequest) trust.Result {
	t.Helper()
	body, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	status, answer := post(t, &http.Client{Transport: transport(t, ready)}, ready.RegistrationURL+trust.RegistrationPath, trust.ContentType, body)
	if status != http.StatusOK {
		t.Fatalf("registration: status %d: %s", status, answer)
	}
	result, err := trust.ParseResult(answer)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func post(t *testing.T, client *http.Client, address, contentType string, body []byte) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// bootstrap does one, which must succeed.
func (c *connector) bootstrap() bootstrap.Response {
	c.t.Helper()
	body, err := bootstrap.Request{
		TenantID: c.identity.TenantID, ConnectorID: c.identity.ConnectorID, RequestID: guid.New().String(),
		AgentVersion: "1.5.3437.0", System: trust.SystemSettings{MachineName: c.name}, InitialBootstrap: true,
	}.Marshal()
	if err != nil {
		c.t.Fatal(err)
	}
	status, answer := post(c.t, c.client, c.ready.BootstrapURL+bootstrap.Path, bootstrap.ContentType, body)
	if status != http.StatusOK {
		c.t.Fatalf("bootstrap: status %d: %s", status, answer)
	}
	response, err := bootstrap.ParseResponse(answer)
	if err != nil {
		c.t.Fatal(err)
	}
	return response
}

// dial opens a WebSocket to a relay host, without a client certificate.
func dial(t *testing.T, ready cloud.Ready, host, subprotocol string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, "wss://"+host+"/$servicebus/websocket", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport(t, ready)}, Subprotocols: []string{subprotocol},
	})
	if err != nil {
		t.Fatalf("dialling %s: %v", host, err)
	}
	if socket.Subprotocol() != subprotocol {
		t.Fatalf("%s answered with subprotocol %q, want %q", host, socket.Subprotocol(), subprotocol)
	}
	return socket
}

// listen attaches to one endpoint and serves it until the test ends.
func (c *connector) listen(endpoint bootstrap.Endpoint) {
	c.t.Helper()
	conn := c.toListen(endpoint.Host())
	client, err := goamqp.NewConn(c.t.Context(), conn, &goamqp.ConnOptions{
		SASLType: goamqp.SASLTypeExternal(""), HostName: endpoint.Namespace + "-relay." + endpoint.Domain,
		ContainerID: "RelayConnection_" + guid.New().String(), IdleTimeout: -1,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	session, err := client.NewSession(c.t.Context(), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	name := "RelayLink_" + guid.New().String()
	address := "sb://" + endpoint.Host() + "/" + endpoint.ServicePath + "/"
	properties := map[string]any{
		"com.microsoft:swt": sas.Sign(sas.ResourceURI(endpoint.Host(), endpoint.ServicePath), endpoint.SharedAccessKeyName,
			endpoint.SharedAccessKey, time.Now().Add(time.Hour)),
		"com.microsoft:client-agent": "ServiceBus/3.0.51093.14;", "com.microsoft:dynamic-relay": false,
		"com.microsoft:listener-type": "RelayedConnection", "com.microsoft:tracking-id": guid.New().String(),
	}
	if _, err := session.NewSender(c.t.Context(), address, &goamqp.SenderOptions{Name: name + ":out", Properties: properties}); err != nil {
		c.t.Fatal(err)
	}
	const credit = 1000
	options := &goamqp.ReceiverOptions{Name: name + ":in", Properties: properties, Credit: credit}
	_, plan := c.plan()
	if plan.creditAfter != nil {
		options.Credit = -1 // by IssueCredit alone
	}
	receiver, err := session.NewReceiver(c.t.Context(), address, options)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if plan.creditAfter != nil {
			select {
			case <-plan.creditAfter:
			case <-ctx.Done():
				return
			}
			if err := receiver.IssueCredit(credit); err != nil {
				c.t.Error(err)
			}
		}
		c.serve(ctx, receiver, &serving)
	})
	c.t.Cleanup(func() {
		cancel()
		client.Close()
		serving.Wait()
	})
}

func (c *connector) serve(ctx context.Context, receiver *goamqp.Receiver, serving *sync.WaitGroup) {
	for {
		message, err := receiver.Receive(ctx, nil)
		if err != nil {
			return
		}
		_, plan := c.plan()
		settle := receiver.AcceptMessage
		if plan.release {
			settle = receiver.ReleaseMessage
		}
		if settle(ctx, message) != nil || plan.ignore || plan.release {
			continue
		}
		connect, err := relay.DecodeConnect(message.GetData())
		if err != nil {
			c.t.Errorf("the message on the link: %v", err)
			return
		}
		serving.Go(func() { c.rendezvous(ctx, connect) })
	}
}

// rendezvous meets the cloud and handles its one signal.
func (c *connector) rendezvous(ctx context.Context, connect relay.Connect) {
	conn := c.toMeet(ctx, connect)
	defer conn.Close()
	_, plan := c.plan()
	accept := relay.AppendPrefixed(nil, relay.EncodeAccept(connect.ID))
	for _, part := range [][]byte{accept[:4], accept[4:]} {
		if !c.wrote(conn, part) {
			return
		}
	}
	reply, err := relay.ReadPrefixed(conn, 4096)
	if err == nil {
		err = relay.DecodeAcceptReply(reply)
	}
	if err != nil {
		c.t.Errorf("accepting: %v", err)
		return
	}
	if plan.earlyAck && !c.wrote(conn, framing.AppendPreambleAck(nil)) {
		return
	}
	reader := framing.NewReader(conn)
	preamble, err := reader.ReadPreamble()
	if err != nil || preamble.Via != connect.Via {
		c.t.Errorf("the preamble %+v, %v; want via %s", preamble, err, connect.Via)
		return
	}
	if !plan.earlyAck && !c.wrote(conn, framing.AppendPreambleAck(nil)) {
		return
	}
	record, err := reader.ReadRecord()
	if err != nil || record.Type != framing.RecordSizedEnvelope {
		c.t.Errorf("the first record %v, %v; want a signal", record.Type, err)
		return
	}
	decoder := signal.NewDecoder()
	envelope, err := decoder.Decode(record.Payload)
	if err == nil && envelope.Kind == signal.KindCreateSequence {
		c.converse(ctx, &conversation{conn: conn, reader: reader, encoder: signal.NewEncoder(), decoder: decoder, create: envelope})
		return
	}
	if err != nil || envelope.Signal == nil {
		c.t.Errorf("the first envelope %+v, %v; want a signal", envelope.Kind, err)
		return
	}
	c.mu.Lock()
	c.signals = append(c.signals, *envelope.Signal)
	c.mu.Unlock()
	if plan.closing {
		c.reply(ctx, conn, reader, signal.Envelope{Kind: signal.KindClosingFault, RelatesTo: envelope.MessageID, Fault: &signal.Fault{Reason: "stopping"}})
		return
	}
	if !plan.dontAck {
		id := c.identity.ConnectorID
		if plan.anotherID {
			id = guid.New().String()
		}
		c.reply(ctx, conn, reader, signal.Envelope{Kind: signal.KindResponse, RelatesTo: envelope.MessageID, Response: &signal.Response{ConnectorID: id}})
	}
	c.answer(ctx, *envelope.Signal)
}

// answer answers a signal's request, which it may have to fetch.
func (c *connector) answer(ctx context.Context, request signal.Message) {
	if _, plan := c.plan(); plan.dontRespond {
		return
	}
	leave := func() {}
	if request.Tunnel.Protocol.Traffic == signal.TrafficConnect {
		var ok bool
		if request, leave, ok = c.fetch(ctx, request); !ok {
			return
		}
	}
	c.respond(ctx, request)
	leave()
}

// wrote writes to the cloud, which may be gone.
func (c *connector) wrote(conn net.Conn, b []byte) bool {
	_, err := conn.Write(b)
	return err == nil
}

// reply sends an envelope and exchanges end records.
func (c *connector) reply(ctx context.Context, conn net.Conn, reader *framing.Reader, envelope signal.Envelope) {
	content, err := signal.NewEncoder().Encode(envelope)
	if err != nil {
		c.t.Errorf("encoding a reply: %v", err)
		return
	}
	if !c.wrote(conn, framing.AppendSizedEnvelope(nil, content)) {
		return
	}
	record, err := reader.ReadRecord()
	if ctx.Err() == nil && (err != nil || record.Type != framing.RecordEnd) {
		c.t.Errorf("after the reply came record %v, %v; want an end", record.Type, err)
	}
	c.wrote(conn, framing.AppendEnd(nil))
}

// validate decrypts the password made for this connector and judges it.
func (c *connector) validate(m signal.Message) signal.Verdict {
	request := m.Tunnel.Protocol.PasswordValidation
	for _, entry := range request.EncryptedData {
		if entry.KeyIdentifier != c.identity.KeyIdentifier() {
			continue
		}
		plaintext, err := rsa.DecryptOAEP(sha1.New(), nil, c.key, entry.Ciphertext, nil)
		if err != nil {
			c.t.Errorf("decrypting: %v", err)
		}
		password, err := signal.UnwrapPassword(plaintext)
		if err != nil {
			c.t.Errorf("unwrapping: %v", err)
		}
		if right, _ := c.plan(); string(password) == right {
			return signal.Verdict{Authenticated: true, UserPrincipalName: request.UserPrincipalName}
		}
		return signal.Verdict{Reason: signal.Reason{Code: 1326}}
	}
	return signal.Verdict{Reason: signal.Reason{Text: signal.ReasonEncryptionDataNotFound}}
}

// respond posts the verdict.
func (c *connector) respond(ctx context.Context, m signal.Message) {
	_, plan := c.plan()
	verdict := plan.answer
	if verdict == (signal.Verdict{}) {
		verdict = c.validate(m)
	}
	value := plan.rawAnswer
	if value == "" {
		value = signal.EncodeVerdict(verdict)
	}
	if plan.respondAfter != nil {
		<-plan.respondAfter
	}
	address := "https://" + returnAddress(m) + "/subscriber/connection?requestId=" + guid.New().String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, http.NoBody)
	if err != nil {
		c.t.Error(err)
		return
	}
	req.Header.Set("x-cwap-transid", m.TransactionID)
	req.Header.Set("x-cwap-backend-response", value)
	resp, err := c.client.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			c.t.Errorf("posting the verdict: %v", err)
		}
		return
	}
	resp.Body.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses = append(c.statuses, resp.StatusCode)
}

// become changes what it does with requests from now on.
func (c *connector) become(password string, b behaviour) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.password, c.behave = password, b
}

func (c *connector) plan() (password string, b behaviour) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.password, c.behave
}

func (c *connector) seen() []signal.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]signal.Message(nil), c.signals...)
}
