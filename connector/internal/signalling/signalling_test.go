// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/passthrough-dev/connector-operator/connector/wire/sas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	relayHost = "his-nam1-test1.servicebus.windows.net"
	relayPath = "6f5e4d3c-2b1a-4908-8716-253443526170_9a8b7c6d-5e4f-4a3b-9c2d-1e0f1a2b3c4d_reliable"
	sasKey    = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

var endpoint = Endpoint{Host: relayHost, Namespace: "his-nam1-test1", Domain: "servicebus.windows.net", Path: relayPath, KeyName: "Connector", Key: sasKey}

// frames reads the server's frames of the worked transcript (protocol section
// 12.3); a blank line ends a frame.
func frames(tb testing.TB, name string) [][]byte {
	tb.Helper()
	data, err := os.ReadFile("testdata/" + name + ".hex")
	if err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for part := range strings.SplitSeq(string(data), "\n\n") {
		var digits strings.Builder
		for line := range strings.Lines(part) {
			if !strings.HasPrefix(line, "#") {
				digits.WriteString(strings.Join(strings.Fields(line), ""))
			}
		}
		b, err := hex.DecodeString(digits.String())
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// peer is a relay that answers with the transcript's frames. It remembers what
// the client sent.
type peer struct {
	t     *testing.T
	conn  net.Conn
	sent  map[string][]byte // client's frames by performative
	mu    sync.Mutex
	later [][]byte // frames behind the handshake
	// attached, if not nil, is called before the last answer that the client
	// waits for.
	attached func()
}

func (p *peer) read(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(p.conn, b); err != nil {
		p.t.Errorf("reading from the client: %v", err)
	}
	return b
}

func (p *peer) frame() (performative byte, body []byte) {
	head := p.read(4)
	body = p.read(int(binary.BigEndian.Uint32(head)) - 4)
	if len(body) < 7 {
		return 0, body // an empty frame
	}
	return body[6], body
}

// listen remembers frames until the connection ends.
func (p *peer) listen() {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(p.conn, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head)-4)
		if _, err := io.ReadFull(p.conn, body); err != nil {
			return
		}
		p.mu.Lock()
		p.later = append(p.later, body)
		p.mu.Unlock()
	}
}

func (p *peer) write(b []byte) {
	if _, err := p.conn.Write(b); err != nil {
		p.t.Errorf("writing to the client: %v", err)
	}
}

var linkName = regexp.MustCompile(`RelayLink_([0-9a-f-]{36}):`)

// serve performs the handshake up to both attaches and sends one transfer.
func (p *peer) serve() {
	transfer := frames(p.t, "transfer-server")
	p.handshake()
	p.write(transfer[0])
	p.write(transfer[1])
	_, p.sent["disposition"] = p.frame()
}

// handshake performs protocol section 5.2 up to the client's flow.
func (p *peer) handshake() {
	p.begin()
	attaches := frames(p.t, "attach-server")
	for attached := 0; attached < 2; {
		if kind, body := p.frame(); kind == 0x12 {
			name := "attach-out"
			if attached == 1 {
				name = "attach-in"
			}
			p.sent[name] = body
			m := linkName.FindSubmatch(body)
			if m == nil {
				p.t.Errorf("no link name in % X", body)
				return
			}
			if attached == 1 && p.attached != nil {
				p.attached()
			}
			// The transcript's reply, for the client's link name.
			p.write(linkName.ReplaceAll(attaches[attached], m[0]))
			attached++
		}
	}
	for {
		kind, body := p.frame()
		if kind == 0x13 {
			p.sent["flow"] = body
			return
		}
	}
}

// begin performs the part before the attaches.
func (p *peer) begin() {
	sasl, opens, begins := frames(p.t, "sasl-server"), frames(p.t, "open-server"), frames(p.t, "begin-server")
	if got := p.read(8); !bytes.Equal(got, []byte{'A', 'M', 'Q', 'P', 3, 1, 0, 0}) {
		p.t.Errorf("protocol header % X", got)
	}
	p.write([]byte{'A', 'M', 'Q', 'P', 3, 1, 0, 0})
	p.write(sasl[0])
	_, p.sent["init"] = p.frame()
	p.write(sasl[1])
	p.read(8)
	p.write([]byte{'A', 'M', 'Q', 'P', 0, 1, 0, 0})
	_, p.sent["open"] = p.frame()
	p.write(opens[0])
	_, p.sent["begin"] = p.frame()
	p.write(begins[0])
}

