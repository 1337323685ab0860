// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

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

// These tests play clients that are known to work with the service although
// they do what no specification allows. Each names the section of the protocol
// that tells of it. What a unit test of the AMQP server shows alone (no empty
// frames unasked, sections 5.7; pipelining, 5.2) is not repeated here.

// field is a client that plays the transcript by hand.
type field struct {
	t       *testing.T
	socket  *websocket.Conn
	vectors map[string][]byte
}

// newField opens a signalling connection up to its session.
func newField(t *testing.T, ready cloud.Ready, e bootstrap.Endpoint) *field {
	t.Helper()
	f := &field{t, dial(t, ready, e.Host(), "wsrelayedamqp"), vectorsOf(t)}
	t.Cleanup(func() { _ = f.socket.CloseNow() })
	f.say([]byte{'A', 'M', 'Q', 'P', 3, 1, 0, 0}, 2) // the header, and the mechanisms unasked
	f.say(f.vectors["saslInit.client"], 1)
	f.say([]byte{'A', 'M', 'Q', 'P', 0, 1, 0, 0}, 1)
	f.say(f.vectors["open.client"], 1)
	f.say(f.vectors["begin.client"], 1)
	return f
}

// say writes a message and returns the answers that are due at once.
func (f *field) say(b []byte, answers int) [][]byte {
	f.t.Helper()
	write(f.t, f.socket, b)
	all := make([][]byte, 0, answers)
	for range answers {
		all = append(all, message(f.t, f.socket))
	}
	return all
}

// attach attaches both links and grants credit.
func (f *field) attach(e bootstrap.Endpoint) {
	f.t.Helper()
	f.say(forEndpoint(f.vectors["attachOut.client"], e), 1)
	f.say(forEndpoint(f.vectors["attachIn.client"], e), 1)
	message(f.t, f.socket)                             // the flow
	f.say(f.vectors["flow.client"], 0)                 // for handle 0
	f.say(flowForHandle1(f.vectors["flow.client"]), 0) // and 1
}

// performative is the code of a frame's, with one-byte descriptors.
func performative(frame []byte) byte {
	if len(frame) < 11 {
		return 0
	}
	return frame[10]
}

const (
	performativeAttach = 0x12
	performativeDetach = 0x16
)

