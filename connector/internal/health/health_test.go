// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

var (
	now    = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	errDir = errors.New("no domain controller answers")
)

// life are events in the order in which a connector has them.
func serving(tr *Tracker) {
	tr.Identity("id", "AB", now.Add(time.Hour), nil)
	tr.ValidatorProven(now)
	tr.Bootstrapped(now, "AB", Said{State: "Ok"})
	tr.Link("ns/path", config.LinkConnecting, now, nil)
	tr.Link("ns/path", config.LinkAttached, now, nil)
}

func TestReadinessThroughALife(t *testing.T) {
	for name, tc := range map[string]struct {
		events func(*Tracker)
		reason string
	}{
		"just started":               {func(*Tracker) {}, config.ReasonStarting},
		"proven only":                {func(tr *Tracker) { tr.ValidatorProven(now) }, config.ReasonStarting},
		"everything happened":        {serving, config.ReasonServing},
		"the directory is not there": {func(tr *Tracker) { tr.ValidatorFailing(now, errDir) }, config.ReasonValidatorFailing},
		"bootstrap never worked":     {func(tr *Tracker) { tr.ValidatorProven(now); tr.BootstrapFailed(3, errDir) }, config.ReasonBootstrapFailing},
		"TLS is inspected from the start": {func(tr *Tracker) {
			tr.ValidatorProven(now)
			tr.Inspected("exempt the hosts")
			tr.BootstrapFailed(1, errDir)
		}, config.ReasonTLSInspected},
		"TLS is inspected later": {func(tr *Tracker) { serving(tr); tr.Inspected("exempt the hosts") }, config.ReasonServing},
		"and the links are lost": {func(tr *Tracker) {
			serving(tr)
			tr.Inspected("exempt")
			tr.Link("ns/path", config.LinkWaiting, now, errDir)
		}, config.ReasonTLSInspected},
		"TLS is inspected no more":    {func(tr *Tracker) { tr.Inspected("exempt the hosts"); serving(tr) }, config.ReasonServing},
		"too many bootstraps failed":  {func(tr *Tracker) { serving(tr); tr.BootstrapFailed(144, errDir); tr.GaveUp() }, config.ReasonBootstrapFailing},
		"and one works again":         {func(tr *Tracker) { tr.BootstrapFailed(144, errDir); tr.GaveUp(); serving(tr) }, config.ReasonServing},
		"bootstrap fails now":         {func(tr *Tracker) { serving(tr); tr.BootstrapFailed(1, errDir) }, config.ReasonServing},
		"one failed check":            {func(tr *Tracker) { serving(tr); tr.ValidatorFailing(now, errDir) }, config.ReasonServing},
		"two failed checks":           {func(tr *Tracker) { serving(tr); tr.ValidatorFailing(now, errDir); tr.ValidatorFailing(now, errDir) }, config.ReasonValidatorFailing},
		"one check that shows a loss": {func(tr *Tracker) { serving(tr); tr.ValidatorLost(now, errDir) }, config.ReasonValidatorFailing},
		"the loss is made good":       {func(tr *Tracker) { serving(tr); tr.ValidatorLost(now, errDir); tr.ValidatorProven(now) }, config.ReasonServing},
		"a loss after it accepts all": {func(tr *Tracker) { tr.ValidatorAcceptsAnything(now, errDir); tr.ValidatorLost(now, errDir) }, config.ReasonValidatorAcceptsAnything},
		"a check that works again": {func(tr *Tracker) {
			serving(tr)
			tr.ValidatorFailing(now, errDir)
			tr.ValidatorFailing(now, errDir)
			tr.ValidatorProven(now)
		}, config.ReasonServing},
		"the only link is lost": {func(tr *Tracker) { serving(tr); tr.Link("ns/path", config.LinkWaiting, now, errDir) }, config.ReasonNoLink},
		"it is being dialled again": {func(tr *Tracker) {
			serving(tr)
			tr.Link("ns/path", config.LinkWaiting, now, errDir)
			tr.Link("ns/path", config.LinkConnecting, now, nil)
		}, config.ReasonNoLink},
		"one link of two":                {func(tr *Tracker) { serving(tr); tr.Link("ns2/path", config.LinkWaiting, now, errDir) }, config.ReasonServing},
		"an endpoint is taken away":      {func(tr *Tracker) { serving(tr); tr.Link("ns/path", config.LinkClosed, now, nil) }, config.ReasonStarting},
		"the certificate has ended":      {func(tr *Tracker) { serving(tr); tr.Identity("id", "AB", now.Add(-time.Second), nil) }, config.ReasonCertificateExpired},
		"stopping":                       {func(tr *Tracker) { serving(tr); tr.Stopping() }, config.ReasonStopping},
		"a validator that accepts all":   {func(tr *Tracker) { serving(tr); tr.ValidatorAcceptsAnything(now, errDir) }, config.ReasonValidatorAcceptsAnything},
		"it stays so after a good check": {func(tr *Tracker) { tr.ValidatorAcceptsAnything(now, errDir); serving(tr) }, config.ReasonValidatorAcceptsAnything},
		"and after a failing one": {func(tr *Tracker) {
			serving(tr)
			tr.ValidatorAcceptsAnything(now, errDir)
			tr.ValidatorFailing(now, errDir)
		}, config.ReasonValidatorAcceptsAnything},
		"and while stopping": {func(tr *Tracker) { serving(tr); tr.ValidatorAcceptsAnything(now, errDir); tr.Stopping() }, config.ReasonValidatorAcceptsAnything},
	} {
		t.Run(name, func(t *testing.T) {
			tr := New(config.Config{}, "v1")
			tc.events(tr)
			s := tr.Status(now)
			if s.Reason != tc.reason || s.Ready != (tc.reason == config.ReasonServing) || s.Message == "" {
				t.Errorf("ready %v, reason %s (%s), want %s", s.Ready, s.Reason, s.Message, tc.reason)
			}
		})
	}
}