func TestALinkIsWhatTheServiceExpects(t *testing.T) {
	p := &peer{t: t, sent: map[string][]byte{}}
	served := make(chan struct{})
	messages := make(chan []byte, 1)
	states := make(chan State, 8)
	l := New(Options{
		Dial: func(_ context.Context, host string) (net.Conn, error) {
			if host != relayHost {
				t.Errorf("dialled %s", host)
			}
			ours, theirs := net.Pipe()
			p.conn = theirs
			go func() {
				defer close(served)
				p.serve()
				// Until the client goes away.
				_, _ = io.Copy(io.Discard, theirs)
				theirs.Close()
			}()
			return ours, nil
		},
		Handle: func(b []byte) { messages <- b },
		Notify: func(name string, s State, err error) {
			if name != relayHost+"/"+relayPath {
				t.Errorf("notified of %s", name)
			}
			states <- s
			if err != nil {
				t.Logf("%s: %v", s, err)
			}
		},
		Log: logr.Discard(),
	})
	l.SetEndpoints([]Endpoint{endpoint})
	l.SetEndpoints([]Endpoint{endpoint}) // changes nothing
	message := <-messages
	if !bytes.Contains(message, []byte("InstanceDnsAddress")) || message[0] != 0x56 {
		t.Errorf("message % X…, want the transcript's document", message[:16])
	}
	seen := []State{<-states, <-states} // a message may arrive before the second
	l.Close()
	<-served
	close(states)
	for s := range states {
		seen = append(seen, s)
	}
	if diff := cmp.Diff([]State{Connecting, Attached, Closed}, seen); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	p.checkHandshake()
	p.checkAttach("attach-out", ":out", 0x42)
	p.checkAttach("attach-in", ":in", 0x41)
}

// contains checks that a frame holds bytes.
func (p *peer) contains(frame, what string, want []byte) {
	p.t.Helper()
	if !bytes.Contains(p.sent[frame], want) {
		p.t.Errorf("%s: no %s (% X) in\n% X", frame, what, want, p.sent[frame])
	}
}

func (p *peer) checkHandshake() {
	p.t.Helper()
	p.contains("init", "mechanism", []byte("\xA3\x08EXTERNAL"))
	p.contains("open", "container id", []byte("RelayConnection_"))
	p.contains("open", "host name", []byte("his-nam1-test1-relay.servicebus.windows.net"))
	p.contains("open", "max frame size and channel max", []byte{0x70, 0, 1, 0, 0, 0x60, 0x1F, 0xFF})
	p.contains("begin", "windows and handle max", []byte{0x70, 0, 0, 0x13, 0x88, 0x70, 0, 0, 0x13, 0x88, 0x70, 0, 3, 0xFF, 0xFF})
	p.contains("flow", "credit of 1000", []byte{0x70, 0, 0, 3, 0xE8})
	p.contains("disposition", "accepted", []byte{0x00, 0x53, 0x24})
}

var swt = regexp.MustCompile(`SharedAccessSignature [!-~]+`)

