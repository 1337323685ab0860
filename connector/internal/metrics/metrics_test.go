// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// exercise gives every metric a value.
func exercise() *Metrics {
	m := New("v1", []string{"tenant", "replay"})
	m.SignIn("success", "0", 20*time.Millisecond, 10*time.Millisecond, true)
	m.SignIn("user", "1326", time.Second, time.Second, false)
	m.SignIn("infrastructure", "EncryptionDataNotFound", time.Millisecond, 0, true)
	m.Dropped("replay")
	m.ForeignKeys(3, 2, 5)
	m.LastBootstrap(time.Unix(1767225600, 0))
	m.ServiceState("UpdateRequired")
	m.Inspected()
	m.Rendezvous(1)
	m.Bootstrap(true)
	m.Bootstrap(false)
	m.LinksAttached(2)
	m.Proof(AcceptedAnything)
	m.CertificateNotAfter(time.Unix(1767225600, 0))
	m.InFlight(4)
	m.Stuck(1)
	m.Tokens(1)
	m.Tokens(1)
	m.Tokens(-1)
	return m
}

func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	return w.Body.String()
}

func TestWhatIsCountedIsShown(t *testing.T) {
	got := page(t, exercise())
	for _, want := range []string{
		`passthrough_connector_sign_ins_total{class="success",reason="0"} 1`,
		`passthrough_connector_sign_ins_total{class="user",reason="1326"} 1`,
		`passthrough_connector_sign_ins_total{class="infrastructure",reason="EncryptionDataNotFound"} 1`,
		`passthrough_connector_sign_in_duration_seconds_count 3`,
		`passthrough_connector_validation_duration_seconds_count 2`,
		`passthrough_connector_undelivered_verdicts_total 1`,
		`passthrough_connector_dropped_total{reason="replay"} 1`,
		`passthrough_connector_dropped_total{reason="tenant"} 0`,
		`passthrough_connector_foreign_key_entries_total 3`,
		`passthrough_connector_tls_inspected_total 1`,
		`passthrough_connector_foreign_connectors 2`,
		`passthrough_connector_foreign_certificates 5`,
		`passthrough_connector_last_bootstrap_seconds 1.7672256e+09`,
		`passthrough_connector_service_state{state="UpdateRequired"} 1`,
		`passthrough_connector_service_state{state="none"} 0`,
		`passthrough_connector_rendezvous_in_flight 1`,
		`passthrough_connector_bootstraps_total{result="failure"} 1`,
		`passthrough_connector_bootstraps_total{result="success"} 1`,
		`passthrough_connector_signalling_links_attached 2`,
		`passthrough_connector_validator_checks_total{result="accepted_anything"} 1`,
		`passthrough_connector_validator_checks_total{result="refused"} 0`,
		`passthrough_connector_certificate_not_after_seconds 1.7672256e+09`,
		`passthrough_connector_validations_in_flight 4`,
		`passthrough_connector_validations_stuck 1`,
		`passthrough_connector_logon_tokens_open 1`,
		`passthrough_connector_build_info{version="v1"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
}

func TestTheServiceHasOneStateAtATime(t *testing.T) {
	m := New("v1", nil)
	for state, want := range map[string]string{
		"": "none", "Ok": "Ok", "InfoServiceMessage": "InfoServiceMessage", "none": "unknown", "SomethingNewer": "unknown", "a\"\n": "unknown",
	} {
		m.ServiceState(state)
		var on []string
		for _, match := range regexp.MustCompile(`(?m)^passthrough_connector_service_state\{state="(.*)"\} 1$`).FindAllStringSubmatch(page(t, m), -1) {
			on = append(on, match[1])
		}
		if !slices.Equal(on, []string{want}) {
			t.Errorf("state %q: %v are set, want %s alone", state, on, want)
		}
	}
}

// TestTheReferenceIsComplete compares docs/metrics.md with what is served, by
// name and type.
func TestTheReferenceIsComplete(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	collect := func(pattern, text string) []string {
		var names []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1]+" "+m[2])
		}
		slices.Sort(names)
		return names
	}
	served := collect(`(?m)^# TYPE (passthrough_connector_\w+) (\w+)$`, page(t, exercise()))
	described := collect("(?m)^\\| `(passthrough_connector_\\w+)` \\| (\\w+) \\|", string(doc))
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("docs/metrics.md (-served +described):\n%s", diff)
	}
}
