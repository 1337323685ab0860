// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/sas"
)

// relayServer takes connections and writes down what becomes of them, in
// order. Use it in a synctest bubble.
type relayServer struct {
	t     *testing.T
	began time.Time

	mu      sync.Mutex
	down    bool // dialling fails
	peers   []*peer
	history []string // "attached 1", "closed 1"; states begin with a capital
	at      []time.Duration
}

func (r *relayServer) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, fmt.Sprintf(format, args...))
	r.at = append(r.at, time.Since(r.began))
}

// when returns the time of the first entry.
func (r *relayServer) when(entry string) time.Duration {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.history, entry)
	if i < 0 {
		r.t.Fatalf("never %q in %v", entry, r.history)
	}
	return r.at[i]
}

// states compares what was notified.
func (r *relayServer) states(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []string
	for _, entry := range r.history {
		if strings.ToUpper(entry[:1]) == entry[:1] {
			got = append(got, entry)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("states (-want +got):\n%s", diff)
	}
}

// inOrder checks that one thing happened before another.
func (r *relayServer) inOrder(first, second string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	i, j := slices.Index(r.history, first), slices.Index(r.history, second)
	if i < 0 || j < 0 || i > j {
		r.t.Errorf("want %q before %q in %v", first, second, r.history)
	}
}

func (r *relayServer) dial(context.Context, string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	p := &peer{t: r.t, conn: theirs, sent: map[string][]byte{}}
	r.peers = append(r.peers, p)
	n := len(r.peers)
	p.attached = func() { r.note("attached %d", n) }
	go func() {
		p.handshake()
		_, _ = io.Copy(io.Discard, theirs) // until either side closes
		theirs.Close()
		r.note("closed %d", n)
	}()
	return ours, nil
}

func (r *relayServer) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// key returns with which of some keys the n-th connection's token was signed.
func (r *relayServer) key(n int, keys ...string) string {
	r.t.Helper()
	token, err := sas.Parse(string(swt.Find(r.peers[n-1].sent["attach-in"])))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, key := range keys {
		if token.Verify(key) {
			return key
		}
	}
	return ""
}

func newRelayServer(t *testing.T) (*relayServer, *Listener) {
	t.Helper()
	r := &relayServer{t: t, began: time.Now()}
	l := New(Options{
		Dial: r.dial, Handle: func([]byte) {}, Log: logr.Discard(),
		Notify: func(_ string, s State, _ error) { r.note("%s", s) },
	})
	return r, l
}

func TestALinkIsRenewedBeforeItsTokenEndsTheNewOneFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRelayServer(t)
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(70 * time.Minute)
		l.Close()
		synctest.Wait()
		r.states("Connecting", "Attached", "Attached", "Closed")
		r.inOrder("attached 2", "closed 1")
		if at := r.when("attached 2"); at < 48*time.Minute || at > 54*time.Minute {
			t.Errorf("renewed after %s, want in the last fifth to tenth of the token's hour", at)
		}
	})
}

func TestAChangedKeyReplacesTheConnectionAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRelayServer(t)
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(time.Minute)
		changed := endpoint
		changed.Key = "another key"
		l.SetEndpoints([]Endpoint{changed})
		time.Sleep(time.Minute)
		synctest.Wait() // for what the peers wrote down
		if got := r.key(1, sasKey, changed.Key); got != sasKey {
			t.Errorf("the first connection was signed with %q", got)
		}
		if got := r.key(2, sasKey, changed.Key); got != changed.Key {
			t.Errorf("the second connection was signed with %q", got)
		}
		// The last state must be that of the new connection.
		r.states("Connecting", "Attached", "Attached")
		r.inOrder("attached 2", "closed 1")
		l.Close()
	})
}

func TestAChangedKeyEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRelayServer(t)
		r.setDown(true)
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(10 * time.Minute) // long pauses by now
		r.setDown(false)
		changed := endpoint
		changed.Key = "another key"
		l.SetEndpoints([]Endpoint{changed})
		synctest.Wait()
		if at := r.when("Attached"); at != 10*time.Minute {
			t.Errorf("attached after %s, want at once", at)
		}
		l.Close()
	})
}

func TestALinkThatIsLostWhileItsRenewalFailsIsReportedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRelayServer(t)
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(time.Minute)
		r.setDown(true)
		time.Sleep(56 * time.Minute) // renewing for minutes, the old one serves
		r.mu.Lock()
		if slices.Contains(r.history, "Waiting") {
			t.Errorf("reported as lost while it served: %v", r.history)
		}
		first := r.peers[0]
		r.mu.Unlock()
		first.conn.Close()
		synctest.Wait()
		if at := r.when("Waiting"); at != 57*time.Minute {
			t.Errorf("reported as lost after %s, want 57m", at)
		}
		l.Close()
	})
}

// frameOf is an AMQP frame on channel 0 with a short list of encoded fields.
func frameOf(performative byte, fields ...[]byte) []byte {
	body := slices.Concat(fields...)
	b := []byte{0, 0, 0, 0, 2, 0, 0, 0, 0x00, 0x53, performative, 0xC0, byte(len(body) + 1), byte(len(fields))}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// short is a value of at most 255 bytes: a string (0xA1) or symbol (0xA3).
func short(kind byte, s string) []byte { return append([]byte{kind, byte(len(s))}, s...) }

func TestARefusalIsToldFromALoss(t *testing.T) {
	for condition, want := range map[string]bool{
		"amqp:unauthorized-access":      true,
		"com.microsoft:relay-not-found": true,
		"com.microsoft:server-busy":     false,
	} {
		t.Run(condition, func(t *testing.T) {
			reasons := make(chan error, 1)
			ended := make(chan struct{})
			l := New(Options{
				Dial: func(context.Context, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go func() {
						defer close(ended)
						refuse(&peer{t: t, conn: theirs, sent: map[string][]byte{}}, condition)
					}()
					return ours, nil
				},
				Handle: func([]byte) {}, Log: logr.Discard(),
				Notify: func(_ string, s State, err error) {
					if s == Waiting {
						reasons <- err
					}
				},
			})
			l.SetEndpoints([]Endpoint{endpoint})
			err := <-reasons
			l.Close()
			<-ended
			if errors.Is(err, ErrRefused) != want {
				t.Errorf("error %v, refused %v", err, want)
			}
		})
	}
}

// refuse answers the first attach as protocol section 5.5 says: without source
// and target, and with a detach.
func refuse(p *peer, condition string) {
	p.begin()
	_, body := p.frame()
	name := linkName.FindSubmatch(body)
	if name == nil {
		p.t.Errorf("no link name in % X", body)
		return
	}
	p.write(frameOf(0x12, short(0xA1, string(name[0])+"out"), []byte{0x43}, []byte{0x41}))
	failure := slices.Concat(short(0xA3, condition), short(0xA1, "no"))
	p.write(frameOf(0x16, []byte{0x43}, []byte{0x41},
		append([]byte{0x00, 0x53, 0x1D, 0xC0, byte(len(failure) + 1), 2}, failure...)))
	_, _ = io.Copy(io.Discard, p.conn)
	p.conn.Close()
}