func (p *peer) checkAttach(frame, suffix string, role byte) {
	p.t.Helper()
	m := linkName.FindSubmatch(p.sent[frame])
	p.contains(frame, "name and role", append(append([]byte(nil), m[0][:len(m[0])-1]...), suffix...))
	after := p.sent[frame][bytes.Index(p.sent[frame], []byte(suffix))+len(suffix):]
	handle := 1
	if after[0] != 0x43 {
		handle = 2
	}
	if after[handle] != role {
		p.t.Errorf("%s: role %#02x, want %#02x", frame, after[handle], role)
	}
	p.contains(frame, "address with a slash at the end", []byte("sb://"+relayHost+"/"+relayPath+"/"))
	for _, property := range []string{"com.microsoft:swt", "com.microsoft:client-agent", "com.microsoft:dynamic-relay", "com.microsoft:listener-type", "com.microsoft:tracking-id"} {
		p.contains(frame, "symbol "+property, append([]byte{0xA3, byte(len(property))}, property...))
	}
	p.contains(frame, "listener type", []byte("RelayedConnection"))
	token, err := sas.Parse(string(swt.Find(p.sent[frame])))
	if err != nil {
		p.t.Fatal(err)
	}
	if !token.Verify(sasKey) || !token.Covers("sb://"+relayHost+"/"+relayPath+"/") || token.Expired(time.Now().Add(50*time.Minute)) {
		p.t.Errorf("%s: the token does not prove the right to listen for an hour", frame)
	}
}

func TestALostLinkIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		var when []time.Duration
		began := time.Now()
		l := New(Options{
			Dial: func(context.Context, string) (net.Conn, error) {
				dials++
				when = append(when, time.Since(began))
				return nil, errors.New("connection refused")
			},
			Handle: func([]byte) {}, Notify: func(string, State, error) {}, Log: logr.Discard(),
		})
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(10 * time.Minute)
		l.SetEndpoints(nil)
		synctest.Wait()
		if dials < 10 || dials > 10*60/10 {
			t.Errorf("%d attempts in ten minutes: %v", dials, when)
		}
		n := dials
		time.Sleep(10 * time.Minute)
		if dials != n {
			t.Error("an endpoint that was taken away is dialled")
		}
		l.Close()
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(time.Minute)
		if dials != n {
			t.Error("a closed listener dials")
		}
	})
}

func TestPauses(t *testing.T) {
	for name, tc := range map[string]struct {
		n       int
		refused bool
		random  float64
		want    time.Duration
	}{
		"the first, at most":     {1, false, 1, 2500 * time.Millisecond},
		"the first, at least":    {1, false, 0, 250 * time.Millisecond},
		"doubled":                {3, false, 1, 10 * time.Second},
		"the longest":            {50, false, 1, time.Minute},
		"half of it":             {50, false, 0.5, 30 * time.Second},
		"a refusal waits longer": {50, true, 1, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pauseBefore(tc.n, tc.refused, tc.random); got != tc.want {
				t.Errorf("pause %s, want %s", got, tc.want)
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		k := newKeepAlive(ours)
		type arrival struct {
			at    time.Duration
			bytes string
		}
		var got []arrival
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 64)
			for {
				n, err := theirs.Read(b)
				if err != nil {
					return
				}
				got = append(got, arrival{time.Since(began), string(b[:n])})
			}
		}()
		write := func(s string) {
			// As the library does: a deadline that nobody clears again.
			if err := k.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Error(err)
			}
			if _, err := k.Write([]byte(s)); err != nil {
				t.Error(err)
			}
		}
		write("AMQP\x03\x01\x00\x00")
		time.Sleep(35 * time.Second) // SASL: no frame of type AMQP may be sent
		write("AMQP\x00\x01\x00\x00")
		time.Sleep(20 * time.Second)
		write("frame")
		time.Sleep(65 * time.Second)
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		<-done
		want := []arrival{
			{0, "AMQP\x03\x01\x00\x00"}, {35 * time.Second, "AMQP\x00\x01\x00\x00"}, {55 * time.Second, "frame"},
			{85 * time.Second, string(emptyFrame)}, {115 * time.Second, string(emptyFrame)},
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(arrival{})); diff != "" {
			t.Errorf("written (-want +got):\n%s", diff)
		}
	})
}

func TestAConnectionThatTakesNoKeepAliveIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		k := newKeepAlive(ours)
		go func() { _, _ = io.ReadFull(theirs, make([]byte, 8)) }() // and nothing after that
		if _, err := k.Write([]byte("AMQP\x00\x01\x00\x00")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := k.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the reader got %v, want that the connection is closed", err)
		}
		if took := time.Since(began); took != keepAliveInterval+beatTimeout {
			t.Errorf("the reader learnt of it after %s", took)
		}
	})
}
