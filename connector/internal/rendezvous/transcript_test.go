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
)

// What the transcript says of its own world.
const (
	transcriptInstance = "g1-test-sn1-001-sb.servicebus.windows.net"
	transcriptProxy    = "proxy-1-pta-test.connector.his.msappproxy.net"
)

// transcriptPins allow the hosts of the transcript, and no others.
type transcriptPins struct{}

func (transcriptPins) AllowRelayHost(host string) error         { return only(host, transcriptInstance) }
func (transcriptPins) AllowRendezvousPort(int) error            { return nil }
func (transcriptPins) AllowReturnHost(host string, _ int) error { return only(host, transcriptProxy) }

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
			step.bytes = readVector(t, step.name)
		}
		steps = append(steps, step)
	}
	if len(steps) != 12 {
		t.Fatalf("the transcript has %d steps, want 12", len(steps))
	}
	return steps
}

func readVector(t *testing.T, name string) []byte {
	t.Helper()
	folder := filepath.Join("..", "..", "wire", "internal", "vectors", "testdata")
	for _, extension := range []string{".json", ".txt"} {
		text := name + extension
		if name == "verdict-success" && extension == ".json" {
			continue // the header's text is what is sent
		}
		if data, err := os.ReadFile(filepath.Join(folder, text)); err == nil {
			return bytes.TrimSpace(data)
		}
	}
	data, err := os.ReadFile(filepath.Join(folder, name+".hex"))
	must(t, err)
	var digits strings.Builder
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.Join(strings.Fields(line), ""))
		}
	}
	b, err := hex.DecodeString(digits.String())
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// transcriptGranted is the sequence that the connector of the transcript names.
var transcriptGranted = []byte{0xC4, 0xC3, 0xC2, 0xC1, 0xC6, 0xC5, 0xC8, 0xC7, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0}

// TestTheConnectorPlaysTheTranscript lets a handler play the connector's part,
// from the signal on the link to the posted verdict, and compares every byte.
func TestTheConnectorPlaysTheTranscript(t *testing.T) {
	steps := readTranscript(t)
	fetched, posted := make(chan []byte, 1), make(chan string, 1)
	s := emptyStage(t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != signal.FetchPath {
			posted <- r.Header.Get("x-cwap-backend-response")
			return
		}
		socket, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = socket.CloseNow() }()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, message, err := socket.Read(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		fetched <- message
		// The transcript has no ciphertext; nothing of the request is compared.
		wanted := request(t, "P@ssw0rd")
		wanted.OverriddenReturnHost = transcriptProxy
		if err := socket.Write(ctx, websocket.MessageText, document(t, wanted)); err != nil {
			t.Error(err)
		}
		_, _, _ = socket.Read(ctx) // until the connector leaves
	}))
	t.Cleanup(server.Close)
	client := server.Client()
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig.ServerName = "example.com" // the test server's certificate
	transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		if addr != transcriptProxy+":443" {
			t.Errorf("the connector called %s", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	s.begin(client, func(o *Options) { o.Pins = transcriptPins{} })

	var conn net.Conn
	granted := transcriptGranted
	for _, step := range steps {
		want := step.bytes
		if step.granted {
			want = bytes.ReplaceAll(want, transcriptGranted, granted)
		}
		switch {
		case step.name == "connect":
			s.handler.Handle(want[8:]) // behind the head of the AMQP section
			conn = <-s.relay
			defer conn.Close()
			must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
			continue
		case step.cloud && step.name == "accept-reply":
			want = relay.AppendPrefixed(nil, want)
			fallthrough
		case step.cloud:
			_, err := conn.Write(want)
			must(t, err)
			continue
		}
		var got []byte
		switch step.name {
		case "accept":
			message, err := relay.ReadPrefixed(conn, relay.MaxMessage)
			must(t, err)
			got = message
		case "fetch":
			got = <-fetched
		case "verdict-success":
			got = []byte(<-posted)
		default:
			got = make([]byte, len(want))
			_, err := io.ReadFull(conn, got)
			must(t, err)
		}
		if step.name == "create-sequence-response" {
			if at := bytes.Index(want, transcriptGranted); at >= 0 && len(got) >= at+16 {
				granted = bytes.Clone(got[at : at+16])
				want = bytes.ReplaceAll(want, transcriptGranted, granted)
			}
			if bytes.Equal(granted, transcriptGranted) {
				t.Fatal("the connector draws no sequence of its own")
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%s: the connector wrote\n% X\nand the transcript has\n% X", step.name, got, want)
		}
	}
}
