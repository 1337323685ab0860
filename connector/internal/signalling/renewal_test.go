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
		p.listen() // until either side closes
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

// renewals are the tokens that arrived in flows, "handle credit-sum key", in order.
func (p *peer) renewals(key string) []string {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, frame := range p.later {
		if len(frame) < 7 || frame[6] != 0x13 {
			continue
		}
		found := swt.Find(frame)
		if found == nil {
			continue
		}
		token, err := sas.Parse(string(found))
		if err != nil || !token.Verify(key) {
			p.t.Errorf("a flow carries no good token: %v, % X", err, frame)
			continue
		}
		fields := listOf(frame[4+performative:])
		all = append(all, fmt.Sprintf("handle % X, count % X, credit % X", fields[4], fields[5], fields[6]))
		if diff := cmp.Diff(listOf(p.sent["flow"][4+performative:])[:4], fields[:4]); diff != "" {
			p.t.Errorf("the session's windows (-first +renewal):\n%s", diff)
		}
	}
	return all
}

func TestATokenIsRenewedOnItsLinksBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRelayServer(t)
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(47 * time.Minute)
		synctest.Wait()
		first := r.peers[0]
		if got := first.renewals(sasKey); len(got) != 0 {
			t.Errorf("renewed in the first four fifths of the hour: %v", got)
		}
		time.Sleep(8 * time.Minute)
		synctest.Wait()
		flow := listOf(first.sent["flow"][4+performative:])
		want := []string{"handle 43, count 43, credit 43", fmt.Sprintf("handle % X, count % X, credit % X", flow[4], flow[5], flow[6])}
		if diff := cmp.Diff(want, first.renewals(sasKey)); diff != "" {
			t.Errorf("renewals (-want +got):\n%s", diff)
		}
		l.Close()
		synctest.Wait()
		r.states("Connecting", "Attached", "Closed")
	})
}

func TestAConnectionIsReplacedAfterSomeHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRelayServer(t)
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(8 * time.Hour)
		synctest.Wait()
		if at := r.when("attached 2"); at < maxAge || at > maxAge+time.Hour {
			t.Errorf("replaced after %s, want at the first renewal after %s", at, maxAge)
		}
		if n := len(r.peers[0].renewals(sasKey)) / 2; n < 6 || n > 8 {
			t.Errorf("%d renewals before that", n)
		}
		r.inOrder("attached 2", "closed 1")
		l.Close()
		synctest.Wait()
		r.states("Connecting", "Attached", "Attached", "Closed")
	})
}

func TestTheServiceSaysHowLongTokensLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRelayServer(t)
		l.SetTokenLifetime(10 * time.Minute)
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(9*time.Minute + time.Second)
		synctest.Wait()
		if got := r.peers[0].renewals(sasKey); len(got) != 2 {
			t.Errorf("renewals %v, want one on each link", got)
		}
		for given, want := range map[time.Duration]time.Duration{0: time.Hour, time.Second: time.Minute, 1000 * time.Hour: 24 * time.Hour, 2 * time.Hour: 2 * time.Hour} {
			l.SetTokenLifetime(given)
			if got := l.tokenLifetime(); got != want {
				t.Errorf("told %s, tokens last %s, want %s", given, got, want)
			}
		}
		l.Close()
	})
}

func TestAServiceThatDoesNotTakeRenewedTokensGetsNewConnectionsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRelayServer(t)
		l.SetEndpoints([]Endpoint{endpoint})
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		failure := slices.Concat(short(0xA3, "amqp:unauthorized-access"), short(0xA1, "the token has expired"))
		r.peers[0].write(frameOf(0x16, []byte{0x52, 0x01}, []byte{0x41}, append([]byte{0x00, 0x53, 0x1D, 0xC0, byte(len(failure) + 1), 2}, failure...)))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if at := r.when("attached 2"); at > 61*time.Minute+4*time.Second {
			t.Errorf("attached again after %s, want at once", at)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := r.peers[1].renewals(sasKey); len(got) != 0 {
			t.Errorf("renewed in place again: %v", got)
		}
		r.inOrder("attached 3", "closed 2")
		r.inOrder("attached 4", "closed 3")
		l.Close()
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
		changed := endpoint
		changed.Key = "another key"
		l.SetEndpoints([]Endpoint{changed})
		time.Sleep(40 * time.Minute) // replacing it for minutes, the old one serves
		r.mu.Lock()
		if slices.Contains(r.history, "Waiting") {
			t.Errorf("reported as lost while it served: %v", r.history)
		}
		first := r.peers[0]
		r.mu.Unlock()
		first.conn.Close()
		synctest.Wait()
		if at := r.when("Waiting"); at != 41*time.Minute {
			t.Errorf("reported as lost after %s, want 41m", at)
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
