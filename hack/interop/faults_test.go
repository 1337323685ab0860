// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
	"github.com/passthrough-dev/connector-operator/hack/internal/faultproxy"
	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

const (
	good  = "alice@" + ldapserver.Domain
	right = ldapserver.Password
	wrong = "not-the-password"

	// recovery bounds how long sign-ins may fail after a fault.
	recovery = 2 * time.Minute
)

// maxChunks ends the search for the last moment of a connection: none of the
// exchanges has nearly as many messages.
const maxChunks = 60

// TestSignInsSurviveFaultsAtEveryMoment breaks the connector's connections to
// each of the tenant's services in each way at each moment. The sign-in that
// meets the fault may fail, as trouble and not as a wrong password; those that
// follow must succeed, and no request may be answered in two ways.
//
// Most of the time is waiting for back-offs, so all scenes are played at once:
// run it with -parallel 24, as hack/test.sh does.
func TestSignInsSurviveFaultsAtEveryMoment(t *testing.T) {
	for _, p := range paths() {
		for _, to := range p.services() {
			for _, kind := range faultproxy.Kinds() {
				t.Run(fmt.Sprintf("%s/%s at %s", p, kind, to.name), func(t *testing.T) {
					t.Parallel()
					// A reliable session ends as soon as it is idle: each of its
					// connections then has an end.
					newScene(t, p, "--accept-timeout", "2s", "--session-idle", "1ms").sweep(t, to, kind)
				})
			}
		}
	}
}

// service is what the connector connects to, told by host and port.
type service struct {
	name  string
	match func(target string) bool
	// lasting says that the connection is made when the connector starts, and
	// again only after a pause: it is started anew for each moment.
	lasting bool
}

func relayInstance(target string) bool {
	return strings.Contains(target, ".servicebus.test") && strings.HasPrefix(target, "g")
}

func namespace(target string) bool {
	return strings.Contains(target, ".servicebus.test") && !relayInstance(target)
}

func proxyHost(target string) bool { return strings.Contains(target, ".connector.his.") }

func bootstrapHost(target string) bool { return strings.Contains(target, ".bootstrap.") }

// services are what a connector connects to on a path.
func (p path) services() []service {
	// Where requests are fetched, the proxy host hands them out as well.
	each := []service{{name: "rendezvous", match: relayInstance}, {name: "answer", match: proxyHost}}
	if p.endpoint == "reliable" && p != (path{transport: config.TransportWebSocket, endpoint: "reliable", delivery: "connect"}) {
		return each // all else is as on plain endpoints, and seen on one that is not
	}
	return append(each,
		service{name: "signalling", match: namespace, lasting: true},
		service{name: "bootstrap", match: bootstrapHost, lasting: true},
	)
}

// sweep inflicts one kind of fault on one service at one moment after another,
// until a connection ends before its moment comes.
func (s *scene) sweep(t *testing.T, to service, kind faultproxy.Kind) {
	t.Helper()
	struck := 0
	for chunks := range maxChunks {
		if !s.inflict(t, to, kind, chunks) {
			break
		}
		struck++
	}
	t.Logf("%s at %s: %d moments", kind, to.name, struck)
	if struck == 0 {
		t.Errorf("%s at %s never struck: the test looks in the wrong place; targets: %v", kind, to.name, s.proxy.Targets())
	}
}

// inflict breaks one new connection at one moment and signs users in. It
// reports whether that moment came.
func (s *scene) inflict(t *testing.T, to service, kind faultproxy.Kind, chunks int) bool {
	t.Helper()
	before := s.stats(t)
	struck := s.proxy.Arm(faultproxy.Fault{Kind: kind, Match: to.match, Chunks: chunks})
	defer s.proxy.Heal()
	// There must be a connection with a beginning.
	if to.lasting {
		if err := s.connector.Restart(); err != nil {
			t.Fatal(err)
		}
	} else {
		s.proxy.CutAll(to.match)
	}
	hit := false
	// Links that are being made take a while; each link then brings sign-ins.
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	for quiet := 0; !hit; {
		if s.signIn(t, to, kind, chunks) {
			if links, settled := s.links(t); settled {
				quiet++
				if quiet > 2*links {
					break
				}
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("%s at %s after %d chunks: sign-ins fail though nothing is broken", kind, to.name, chunks)
		}
		select {
		case <-struck:
			hit = true
		default:
		}
	}
	s.proxy.Disarm()
	if hit {
		s.recover(t, to, kind, chunks)
	}
	if after := s.stats(t); after.ConflictingResponses != before.ConflictingResponses {
		t.Errorf("%s at %s after %d chunks: a request was answered in two ways", kind, to.name, chunks)
	}
	return hit
}

func (s *scene) stats(t *testing.T) testbed.Stats {
	t.Helper()
	stats, err := s.bed.Tenant.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// links returns how many signalling links there are, and whether all of them
// are attached.
func (s *scene) links(t *testing.T) (n int, attached bool) {
	t.Helper()
	status, err := s.connector.Status(t.Context())
	if err != nil {
		return 0, false // it is starting
	}
	return len(status.Links), status.Ready && !slices.ContainsFunc(status.Links, func(l config.LinkStatus) bool { return l.State != config.LinkAttached })
}

// signIn signs in with the right and the wrong password by turns. Trouble is
// allowed; a wrong verdict never is.
func (s *scene) signIn(t *testing.T, to service, kind faultproxy.Kind, chunks int) (ok bool) {
	t.Helper()
	s.turn++
	password, want := right, "success"
	if s.turn%2 == 0 {
		password, want = wrong, "failure"
	}
	got, err := s.bed.Tenant.SignIn(t.Context(), good, password)
	if err != nil {
		t.Fatal(err)
	}
	if trouble(got) {
		return false
	}
	if got.Verdict != want || (want == "failure" && got.AADSTS != 50126) {
		t.Errorf("%s at %s after %d chunks: %s, %s, AADSTS%d; want %s", kind, to.name, chunks, got.Verdict, got.Reason, got.AADSTS, want)
	}
	return true
}

// trouble reports whether a sign-in failed for a reason that is not the user's.
func trouble(s testbed.SignIn) bool {
	switch s.AADSTS {
	case 80001, 80002, 80007: // not: no key, or one that does not fit
		return true
	}
	return false
}

// recover signs in until two in a row have worked.
func (s *scene) recover(t *testing.T, to service, kind faultproxy.Kind, chunks int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	for row := 0; row < 2; {
		if s.signIn(t, to, kind, chunks) {
			row++
			continue
		}
		row = 0
		if ctx.Err() != nil {
			t.Fatalf("%s at %s after %d chunks: sign-ins still fail after %s", kind, to.name, chunks, recovery)
		}
	}
}
