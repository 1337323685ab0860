// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

func dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// listening returns a loopback port that somebody listens on.
func listening(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// closed returns a loopback port that nobody listens on.
func closed(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func only(port uint16) config.PortRange { return config.PortRange{First: port, Last: port} }

func TestPortsOnLoopback(t *testing.T) {
	open, shut := listening(t), closed(t)
	for name, tc := range map[string]struct {
		target Target
		result Result
		found  []string
	}{
		"open":             {Target{Ports: only(open), Purposes: []string{"Bootstrap", "Response"}, Needed: Needed}, OK, []string{"open, for Bootstrap, Response"}},
		"open, with UDP":   {Target{Ports: only(open), UDP: true}, OK, []string{"UDP was not tried"}},
		"refused, needed":  {Target{Ports: only(shut), Needed: Needed}, Fail, []string{"refused: ", "refused"}},
		"refused, of old":  {Target{Ports: only(shut), Needed: Documented}, Warn, []string{"refused: "}},
		"refused, no need": {Target{Ports: only(shut), Needed: NotNeeded, Purposes: []string{"Performance"}}, Skipped, []string{"not open, for Performance", "refused: "}},
		"too many":         {Target{Ports: config.PortRange{First: 49152, Last: 65535}, Needed: Needed}, Skipped, []string{"16384 ports"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.target.Host = "127.0.0.1"
			check := Open(dial, tc.target)
			got := check.Run(t.Context())
			if got.Result != tc.result {
				t.Errorf("%s: %s, want %s", got.Result, got.Found, tc.result)
			}
			for _, want := range tc.found {
				if !strings.Contains(got.Found, want) {
					t.Errorf("found %q, want …%s…", got.Found, want)
				}
			}
			if needsHelp := got.Result == Fail || got.Result == Warn; needsHelp != (got.Action != "" && got.Meaning != "") {
				t.Errorf("%s with the meaning %q and the action %q", got.Result, got.Meaning, got.Action)
			}
		})
	}
}

func TestWhatKeptAPortShutIsTold(t *testing.T) {
	for name, tc := range map[string]struct {
		dial Dial
		want string
	}{
		"dropped": {func(ctx context.Context, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, "no answer within 6s, as where a firewall drops"},
		"no such host": {func(context.Context, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "h.example", IsNotFound: true}
		}, "the host has no address"},
		"the proxy's answer": {func(context.Context, string) (net.Conn, error) {
			return nil, errors.New("the proxy answered 403 Forbidden")
		}, "the proxy answered 403 Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := Perform(t.Context(), Open(tc.dial, Target{Host: "h.example", Ports: only(443), Needed: Needed}))[0]
				if got.Result != Fail || !strings.Contains(got.Found, tc.want) {
					t.Errorf("%+v, want …%s…", got, tc.want)
				}
			})
		})
	}
}

func TestRangesAreTriedPortByPort(t *testing.T) {
	tried := make(chan string, 64)
	half := func(_ context.Context, address string) (net.Conn, error) {
		tried <- address
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if n, err := strconv.Atoi(port); err != nil || n >= 10114 {
			return nil, errors.New("shut")
		}
		here, there := net.Pipe()
		there.Close()
		return here, nil
	}
	got := Open(half, Target{Host: "h.example", Ports: config.PortRange{First: config.PortResponseFirst, Last: config.PortResponseLast}, Needed: Documented}).Run(t.Context())
	if len(tried) != 21 {
		t.Errorf("%d ports were tried, want 21", len(tried))
	}
	if want := "7 of 21 ports are closed (10114, 10115, 10116, 10117 and 3 more): shut"; got.Result != Warn || got.Found != want {
		t.Errorf("%s: %q, want %q", got.Result, got.Found, want)
	}
}

func TestTheSamePortIsTriedOnce(t *testing.T) {
	got := Merge([]Target{
		{Host: "a.example", Ports: only(443), Purposes: []string{"Signalling"}, Needed: Documented},
		{Host: "b.example", Ports: only(443), Purposes: []string{"Signalling"}},
		{Host: "A.example", Ports: only(443), Purposes: []string{"Rendezvous"}, Needed: Needed, UDP: true},
		{Host: "a.example", Ports: only(443), Purposes: []string{"Signalling"}},
		{Host: "a.example", Ports: config.PortRange{First: 443, Last: 444}},
	})
	want := []Target{
		{Host: "a.example", Ports: only(443), Purposes: []string{"Signalling", "Rendezvous"}, Needed: Needed, UDP: true},
		{Host: "b.example", Ports: only(443), Purposes: []string{"Signalling"}},
		{Host: "a.example", Ports: config.PortRange{First: 443, Last: 444}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := want[2].Subject(); got != "a.example:443-444" {
		t.Errorf("subject %q", got)
	}
}
