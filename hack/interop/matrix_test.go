// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"strconv"
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// TestEveryPathBringsEveryVerdict signs users in for whom the directory has
// each kind of answer, over each path.
func TestEveryPathBringsEveryVerdict(t *testing.T) {
	outcomes := map[string]struct {
		user, password, verdict, reason string
		aadsts                          int
		atLeastMS                       int // that validation took
	}{
		"right":    {user: good, password: right, verdict: "success"},
		"wrong":    {user: good, password: wrong, verdict: "failure", reason: "1326", aadsts: 50126},
		"disabled": {user: "dave@" + ldapserver.Domain, password: right, verdict: "failure", reason: "1331", aadsts: 50057},
		// The directory answers after 30 s; the connector gives up at 10 s and
		// says so before the cloud does.
		"timeout": {user: "victor@" + ldapserver.Domain, password: right, verdict: "failure", reason: "1726", aadsts: 80007, atLeastMS: 9000},
	}
	all := append(paths(),
		path{config.TransportWebSocket, "plain", "connect-bytes"}, path{config.TransportAMQP, "reliable", "connect-bytes"})
	for _, p := range all {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, p)
			for name, want := range outcomes {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					got, err := s.bed.Tenant.SignIn(t.Context(), want.user, want.password)
					if err != nil {
						t.Fatal(err)
					}
					if got.Verdict != want.verdict || got.Reason != want.reason || got.AADSTS != want.aadsts {
						t.Errorf("%s, reason %q, AADSTS%d; want %s, %q, %d", got.Verdict, got.Reason, got.AADSTS, want.verdict, want.reason, want.aadsts)
					}
					if got.ConnectorID != s.connector.ID || got.Attempts != 1 {
						t.Errorf("answered by %s after %d attempts, want %s after one", got.ConnectorID, got.Attempts, s.connector.ID)
					}
					if got.Endpoint != s.endpoint {
						t.Errorf("the request went over a %q endpoint, want %q", got.Endpoint, s.endpoint)
					}
					checkHeaders(t, got, want.atLeastMS)
				})
			}
		})
	}
}

// checkHeaders compares what came with a verdict with protocol section 9.2.
func checkHeaders(t *testing.T, got testbed.SignIn, atLeastMS int) {
	t.Helper()
	h := got.AnswerHeaders
	for name, want := range map[string]string{
		"x-cwap-dnscachelookup-result":      "NotUsed",
		"x-cwap-connector-usesdefaultproxy": "InUse",
		"x-cwap-connector-sp-connections":   "1",
		"x-cwap-transid":                    got.CorrelationID,
		"x-cwap-sessionid":                  "00000000-0000-0000-0000-000000000000",
		"x-cwap-certificate-authentication": "notProcessed",
		"x-cwap-headers-size":               "0",
		"x-cwap-payload-total-attempts":     "0",
		"x-cwap-connector-loadfactor":       "0",
		"x-cwap-response-total-attempts":    "1",
	} {
		if !strings.EqualFold(h[name], want) {
			t.Errorf("%s is %q, want %q", name, h[name], want)
		}
	}
	for _, name := range []string{"x-cwap-connector-version", "x-cwap-datamodel-version"} {
		if h[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	backend, err := strconv.Atoi(h["x-cwap-connector-be-latency-ms"])
	if err != nil {
		t.Errorf("the latency of the validation: %v", err)
	}
	all, err := strconv.Atoi(h["x-cwap-connector-all-latency-ms"])
	if err != nil {
		t.Errorf("the whole latency: %v", err)
	}
	if backend < atLeastMS || all < backend || float64(all) > got.LatencyMS+1 {
		t.Errorf("the validation took %d ms of %d ms at the connector and %.0f ms at the tenant; want at least %d", backend, all, got.LatencyMS, atLeastMS)
	}
}
