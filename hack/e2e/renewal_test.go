// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// certificateLife is how long certificates live in the test below: half of it is
// the window in which they are renewed, and nodes and connectors need seconds to
// notice each.
const certificateLife = 2 * time.Minute

// TestTenRenewalsAndNoSignInFails lives through years of certificates in minutes:
// they end after certificateLife, so that the operator renews one after the other,
// under users who sign in all the time.
func TestTenRenewalsAndNoSignInFails(t *testing.T) {
	s := newScene(t, "renewals", goodToken(t))
	s.certificatesLive(certificateLife)
	t.Cleanup(func() { s.certificatesLive(0) })
	const replicas, want = 3, 10
	registered := s.registrations()
	s.apply(spec("replicas", replicas))
	first := s.ready(replicas)
	s.allAnswer(replicas)
	pods := s.podsAndRestarts()
	tr := s.startTraffic(4)
	seen := map[string]map[string]bool{}
	note := func() (renewals int) {
		for _, c := range s.resource().Status.Connectors {
			if seen[c.Name] == nil {
				seen[c.Name] = map[string]bool{}
			}
			seen[c.Name][c.Thumbprint] = true
		}
		for _, thumbprints := range seen {
			renewals += len(thumbprints) - 1
		}
		return renewals
	}
	s.eventually(8*time.Minute, fmt.Sprintf("%d renewals", want), func() (bool, string) {
		n := note()
		signIns, failures := tr.soFar()
		if len(failures) > 0 {
			t.Fatalf("%d of %d sign-ins failed:\n%s", len(failures), signIns, strings.Join(failures, "\n"))
		}
		c := s.resource().condition("CertificatesCurrent")
		return n >= want && c.Status == "True", fmt.Sprintf("%d renewals; %+v", n, c)
	})
	tr.end()
	signIns, failures := tr.soFar()
	if len(failures) > 0 || signIns == 0 {
		t.Fatalf("%d of %d sign-ins failed:\n%s", len(failures), signIns, strings.Join(failures, "\n"))
	}
	t.Logf("%d sign-ins during %d renewals, none failed", signIns, note())
	for name, thumbprints := range seen {
		if len(thumbprints) < 3 {
			t.Errorf("%s was renewed %d times", name, len(thumbprints)-1)
		}
	}
	if got := s.podsAndRestarts(); got != pods {
		t.Errorf("pods were replaced or restarted for a renewal: they are\n%s\nand were\n%s", got, pods)
	}
	if got := s.registrations() - registered; got != replicas {
		t.Errorf("%d connectors were registered, want %d: a renewal is no registration", got, replicas)
	}
	for i, c := range s.resource().Status.Connectors {
		if c.ConnectorID != first.Status.Connectors[i].ConnectorID {
			t.Errorf("%s is another connector now", c.Name)
		}
	}
	if events := s.kubectl("get", "events", "--field-selector", "reason=CertificateRenewed", "-o", "name"); events == "" {
		t.Error("no event tells of a renewal")
	}
}

// certificatesLive sets how long certificates live that the tenant issues; 0 is as
// long as the service's.
func (s *scene) certificatesLive(lifetime time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := bed.Tenant.CertificateLifetime(ctx, lifetime); err != nil {
		s.t.Fatal(err)
	}
}

// podsAndRestarts are the names of the pods and how often each was restarted.
func (s *scene) podsAndRestarts() string {
	s.t.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct{ ContainerStatuses []struct{ RestartCount int } }
		}
	}
	if err := json.Unmarshal([]byte(s.kubectl("get", "pods", "-l", "identity.passthrough.dev/connector="+testbed.SampleName, "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, p := range list.Items {
		all = append(all, fmt.Sprintf("%s %+v", p.Metadata.Name, p.Status.ContainerStatuses))
	}
	return strings.Join(all, "\n")
}
