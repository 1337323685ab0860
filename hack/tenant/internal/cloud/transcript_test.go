// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/connector/wire/vectors"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
)

// The transcript's domains have equals of the same length under reserved ones,
// so that every length in its bytes stays true.
var transcriptDomains = strings.NewReplacer("servicebus.windows.net", "servicebus.window.test", "msappproxy.net", "msappprox.test")

// Ids of the transcript that give way to others: those that a connector chose or
// was given, by what they are.
const (
	transcriptRendezvous  = "39aadc47-0000-4000-8000-51ad9e0cca37"
	transcriptRequest     = "dff0f331-0000-4000-8000-b741343d6d00"
	transcriptTransaction = "41bf611b-0000-4000-8000-2be2477279f4"
	transcriptFirst       = "\x04\x03\x02\x01\x06\x05\x08\x07\x09\x0A\x0B\x0C\x0D\x0E\x0F\x10"
	transcriptSecond      = "\x14\x13\x12\x11\x16\x15\x18\x17\x19\x1A\x1B\x1C\x1D\x1E\x1F\x20"
	transcriptOffer       = "\xA4\xA3\xA2\xA1\xA6\xA5\xA8\xA7\xA9\xAA\xAB\xAC\xAD\xAE\xAF\xB0"
)

// transcriptDrawn are the ids that the cloud draws, by the step in which they are
// first seen.
var transcriptDrawn = map[string][]string{
	"transferHead.server":    {"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F"}, // the delivery
	"transferPayload.server": {"655e645f-0000-4000-8000-c7a17520f929_G7", transcriptRendezvous},
	"create-sequence.hex":    {transcriptFirst, transcriptOffer},
	"signal-connect.hex": {
		transcriptSecond, transcriptRequest, transcriptTransaction,
		"-139793387",                           // the hash of a configuration
		"8457828f-0000-4000-8000-4044b1478cc1", // the connection to fetch it by
	},
}

// part is a line of the file.
type part struct {
	cloud bool
	name  string
	bytes []byte
}

// readParts reads the file and the bytes that it names.
func readParts(t *testing.T) (parts []part) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "transcript.txt"))
	must(t, err)
	frames := vectorsOf(t)
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		speaker, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		name = strings.TrimSpace(name)
		p := part{cloud: speaker == "cloud", name: name, bytes: frames[name]}
		if text, ok := strings.CutPrefix(name, `"`); ok {
			p.bytes, err = hex.DecodeString(strings.TrimSuffix(text, `"`))
			must(t, err)
		} else if vector, ok := strings.CutSuffix(name, ".hex"); ok {
			p.bytes = vectors.Bytes(vector)
		} else if p.bytes == nil {
			p.bytes = []byte(vectors.Text(name))
		}
		if len(p.bytes) == 0 || speaker != "cloud" && speaker != "connector" {
			t.Fatalf("transcript: cannot read %q", line)
		}
		parts = append(parts, p)
	}
	if len(parts) != 16 {
		t.Fatalf("the transcript has %d steps, want 16", len(parts))
	}
	return parts
}

// understudy plays the connector's part of the transcript.
type understudy struct {
	*field
	connector *connector
	ready     cloud.Ready
	meeting   net.Conn // nil until the connector has dialled the relay instance
	// stands is what stands for which id of the transcript, so far.
	stands  map[string]string
	request signal.Message // that was fetched
}

// in returns a step's bytes with what stands for its ids.
func (u *understudy) in(b []byte) []byte {
	text := transcriptDomains.Replace(string(b))
	for id, other := range u.stands {
		text = strings.ReplaceAll(text, id, other)
	}
	return []byte(text)
}

