// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
)

// resumptions is a server that resumes sessions, and a client of it.
type resumptions struct {
	t        *testing.T
	sessions *sessions
	client   *tls.Config
	address  string
}

// newResumptions starts the server. check is what the client verifies beside chain
// and name.
func newResumptions(t *testing.T, check func(tls.ConnectionState) error) *resumptions {
	t.Helper()
	ca := newIssuer(t, "Test")
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.serverCertificate(cloudNames)}, MinVersion: tls.VersionTLS12})
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// One byte, behind the ticket; then the client ends it.
			_, _ = conn.Write([]byte{1})
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	s := newSessions()
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	return &resumptions{t: t, sessions: s, address: listener.Addr().String(), client: s.resuming(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, VerifyConnection: check})}
}

// dial makes a connection and reports whether it resumed a session.
func (r *resumptions) dial(host string) (resumed bool, err error) {
	r.t.Helper()
	settings := r.client.Clone()
	settings.ServerName = host
	conn, err := (&tls.Dialer{Config: settings}).DialContext(r.t.Context(), "tcp", r.address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	must(r.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Read(make([]byte, 1))
	must(r.t, err)
	return conn.(*tls.Conn).ConnectionState().DidResume, nil
}

func TestSessionsAreResumedForAWhile(t *testing.T) {
	r := newResumptions(t, nil)
	now := time.Now()
	r.sessions.now = func() time.Time { return now }
	for _, step := range []struct {
		passes time.Duration
		host   string
		want   bool
	}{
		{0, "a.servicebus.test", false},
		{0, "a.servicebus.test", true},
		{0, "b.servicebus.test", false}, // another host proves itself
		{sessionLife - time.Second, "a.servicebus.test", true},
		{time.Second, "a.servicebus.test", false}, // however often it was resumed
		{0, "a.servicebus.test", true},
		{0, "b.servicebus.test", false},
	} {
		now = now.Add(step.passes)
		if got, err := r.dial(step.host); err != nil || got != step.want {
			t.Errorf("%s, %s later: resumed %v, %v; want %v", step.host, step.passes, got, err, step.want)
		}
	}
}

// A session whose certificate does not pass any more, as when a staple is out of
// date, must not keep the connector from a full handshake.
func TestASessionThatIsRefusedIsNotTriedAgain(t *testing.T) {
	stale := errors.New("stale")
	refuse := false
	r := newResumptions(t, func(state tls.ConnectionState) error {
		if len(state.VerifiedChains) == 0 {
			return errors.New("nothing was verified")
		}
		if refuse && state.DidResume {
			return stale
		}
		return nil
	})
	const host = "a.servicebus.test"
	for i, want := range []bool{false, true} {
		if got, err := r.dial(host); err != nil || got != want {
			t.Fatalf("connection %d: resumed %v, %v", i, got, err)
		}
	}
	refuse = true
	if _, err := r.dial(host); !errors.Is(err, stale) {
		t.Errorf("the resumed session: error %v, want it to be refused", err)
	}
	if got, err := r.dial(host); err != nil || got {
		t.Errorf("after that: resumed %v, %v; want a full handshake", got, err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := newSessions()
	now := time.Now()
	s.now = func() time.Time { return now }
	for i := range 10 * sessionHosts {
		s.noteHandshake(tls.ConnectionState{ServerName: fmt.Sprintf("g%d.servicebus.test", i)}, nil)
		if len(s.proved) > sessionHosts {
			t.Fatalf("%d hosts are remembered", len(s.proved))
		}
	}
	if !s.fresh(fmt.Sprintf("g%d.servicebus.test", 10*sessionHosts-1)) {
		t.Error("the host that was proved last is forgotten")
	}
}

// TestWhatIsResumed makes every kind of connection twice, and once more with a
// renewed certificate: nothing may go on showing the one before.
func TestWhatIsResumed(t *testing.T) {
	ca := newIssuer(t, "Test")
	cloud := newFakeCloud(t, &tls.Config{Certificates: []tls.Certificate{ca.serverCertificate(cloudNames)}, MinVersion: tls.VersionTLS12})
	a, dir := built(t, cloud, ca.file())
	first := a.identity.Identity().Thumbprint
	again := func() (resumed []string) {
		t.Helper()
		for _, what := range []string{"bootstrap", "proxy fetch", "listener", "rendezvous"} {
			must(t, calls(t, a)[what]())
		}
		cloud.mu.Lock()
		defer cloud.mu.Unlock()
		resumed, cloud.resumed = cloud.resumed, nil
		return resumed
	}
	const fetch, rendezvous = "p1.connector.his.msappproxy.test/subscriber/websocketconnect ", "g1.servicebus.test/$servicebus/websocket "
	if got := again(); len(got) != 0 {
		t.Errorf("resumed at first: %v", got)
	}
	if diff := cmp.Diff([]string{fetch + first, "ns.servicebus.test/$servicebus/websocket ", rendezvous}, again()); diff != "" {
		t.Errorf("resumed (-want +got):\n%s", diff)
	}

	writeIdentity(t, dir)
	_, err := a.identity.Reload()
	must(t, err)
	a.renewed()
	second := a.identity.Identity().Thumbprint
	if diff := cmp.Diff([]string{"ns.servicebus.test/$servicebus/websocket ", rendezvous}, again()); diff != "" {
		t.Errorf("resumed after the renewal (-want +got):\n%s", diff)
	}
	if got := again(); !slices.Contains(got, fetch+second) || slices.Contains(got, fetch+first) {
		t.Errorf("resumed with the new certificate: %v", got)
	}
}

func TestAMQPSessionsAreResumed(t *testing.T) {
	ca := newIssuer(t, "Test")
	cloud := newFakeCloud(t, &tls.Config{Certificates: []tls.Certificate{ca.serverCertificate(cloudNames)}, MinVersion: tls.VersionTLS12})
	a, _ := built(t, cloud, ca.file())
	service := a.opts.Config.Service
	service.Transport = config.TransportAMQP
	c, err := newClients(service, a.identity)
	must(t, err)
	for i, want := range []bool{false, true} {
		conn, err := c.dialInstance(t.Context(), relay.Connect{InstanceDNSAddress: "g1.servicebus.test", IPAddress: instanceIP, IPPort: instancePort})
		must(t, err)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://g1.servicebus.test/", nil)
		must(t, err)
		request.Close = true
		must(t, request.Write(conn)) // any answer comes behind the ticket
		_, err = io.Copy(io.Discard, conn)
		must(t, err)
		if got := conn.(*tls.Conn).ConnectionState().DidResume; got != want {
			t.Errorf("connection %d: resumed %v, want %v", i, got, want)
		}
		must(t, closeQuietly(conn))
	}
}

// closeQuietly closes a connection that the other side may have closed.
func closeQuietly(conn net.Conn) error {
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
