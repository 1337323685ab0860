// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// echo is a CONNECT proxy whose every target sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("method %s", r.Method)
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		_, _ = io.Copy(conn, buffered) // it is broken on purpose
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func start(t *testing.T) *Proxy {
	t.Helper()
	p, err := Start(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// dial opens a connection to a target and returns it after the proxy's answer.
func dial(t *testing.T, p *Proxy, target string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return conn, r
		}
	}
}

// say sends a word and reads it back.
func say(conn net.Conn, r *bufio.Reader) error {
	if _, err := io.WriteString(conn, "word"); err != nil {
		return err
	}
	word := make([]byte, 4)
	if _, err := io.ReadFull(r, word); err != nil {
		return err
	}
	if string(word) != "word" {
		return fmt.Errorf("%q came back", word)
	}
	return nil
}

// ended tells an end from the test's own time limit.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

func isTarget(name string) func(string) bool {
	return func(target string) bool { return target == name }
}

func TestFaultsStrikeAtTheirMoment(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			p := start(t)
			conn, r := dial(t, p, "a.test:443")
			struck := p.Arm(Fault{Kind: kind, Match: isTarget("a.test:443"), Chunks: 3})
			if err := say(conn, r); err != nil {
				t.Fatalf("the first word: %v", err)
			}
			if kind == Stall {
				if err := conn.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
			}
			err := say(conn, r)
			switch timeout := net.Error(nil); {
			case err == nil:
				t.Error("the second word passed")
			case kind == Stall:
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("a stalled connection fails with %v", err)
				}
			case kind == Reset:
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("a reset connection fails with %v", err)
				}
			case !errors.Is(err, io.EOF):
				t.Errorf("it fails with %v, want an end", err)
			}
			<-struck
			other, r := dial(t, p, "a.test:443")
			if err := say(other, r); err != nil {
				t.Errorf("a connection after the fault: %v", err)
			}
		})
	}
}

func TestOtherTargetsAreSpared(t *testing.T) {
	p := start(t)
	p.Arm(Fault{Kind: Cut, Match: isTarget("a.test:443")})
	conn, r := dial(t, p, "b.test:443")
	if err := say(conn, r); err != nil {
		t.Error(err)
	}
	p.Disarm()
	conn, r = dial(t, p, "a.test:443")
	if err := say(conn, r); err != nil {
		t.Errorf("after the fault was taken back: %v", err)
	}
	if got := p.Targets(); got["a.test:443"] != 1 || got["b.test:443"] != 1 {
		t.Errorf("targets: %v", got)
	}
}

func TestCutAllEndsWhatFits(t *testing.T) {
	p := start(t)
	_, gone := dial(t, p, "a.test:443")
	conn, spared := dial(t, p, "b.test:443")
	p.CutAll(isTarget("a.test:443"))
	if _, err := gone.ReadByte(); !ended(err) {
		t.Errorf("it is still open: %v", err)
	}
	if err := say(conn, spared); err != nil {
		t.Errorf("another: %v", err)
	}
}

func TestHealEndsWhatIsStalled(t *testing.T) {
	p := start(t)
	conn, r := dial(t, p, "a.test:443")
	struck := p.Arm(Fault{Kind: Stall, Match: isTarget("a.test:443"), Chunks: 1})
	if _, err := io.WriteString(conn, "word"); err != nil {
		t.Fatal(err)
	}
	<-struck
	p.Heal()
	if _, err := r.ReadByte(); !ended(err) {
		t.Errorf("the stalled connection has not ended: %v", err)
	}
}