// hear reads a step of the cloud's, takes note of the ids that it draws, and
// compares all else.
func (u *understudy) hear(p part) {
	u.t.Helper()
	var got []byte
	if u.meeting == nil {
		got = message(u.t, u.socket)
	} else {
		got = make([]byte, len(p.bytes))
		_, err := io.ReadFull(u.meeting, got)
		must(u.t, err)
	}
	for _, id := range transcriptDrawn[p.name] {
		at := bytes.Index(p.bytes, []byte(id))
		if at < 0 || len(got) < at+len(id) {
			u.t.Fatalf("%s: no room for % X in\n% X", p.name, id, got)
		}
		if u.stands[id] = string(got[at : at+len(id)]); u.stands[id] == id {
			u.t.Fatalf("%s: the tenant has no id of its own for % X", p.name, id)
		}
	}
	if want := u.in(p.bytes); !bytes.Equal(got, want) {
		u.t.Fatalf("%s: the tenant wrote\n% X\nand the transcript has\n% X", p.name, got, want)
	}
}

// act plays a step of the connector's.
func (u *understudy) act(p part) {
	u.t.Helper()
	b := u.in(p.bytes)
	switch p.name {
	case "disposition.client":
		u.say(b, 0)
		socket := dial(u.t, u.ready, transcriptDomains.Replace(vectors.Instance), "wsrelayedconnection")
		u.t.Cleanup(func() { _ = socket.CloseNow() })
		u.meeting = websocket.NetConn(u.t.Context(), socket, websocket.MessageBinary)
		must(u.t, u.meeting.SetDeadline(time.Now().Add(time.Minute)))
	case "fetch.json":
		u.fetch(string(b))
	case "verdict-success.txt":
		u.connector.become(right, behaviour{rawAnswer: string(b)})
		u.connector.respond(u.t.Context(), u.request)
	default:
		_, err := u.meeting.Write(b)
		must(u.t, err)
	}
}

// fetch asks the proxy host for the request. The transcript has no ciphertext:
// what it says of the document is checked after decoding it.
func (u *understudy) fetch(question string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
	defer cancel()
	transaction := u.stands[transcriptTransaction]
	socket, err := u.connector.ask(ctx, transcriptDomains.Replace(vectors.Proxy)+":443", transaction, question)
	must(u.t, err)
	defer func() { _ = socket.Close(websocket.StatusNormalClosure, "") }()
	_, document, err := socket.Read(ctx)
	must(u.t, err)
	m, err := signal.DecodeJSON(document)
	must(u.t, err)
	if m.RequestID != u.stands[transcriptRequest] || m.TransactionID != transaction || m.Tunnel.Protocol.Traffic != signal.TrafficPasswordValidation {
		u.t.Fatalf("the proxy host handed out request %s of transaction %s with traffic %d", m.RequestID, m.TransactionID, m.Tunnel.Protocol.Traffic)
	}
	u.request = m
}

// TestTheTenantPlaysTheTranscript lets the tenant play the cloud's part, from the
// signal on the link to the result of the sign-in, and compares every byte.
func TestTheTenantPlaysTheTranscript(t *testing.T) {
	ready := start(t, cloud.Options{
		ServiceDomain: transcriptDomains.Replace("msappproxy.net"), RelayDomain: transcriptDomains.Replace("servicebus.windows.net"),
		Endpoints: signin.EndpointReliable, Delivery: signin.DeliverConnect,
	}).Ready()
	c := register(t, ready, "server1")
	e := c.bootstrap().Endpoints[0]
	u := &understudy{field: newField(t, ready, e), connector: c, ready: ready, stands: map[string]string{
		vectors.Connector: c.identity.ConnectorID,
		vectors.Group:     strings.TrimSuffix(strings.TrimPrefix(e.ServicePath, vectors.Tenant+"_"), "_reliable"),
	}}
	u.attach(e)
	done := make(chan signin.Result, 1)
	go func() {
		result, _ := signInBy(t, ready, "")
		done <- result
	}()
	for _, p := range readParts(t) {
		if p.cloud {
			u.hear(p)
		} else {
			u.act(p)
		}
	}
	if result := <-done; result.Verdict != signin.Success || result.Attempts != 1 {
		t.Errorf("the sign-in ended with %+v", result)
	}
}