// withToken puts another token into an attach of forEndpoint.
func withToken(attach []byte, token string) []byte {
	at := bytes.Index(attach, []byte("SharedAccessSignature"))
	length := int(binary.BigEndian.Uint32(attach[at-4:]))
	b := append([]byte(nil), attach[:at-4]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(token)))
	b = append(append(b, token...), attach[at+length:]...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// sign makes a token as a client of the field does that escapes in its own way.
func sign(e bootstrap.Endpoint, expiry string, escape func(string) string) string {
	sr := escape(sas.ResourceURI(e.Host(), e.ServicePath))
	h := hmac.New(sha256.New, []byte(e.SharedAccessKey))
	fmt.Fprintf(h, "%s\n%s", sr, expiry)
	return "SharedAccessSignature sr=" + sr + "&sig=" + escape(base64.StdEncoding.EncodeToString(h.Sum(nil))) + "&se=" + expiry + "&skn=" + e.SharedAccessKeyName
}

// Protocol section 5.5: each attach has its answer at once, before the next one
// is sent, with all fourteen fields.
func TestToleranceOneReplyForEachAttach(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	c := register(t, ready, "server1")
	e := c.bootstrap().Endpoints[0]
	f := newField(t, ready, e)
	for _, name := range []string{"attachOut.client", "attachIn.client"} {
		reply := f.say(forEndpoint(f.vectors[name], e), 1)[0]
		if performative(reply) != performativeAttach || reply[11] != 0xD0 || binary.BigEndian.Uint32(reply[16:]) != 14 {
			t.Errorf("%s was answered with % X", name, reply[:min(len(reply), 24)])
		}
	}
	// Section 5.7: a client's keep-alives are taken, and not answered.
	f.say([]byte{0, 0, 0, 8, 2, 0, 0, 0}, 0)
	f.say([]byte{0, 0, 0, 8, 2, 0, 0, 0}, 0)
	waitForLinks(t, ready, c.identity.ConnectorID, 1)
}

// Protocol section 5.8: tokens in either spelling, with an end decades ahead,
// and sizes inside the frame that are wrong.
func TestToleranceOfTokensAndSizes(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	c := register(t, ready, "server1")
	e := c.bootstrap().Endpoints[0]
	soon := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	lower := func(s string) string {
		escaped := url.QueryEscape(s)
		for i := 0; i+2 < len(escaped); i++ {
			if escaped[i] == '%' {
				escaped = escaped[:i] + strings.ToLower(escaped[i:i+3]) + escaped[i+3:]
			}
		}
		return escaped
	}
	for name, tc := range map[string]struct {
		token string
		size  int // added to the size of the performative's list
		want  byte
	}{
		"lower-case escapes":             {sign(e, soon, lower), 0, 0},
		"upper-case escapes":             {sign(e, soon, url.QueryEscape), 0, 0},
		"an end in 2043":                 {sign(e, "2320445040", lower), 0, 0},
		"an end counted from year one":   {sign(e, "4194967296", url.QueryEscape), 0, 0},
		"a size that is one too large":   {sign(e, soon, lower), 1, 0},
		"a size that is plainly wrong":   {sign(e, soon, lower), 100000, 0},
		"a token that is over":           {sign(e, "1000000000", lower), 0, performativeDetach},
		"a token whose spelling changed": {strings.Replace(sign(e, soon, lower), "%3a", "%3A", 1), 0, performativeDetach},
		"a token of another key":         {sas.Sign(sas.ResourceURI(e.Host(), e.ServicePath), e.SharedAccessKeyName, "other", time.Now().Add(time.Hour)), 0, performativeDetach},
	} {
		t.Run(name, func(t *testing.T) {
			f := newField(t, ready, e)
			attach := withToken(forEndpoint(f.vectors["attachIn.client"], e), tc.token)
			binary.BigEndian.PutUint32(attach[12:], binary.BigEndian.Uint32(attach[12:])+uint32(tc.size))
			answers := 1
			if tc.want != 0 {
				answers = 2
			}
			replies := f.say(attach, answers)
			if performative(replies[0]) != performativeAttach || (tc.want != 0 && performative(replies[1]) != tc.want) {
				t.Errorf("answered with % X", replies)
			}
			if tc.want == 0 {
				waitForLinks(t, ready, c.identity.ConnectorID, 1)
			}
			_ = f.socket.CloseNow()
			waitForLinks(t, ready, c.identity.ConnectorID, 0)
		})
	}
}

// Protocol section 6.4: the preamble may be acknowledged before it has come.
func TestToleranceAnEarlyPreambleAck(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	c := register(t, ready, "server1")
	e := c.bootstrap().Endpoints[0]
	f := newField(t, ready, e)
	f.attach(e)
	done := make(chan int, 1)
	go func() {
		result, _ := signInBy(t, ready, "")
		done <- result.AADSTS
	}()
	message(t, f.socket) // the transfer, in two
	connect, err := relay.DecodeConnect(message(t, f.socket)[8:])
	must(t, err)
	f.say(f.vectors["disposition.client"], 0)

	socket := dial(t, ready, connect.InstanceDNSAddress, "wsrelayedconnection")
	defer func() { _ = socket.CloseNow() }()
	accept := relay.AppendPrefixed(nil, relay.EncodeAccept(connect.ID))
	write(t, socket, accept[:4])
	write(t, socket, accept[4:])
	write(t, socket, framing.AppendPreambleAck(nil)) // nothing has been read yet
	message(t, socket)                               // the reply's length
	must(t, relay.DecodeAcceptReply(message(t, socket)))
	stream := framing.NewReader(websocket.NetConn(t.Context(), socket, websocket.MessageBinary))
	if _, err := stream.ReadPreamble(); err != nil {
		t.Fatal(err)
	}
	record, err := stream.ReadRecord()
	must(t, err)
	envelope, err := signal.NewDecoder().Decode(record.Payload)
	if err != nil || envelope.Kind != signal.KindSignal {
		t.Fatalf("after an early acknowledgement came %+v, %v", envelope.Kind, err)
	}
	c.become(right, behaviour{})
	c.respond(t.Context(), *envelope.Signal)
	if got := <-done; got != 0 {
		t.Errorf("AADSTS%d", got)
	}
}

func flowForHandle1(flow []byte) []byte {
	second := append([]byte(nil), flow[:28]...)
	second = append(append(second, 0x52, 0x01), flow[29:]...)
	second[3]++
	second[12]++
	return second
}

// Protocol section 9.3: claims with plain slashes, in another order, the reason
// as a number or as a text; section 9.2: the few headers that count.
func TestToleranceOfClaims(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	c := connectOne(t, ready, behaviour{})
	claim := func(kind, resource string) string {
		return `{"Right":"http://schemas.xmlsoap.org/ws/2005/05/identity/right/identity","Resource":` + resource + `,"ClaimType":"` + kind + `"}`
	}
	const (
		verdict = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/authentication"
		name    = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
		reason  = "http://msappproxy.net/ws/2015/02/identity/claims/validationfailurereasoning"
	)
	for what, tc := range map[string]struct {
		claims string
		aadsts int
	}{
		"plain slashes":          {`[` + claim(verdict, "true") + `,` + claim(name, `"`+user+`"`) + `]`, 0},
		"the verdict last":       {`[` + claim(name, `"`+user+`"`) + `,` + claim(verdict, "true") + `]`, 0},
		"an unrelated name":      {`[` + claim(verdict, "true") + `,` + claim(name, `"nobody"`) + `]`, 0},
		"the reason as a text":   {`[` + claim(verdict, "false") + `,` + claim(reason, `"1331"`) + `]`, 50057},
		"the reason as a word":   {`[` + claim(verdict, "false") + `,` + claim(reason, `"EncryptionDataNotFound"`) + `]`, 80011},
		"the reason as a number": {`[` + claim(verdict, "false") + `,` + claim(reason, `1331`) + `]`, 50057},
	} {
		t.Run(what, func(t *testing.T) {
			c.become(right, behaviour{rawAnswer: base64.StdEncoding.EncodeToString([]byte(tc.claims))})
			if result, _ := signInBy(t, ready, ""); result.AADSTS != tc.aadsts {
				t.Errorf("AADSTS%d, want %d", result.AADSTS, tc.aadsts)
			}
		})
	}
}

// Protocol sections 2.5 and 4.1: who bootstraps is told by the certificate;
// other ids in the body change nothing, and are counted.
func TestToleranceIdentityByCertificate(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	one, two := register(t, ready, "one"), register(t, ready, "two")
	two.bootstrap()
	body, err := bootstrap.Request{
		TenantID: guid.New().String(), ConnectorID: two.identity.ConnectorID, RequestID: guid.New().String(),
		AgentVersion: "1.5.3437.0", System: trust.SystemSettings{MachineName: "renamed"},
	}.Marshal()
	must(t, err)
	status, answer := post(t, one.client, ready.BootstrapURL+bootstrap.Path, bootstrap.ContentType, append([]byte("\r\n  "), body...))
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, answer)
	}
	response, err := bootstrap.ParseResponse(answer)
	must(t, err)
	e := response.Endpoints[0]
	newField(t, ready, e).say(forEndpoint(vectorsOf(t)["attachIn.client"], e), 1)
	waitForLinks(t, ready, one.identity.ConnectorID, 1) // the keys are those of whose certificate it was
	for _, a := range agents(t, ready) {
		if want := map[string]string{one.identity.ConnectorID: "renamed", two.identity.ConnectorID: "two"}[a.ConnectorID]; a.Name != want {
			t.Errorf("agent %s is called %s, want %s", a.ConnectorID, a.Name, want)
		}
	}
	if got := stats(t, ready)["defectBootstrapIDs"]; got != 1 {
		t.Errorf("%d defects were counted, want 1", got)
	}
}
