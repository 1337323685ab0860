// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
)

// notAMQP is what may come in place of the next frame of a relay.
func notAMQP(t *testing.T) map[string][]byte {
	t.Helper()
	transfer := frames(t, "transfer-server")
	announcing := bytes.Clone(transfer[0])
	copy(announcing, []byte{0, 2, 0, 0}) // 128 KiB, more than was agreed
	noise := make([]byte, 4096)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	noise[0] |= 0x80 // whatever else it is, it is no frame that was agreed
	return map[string][]byte{
		"noise":                      noise,
		"a web page":                 []byte("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nSign in to the guest"),
		"a frame of four gigabytes":  {0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 0, 0x53, 0x14},
		"a frame that is too long":   append(announcing, make([]byte, 128<<10)...),
		"a frame of three bytes":     {0, 0, 0, 3, 2, 0, 0, 0},
		"a header beyond its frame":  {0, 0, 0, 12, 0xFF, 0, 0, 0, 0, 0x53, 0x14, 0x45},
		"a frame without meaning":    {0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0xEE, 0x45},
		"a list that ends too early": {0, 0, 0, 15, 2, 0, 0, 0, 0, 0x53, 0x14, 0xC0, 0x20, 0x0B, 0x43},
	}
}

// What is no AMQP, or more of it than was agreed, costs its connection: it is
// replaced, and nothing of it is taken for a signal.
func TestWhatIsNoAMQPEndsTheConnection(t *testing.T) {
	for name, garbage := range notAMQP(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &relayServer{t: t, began: time.Now()}
				l := New(Options{
					Dial: r.dial, Log: logr.Discard(),
					Handle: func(b []byte) { t.Errorf("taken for a signal: % X", b) },
					Notify: func(_ string, s State, _ error) { r.note("%s", s) },
				})
				l.SetEndpoints([]Endpoint{endpoint})
				synctest.Wait()
				go func() { // the connector may close before it has read all
					_, _ = r.peers[0].conn.Write(garbage)
				}()
				time.Sleep(5 * time.Minute)
				r.inOrder("attached 1", "closed 1")
				r.inOrder("closed 1", "attached 2")
				l.Close()
				r.states("Connecting", "Attached", "Waiting", "Connecting", "Attached", "Closed")
			})
		})
	}
}

// The same in place of a handshake: it fails, and a later one succeeds.
func TestWhatIsNoAMQPIsNoRelay(t *testing.T) {
	for name, garbage := range notAMQP(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &relayServer{t: t, began: time.Now()}
				first := true
				l := New(Options{
					Dial: func(ctx context.Context, host string) (net.Conn, error) {
						if !first {
							return r.dial(ctx, host)
						}
						first = false
						ours, theirs := net.Pipe()
						go func() {
							defer theirs.Close()
							_, _ = theirs.Read(make([]byte, 8)) // the client's header
							_, _ = theirs.Write(garbage)
							_, _ = theirs.Read(make([]byte, 1)) // until it has enough
						}()
						return ours, nil
					},
					Log:    logr.Discard(),
					Handle: func(b []byte) { t.Errorf("taken for a signal: % X", b) },
					Notify: func(_ string, s State, _ error) { r.note("%s", s) },
				})
				l.SetEndpoints([]Endpoint{endpoint})
				time.Sleep(5 * time.Minute)
				l.Close()
				r.states("Connecting", "Waiting", "Connecting", "Attached", "Closed")
			})
		})
	}
}