func TestTextOfOthersIsMadeFit(t *testing.T) {
	const hostile = "stop\n \x1b[2Jhere\u202e"
	const fit = "stop; [2Jhere"
	tr := New(config.Config{}, "v1")
	shown := tr.Bootstrapped(now, "", Said{State: hostile, Message: hostile, Triggers: strings.Repeat("x", 2000)})
	if shown.State != fit || shown.Message != fit || len(shown.Triggers) != maxMessage {
		t.Errorf("what is logged is %+v", shown)
	}
	if b := tr.Status(now).Bootstrap; b.ConnectorState != fit || b.ServiceMessage != fit || len(b.Triggers) != maxMessage {
		t.Errorf("a bootstrap that succeeded is shown as %+v", b)
	}
	failure := errors.New(hostile)
	tr.BootstrapFailed(1, failure)
	tr.IdentityFiles(failure)
	tr.Link("ns/path", config.LinkWaiting, now, failure)
	s := tr.Status(now)
	if s.Bootstrap.LastError != fit || s.Certificate.LastError != fit || s.Links[0].LastError != fit {
		t.Errorf("failures are shown as %q, %q and %q", s.Bootstrap.LastError, s.Certificate.LastError, s.Links[0].LastError)
	}
	tr.Inspected(hostile)
	if s := tr.Status(now); strings.ContainsAny(s.Message, "\n\x1b\u202e") {
		t.Errorf("what stands between is shown as %q", s.Message)
	}
}

func TestPages(t *testing.T) {
	c := config.Config{TenantID: "t", MachineName: "m", Digest: "d", Validation: config.Validation{Method: "LDAP"}}
	tr := New(c, "v1")
	pages := tr.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "metrics") }))
	get := func(path string) (int, string) {
		t.Helper()
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("/healthz is %d while starting", code)
	}
	if code, body := get("/readyz"); code != 503 || !strings.HasPrefix(body, "Starting: ") {
		t.Errorf("/readyz is %d %q while starting", code, body)
	}
	later := time.Now().Add(time.Hour)
	tr.Identity("id", "AB", later, []string{"CD"})
	tr.ValidatorProven(now)
	tr.Bootstrapped(now, "AB", Said{State: "UpdateRequired", Message: "please\n\x1b[31m\u202eupdate"})
	tr.Bootstrapped(now, "", Said{State: "UpdateRequired", Message: "please\n\x1b[31m\u202eupdate", Triggers: strings.Repeat("x", 5000)})
	tr.Link("b", config.LinkAttached, now, nil)
	tr.Link("a", config.LinkWaiting, now, errDir)
	if code, body := get("/readyz"); code != 200 || !strings.HasPrefix(body, "Serving: ") {
		t.Errorf("/readyz is %d %q", code, body)
	}
	if _, body := get("/metrics"); body != "metrics" {
		t.Errorf("/metrics is %q", body)
	}
	var got config.Status
	_, body := get("/statusz")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := config.Status{
		ConnectorID: "id", TenantID: "t", Version: "v1", MachineName: "m", ConfigDigest: "d", Ready: true,
		Reason: "Serving", Message: "The connector serves sign-ins.",
		Certificate:         config.CertificateStatus{Thumbprint: "AB", NotAfter: later.Round(0), PreviousThumbprints: []string{"CD"}},
		BootstrapThumbprint: "AB",
		Bootstrap: config.BootstrapStatus{
			LastSuccess: &now, ConnectorState: "UpdateRequired", ServiceMessage: "please; [31mupdate", Triggers: strings.Repeat("x", 1021) + "...",
		},
		Links: []config.LinkStatus{
			{Endpoint: "a", State: config.LinkWaiting, Since: now, LastError: errDir.Error()},
			{Endpoint: "b", State: config.LinkAttached, Since: now},
		},
		Validator: config.ValidatorStatus{Method: "LDAP", State: config.ValidatorProven, LastCheck: &now},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("/statusz (-want +got):\n%s", diff)
	}
}
