// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/connector/wire/vectors"
)

// transcriptPins allow the hosts of the transcript, and no others.
type transcriptPins struct{}

func (transcriptPins) AllowRelayHost(host string) error         { return only(host, vectors.Instance) }
func (transcriptPins) AllowRendezvousPort(int) error            { return nil }
func (transcriptPins) AllowReturnHost(host string, _ int) error { return only(host, vectors.Proxy) }

func only(host, want string) error {
	if host != want {
		return errors.New(host + " is not in the transcript")
	}
	return nil
}

// transcriptStep is a line of the file.
type transcriptStep struct {
	cloud   bool
	name    string
	bytes   []byte
	granted bool
}

// with are the step's bytes with the sequence that the connector really named.
func (s transcriptStep) with(granted []byte) []byte {
	if !s.granted {
		return s.bytes
	}
	return bytes.ReplaceAll(s.bytes, transcriptGranted, granted)
}

// readTranscript reads the file and the vectors that it names.
func readTranscript(t *testing.T) (steps []transcriptStep) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "transcript.txt"))
	must(t, err)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(fields) < 2 || (fields[0] != "cloud" && fields[0] != "connector") {
			t.Fatalf("transcript: cannot read %q", line)
		}
		step := transcriptStep{cloud: fields[0] == "cloud", name: fields[1], granted: len(fields) > 2 && fields[2] == "granted"}
		if text, ok := strings.CutPrefix(step.name, `"`); ok {
			step.bytes, err = hex.DecodeString(strings.TrimSuffix(text, `"`))
			must(t, err)
		} else {
			step.bytes = vectorNamed(step.name)
		}
		steps = append(steps, step)
	}
	if len(steps) != 12 {
		t.Fatalf("the transcript has %d steps, want 12", len(steps))
	}
	return steps
}

// vectorNamed returns the bytes of a file of the vectors.
func vectorNamed(file string) []byte {
	if name, ok := strings.CutSuffix(file, ".hex"); ok {
		return vectors.Bytes(name)
	}
	return []byte(vectors.Text(file))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// transcriptGranted is the sequence that the connector of the transcript names.
var transcriptGranted = []byte{0xC4, 0xC3, 0xC2, 0xC1, 0xC6, 0xC5, 0xC8, 0xC7, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0}

// transcriptWorld is all that the connector of the transcript meets.
type transcriptWorld struct {
	*stage
	conn    net.Conn // to the relay instance
	fetched chan []byte
	posted  chan string
	granted []byte // the sequence that the connector names
}

func newTranscriptWorld(t *testing.T) *transcriptWorld {
	t.Helper()
	w := &transcriptWorld{stage: emptyStage(t), fetched: make(chan []byte, 1), posted: make(chan string, 1), granted: transcriptGranted}
	server := httptest.NewTLSServer(http.HandlerFunc(w.proxyHost))
	t.Cleanup(server.Close)
	client := server.Client()
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig.ServerName = "example.com" // the test server's certificate
	transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		if addr != vectors.Proxy+":443" {
			t.Errorf("the connector called %s", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	w.begin(client, func(o *Options) { o.Pins = transcriptPins{} })
	return w
}

// proxyHost hands the request out and takes the verdict.
func (w *transcriptWorld) proxyHost(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != signal.FetchPath {
		w.posted <- r.Header.Get("x-cwap-backend-response")
		return
	}
	socket, err := websocket.Accept(rw, r, nil)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() { _ = socket.CloseNow() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, message, err := socket.Read(ctx)
	if err != nil {
		w.t.Error(err)
		return
	}
	w.fetched <- message
	// The transcript has no ciphertext; nothing of the request is compared.
	wanted := request(w.t, "P@ssw0rd")
	wanted.OverriddenReturnHost = vectors.Proxy
	if err := socket.Write(ctx, websocket.MessageText, document(w.t, wanted)); err != nil {
		w.t.Error(err)
	}
	_, _, _ = socket.Read(ctx) // until the connector leaves
}

// say plays a step of the cloud.
func (w *transcriptWorld) say(name string, b []byte) {
	w.t.Helper()
	switch name {
	case "connect.hex":
		w.handler.Handle(b[8:]) // behind the head of the AMQP section
		w.conn = <-w.relay
		w.t.Cleanup(func() { w.conn.Close() })
		must(w.t, w.conn.SetDeadline(time.Now().Add(time.Minute)))
		return
	case "accept-reply.hex":
		b = relay.AppendPrefixed(nil, b)
	}
	_, err := w.conn.Write(b)
	must(w.t, err)
}

// hear returns what the connector does at a step that has so many bytes.
func (w *transcriptWorld) hear(name string, size int) []byte {
	w.t.Helper()
	switch name {
	case "accept.hex":
		message, err := relay.ReadPrefixed(w.conn, relay.MaxMessage)
		must(w.t, err)
		return message
	case "fetch.json":
		return <-w.fetched
	case "verdict-success.txt":
		return []byte(<-w.posted)
	}
	got := make([]byte, size)
	_, err := io.ReadFull(w.conn, got)
	must(w.t, err)
	return got
}

// TestTheConnectorPlaysTheTranscript lets a handler play the connector's part,
// from the signal on the link to the posted verdict, and compares every byte.
func TestTheConnectorPlaysTheTranscript(t *testing.T) {
	w := newTranscriptWorld(t)
	for _, step := range readTranscript(t) {
		if step.cloud {
			w.say(step.name, step.with(w.granted))
			continue
		}
		got := w.hear(step.name, len(step.bytes))
		if at := bytes.Index(step.bytes, transcriptGranted); step.name == "create-sequence-response.hex" && len(got) >= at+16 {
			if w.granted = bytes.Clone(got[at : at+16]); bytes.Equal(w.granted, transcriptGranted) {
				t.Fatal("the connector draws no sequence of its own")
			}
		}
		if want := step.with(w.granted); !bytes.Equal(got, want) {
			t.Fatalf("%s: the connector wrote\n% X\nand the transcript has\n% X", step.name, got, want)
		}
	}
}
