// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

// heapInUse is what is left after everything unreachable has gone.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A storm of ten thousand connection requests, to relay instances that accept
// and then say nothing, takes as many places as there are and nothing more.
func TestAStormOfRequestsTakesNoMoreThanItsPlaces(t *testing.T) {
	const storm, places = 10_000, 4
	// The work of the storm does not count, its remains do.
	const goroutinesEach, heapGrowth = 8, 16 << 20
	s := newStage(t)
	connect := func() []byte {
		return relay.EncodeConnect(relay.Connect{ID: guid.New().String(), InstanceDNSAddress: instance})
	}
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	for range storm {
		s.handler.Handle(connect())
	}
	s.observed.wait(t, "all but those that have a place are dropped", func() bool { return len(s.observed.drops) == storm-places })
	if grown := runtime.NumGoroutine() - goroutines; grown > places*goroutinesEach {
		t.Errorf("%d goroutines more than before the storm", grown)
	}
	if now := heapInUse(); now > heap+heapGrowth {
		t.Errorf("%d bytes more in use than before the storm", now-heap)
	}
	for range places {
		(<-s.relay).Close()
	}
	s.observed.wait(t, "all have ended", func() bool { return s.observed.flight == 0 })
	overload := 0
	for _, reason := range s.observed.drops {
		if reason == DropOverload {
			overload++
		}
	}
	if overload != storm-places {
		t.Errorf("%d are counted as overload, want %d", overload, storm-places)
	}
	c := s.meet()
	if reply := c.signal(request(t, "P@ssw0rd")); reply.Kind != signal.KindResponse {
		t.Errorf("after the storm a request is answered with kind %v", reply.Kind)
	}
	s.observed.wait(t, "the sign-in is decided", func() bool { return len(s.observed.signIns) == 1 })
	c.end()
}

// A storm of ten thousand requests on connections that are taken is decided or
// declined, request by request; nothing piles up.
func TestAStormOfForgedRequestsLeavesNothingBehind(t *testing.T) {
	const storm = 10_000
	s := newStage(t)
	c := s.meet()
	if err := c.conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	heap := heapInUse()
	forged := request(t, "P@ssw0rd")
	forged.SubscriptionID = "00000000-1111-2222-3333-444444444444"
	for range storm {
		forged.RequestID = guid.New().String()
		c.signal(forged)
	}
	c.end()
	s.observed.wait(t, "the connection has ended", func() bool { return s.observed.flight == 0 })
	if now := heapInUse(); now > heap+16<<20 {
		t.Errorf("%d bytes more in use than before the storm", now-heap)
	}
	if len(s.observed.signIns) != 0 || len(s.validator.asked) != 0 {
		t.Errorf("%d of the forged requests were decided", len(s.observed.signIns))
	}
	if len(s.observed.drops) != storm {
		t.Errorf("%d forged requests are counted, want %d", len(s.observed.drops), storm)
	}
	for _, reason := range s.observed.drops {
		if reason != DropTenant && reason != DropOverload {
			t.Fatalf("a forged request is counted as %s", reason)
		}
	}
}

// A relay that sends one byte now and then keeps a place only for the time that
// the exchange may take as a whole.
func TestASlowRelayIsGivenUp(t *testing.T) {
	accepted := relay.AppendPrefixed(nil, relay.EncodeAcceptReply())
	for name, tc := range map[string]struct {
		prompt, slow []byte
		limit        time.Duration
	}{
		"in its reply to the accept": {slow: accepted, limit: initiationLimit},
		"in the preamble":            {prompt: accepted, slow: framing.AppendPreamble(nil, framing.Preamble{Via: "sb://x/y"}), limit: initiationLimit},
		"in an envelope": {
			prompt: framing.AppendPreamble(accepted, framing.Preamble{Via: "sb://x/y"}),
			slow:   framing.AppendSizedEnvelope(nil, make([]byte, 4096)), limit: idleLimit,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				seen := &observed{changed: make(chan struct{}, 1)}
				h := New(Options{
					TenantID: tenant, ConnectorID: func() string { return connector }, Pins: pins{}, Keys: keys{},
					Validator: &validator{}, Settings: func() Settings { return Settings{} }, Observer: seen, Log: logr.Discard(), MaxConcurrent: 1,
					Dial: func(context.Context, relay.Connect) (net.Conn, error) { return ours, nil },
				})
				began := time.Now()
				go func() { // what the connector says is read and does not matter
					buffer := make([]byte, 512)
					for {
						if _, err := theirs.Read(buffer); err != nil {
							return
						}
					}
				}()
				h.Handle(relay.EncodeConnect(relay.Connect{ID: guid.New().String(), InstanceDNSAddress: instance}))
				if len(tc.prompt) > 0 {
					if _, err := theirs.Write(tc.prompt); err != nil {
						t.Fatal(err)
					}
				}
				for _, b := range tc.slow {
					if _, err := theirs.Write([]byte{b}); err != nil {
						break
					}
					time.Sleep(5 * time.Second) // of the bubble's own time
				}
				synctest.Wait()
				if took := time.Since(began); took > 2*tc.limit {
					t.Errorf("given up after %s, want at most %s", took, tc.limit)
				}
				if seen.flight != 0 || len(seen.drops) != 1 || seen.drops[0] != DropRelayFailed {
					t.Errorf("in flight %d, drops %v; want none and one failed relay", seen.flight, seen.drops)
				}
				theirs.Close()
			})
		})
	}
}
