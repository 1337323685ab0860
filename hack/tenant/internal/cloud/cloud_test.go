// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/web"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const tenantID = "6f5e4d3c-2b1a-4908-8716-253443526170"

// safeBuffer collects what is logged.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// tenant is a running tenant and its log.
type tenant struct {
	*cloud.Tenant
	log  *safeBuffer
	stop func()
}

func start(t *testing.T, opts cloud.Options) *tenant {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	opts.TenantID = tenantID
	// A busy machine must not turn a sign-in into a time-out that no test asked for.
	if opts.AcceptTimeout == 0 {
		opts.AcceptTimeout = time.Minute
	}
	if opts.ResponseTimeout == 0 {
		opts.ResponseTimeout = 2 * time.Minute
	}
	out := &safeBuffer{}
	opts.Log = logr.FromSlogHandler(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
	running, err := cloud.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := running.Stop(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	t.Cleanup(stop)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return &tenant{running, out, stop}
}

// api calls the API and decodes its answer.
func api(t *testing.T, ready cloud.Ready, method, path, body string, out any) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, ready.Web+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode
}

func mint(t *testing.T, ready cloud.Ready, request string) string {
	t.Helper()
	var out struct{ Token string }
	if status := api(t, ready, http.MethodPost, "/api/tokens", request, &out); status != http.StatusOK {
		t.Fatalf("minting a token: status %d", status)
	}
	return out.Token
}

func signIn(t *testing.T, ready cloud.Ready, username, password string) signin.Result {
	t.Helper()
	body, err := json.Marshal(map[string]string{"username": username, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	var out signin.Result
	if status := api(t, ready, http.MethodPost, "/api/signin", string(body), &out); status != http.StatusOK {
		t.Fatalf("signing in: status %d", status)
	}
	return out
}

func agents(t *testing.T, ready cloud.Ready) []web.Agent {
	t.Helper()
	var out []web.Agent
	api(t, ready, http.MethodGet, "/api/agents", "", &out)
	return out
}

func stats(t *testing.T, ready cloud.Ready) map[string]int {
	t.Helper()
	var out map[string]int
	api(t, ready, http.MethodGet, "/api/stats", "", &out)
	return out
}

// connect registers a connector that listens on every endpoint.
func connect(t *testing.T, ready cloud.Ready, name, password string, b behaviour) *connector {
	t.Helper()
	c := register(t, ready, name)
	c.become(password, b)
	endpoints := c.bootstrap().Endpoints
	for _, endpoint := range endpoints {
		c.listen(endpoint)
	}
	waitForLinks(t, ready, c.identity.ConnectorID, len(endpoints))
	return c
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func waitForLinks(t *testing.T, ready cloud.Ready, connectorID string, want int) {
	t.Helper()
	eventually(t, "the connector listens", func() bool {
		for _, a := range agents(t, ready) {
			if a.ConnectorID == connectorID {
				return a.Links == want
			}
		}
		return false
	})
}

const (
	user  = "alice@contoso.example"
	right = "Correct-Horse-7!"
)

func TestSignInEndToEnd(t *testing.T) {
	running := start(t, cloud.Options{})
	ready := running.Ready()
	first := connect(t, ready, "server1.contoso.example", right, behaviour{})
	second := connect(t, ready, "server2.contoso.example", right, behaviour{earlyAck: true})

	answered := map[string]int{}
	for range 4 {
		got := signIn(t, ready, user, right)
		if got.Verdict != "success" || got.AADSTS != 0 || got.Username != user || got.Attempts != 1 || got.LatencyMS <= 0 || got.RequestID == "" {
			t.Errorf("sign-in %+v, want a success at the first attempt", got)
		}
		answered[got.ConnectorName]++
	}
	if diff := cmp.Diff(map[string]int{first.name: 2, second.name: 2}, answered); diff != "" {
		t.Errorf("connectors do not take turns (-want +got):\n%s", diff)
	}
	if got := signIn(t, ready, user, "wrong"); got.Verdict != "failure" || got.AADSTS != 50126 || got.Reason != "1326" || got.Message == "" {
		t.Errorf("sign-in with a wrong password %+v, want AADSTS50126 for 1326", got)
	}

	m := first.seen()[0]
	if m.SubscriptionID != tenantID || m.RequestID == m.TransactionID || m.OverriddenReturnPort != 443 || m.ReturnPort != 10100 ||
		!m.OverrideServiceHostEnabled || m.SessionID != "00000000-0000-0000-0000-000000000000" || m.Tunnel.CorrelationID != m.TransactionID {
		t.Errorf("the signal is not like the service's: %+v", m)
	}
	v := m.Tunnel.Protocol.PasswordValidation
	if v == nil || v.Domain != "CONTOSO" || v.UserPrincipalName != user || len(v.EncryptedData) != 2 || len(v.EncryptedData[0].Ciphertext) != 256 {
		t.Errorf("the request is not like the service's: %+v", v)
	}
	for _, a := range agents(t, ready) {
		if !a.Active || !a.Listening || a.LastBootstrap.IsZero() || len(a.Thumbprint) != 40 {
			t.Errorf("agent %+v, want it active and listening", a)
		}
	}
	got := stats(t, ready)
	for event, want := range map[string]int{
		"registrations": 2, "bootstraps": 2, "signIns": 5, "signInSuccesses": 4, "signInFailures": 1, "responses": 5,
		"retries": 0, "defectNameClaim": 0, "defectConnectorID": 0, "defectForeignResponse": 0, "defectBootstrapIDs": 0,
	} {
		if got[event] != want {
			t.Errorf("stats: %s is %d, want %d", event, got[event], want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	running := start(t, cloud.Options{})
	ready := running.Ready()
	c := connect(t, ready, "server1", right, behaviour{})
	code := func(n int32) behaviour { return behaviour{answer: signal.Verdict{Reason: signal.Reason{Code: n}}} }
	for name, tc := range map[string]struct {
		behave  behaviour
		verdict string
		aadsts  int
		reason  string
		defect  string
	}{
		"locked out":                {code(1909), "failure", 50053, "1909", ""},
		"disabled":                  {code(1331), "failure", 50057, "1331", ""},
		"must change":               {code(1907), "failure", 50144, "1907", ""},
		"outside hours":             {code(1328), "failure", 80012, "1328", ""},
		"smart card required":       {code(-2146892994), "failure", 50126, "-2146892994", ""},
		"no domain controller":      {code(1311), "failure", 80001, "1311", ""},
		"a code nobody knows":       {code(4711), "failure", 80007, "4711", ""},
		"no key":                    {behaviour{answer: signal.Verdict{Reason: signal.Reason{Text: "EncryptionDataNotFound"}}}, "failure", 80011, "EncryptionDataNotFound", ""},
		"a verdict that is no JSON": {behaviour{rawAnswer: "hello"}, "failure", 80003, "", "defectVerdict"},
		"a name of its own":         {behaviour{answer: signal.Verdict{Authenticated: true, UserPrincipalName: "other@contoso.example"}}, "success", 0, "", "defectNameClaim"},
		"an id of its own":          {behaviour{anotherID: true}, "success", 0, "", "defectConnectorID"},
		"no acknowledgement":        {behaviour{dontAck: true}, "success", 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := stats(t, ready)
			c.become(right, tc.behave)
			got := signIn(t, ready, user, right)
			if got.Verdict != tc.verdict || got.AADSTS != tc.aadsts || got.Reason != tc.reason || got.ConnectorID != c.identity.ConnectorID {
				t.Errorf("got %+v, want %s, AADSTS%d for %q", got, tc.verdict, tc.aadsts, tc.reason)
			}
			if tc.defect == "" {
				return
			}
			eventually(t, "the defect is counted", func() bool { return stats(t, ready)[tc.defect] == before[tc.defect]+1 })
		})
	}
}

func TestAnotherConnectorTakesOver(t *testing.T) {
	for name, tc := range map[string]struct {
		first behaviour
		event string
	}{
		"when the first is closing":             {behaviour{closing: true}, "closingFaults"},
		"when the first turns the message down": {behaviour{release: true}, "retries"},
		"when the first does not come":          {behaviour{ignore: true}, "retries"},
	} {
		t.Run(name, func(t *testing.T) {
			running := start(t, cloud.Options{AcceptTimeout: 2 * time.Second})
			ready := running.Ready()
			connect(t, ready, "server1", right, tc.first)
			good := connect(t, ready, "server2", right, behaviour{})
			retried := false
			for range 2 { // they take turns, so one of the two begins with the first
				got := signIn(t, ready, user, right)
				if got.Verdict != "success" || got.ConnectorID != good.identity.ConnectorID {
					t.Errorf("got %+v, want a success by the second connector", got)
				}
				retried = retried || got.Attempts == 2
			}
			if !retried || stats(t, ready)[tc.event] == 0 {
				t.Errorf("nobody was asked twice, or it was not counted: %v", stats(t, ready))
			}
		})
	}
}

func TestNobodyTakesTheRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		only   *behaviour
		aadsts int
	}{
		"no connector":               {nil, 80001},
		"the only one is closing":    {&behaviour{closing: true}, 80001},
		"the only one is silent":     {&behaviour{ignore: true}, 80002},
		"the only one never answers": {&behaviour{dontRespond: true}, 80002},
	} {
		t.Run(name, func(t *testing.T) {
			running := start(t, cloud.Options{AcceptTimeout: 500 * time.Millisecond, ResponseTimeout: time.Second})
			ready := running.Ready()
			if tc.only != nil {
				connect(t, ready, "server1", right, *tc.only)
			}
			if got := signIn(t, ready, user, right); got.Verdict != "failure" || got.AADSTS != tc.aadsts {
				t.Errorf("got %+v, want AADSTS%d", got, tc.aadsts)
			}
		})
	}
}

func TestLateAnswer(t *testing.T) {
	running := start(t, cloud.Options{ResponseTimeout: 500 * time.Millisecond})
	ready := running.Ready()
	release := make(chan struct{})
	c := connect(t, ready, "server1", right, behaviour{respondAfter: release})
	if got := signIn(t, ready, user, right); got.AADSTS != 80002 {
		t.Errorf("got %+v, want AADSTS80002", got)
	}
	close(release)
	eventually(t, "the late answer is counted", func() bool { return stats(t, ready)["lateResponses"] == 1 })
	eventually(t, "the connector is told that it is done", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.statuses) == 1 && c.statuses[0] == http.StatusOK
	})
}

func TestRestartKeepsTheTenant(t *testing.T) {
	dir := t.TempDir()
	before := start(t, cloud.Options{Dir: dir})
	c := connect(t, before.Ready(), "server1", right, behaviour{})
	token := mint(t, before.Ready(), `{}`)
	keys := map[string]string{}
	for _, e := range c.bootstrap().Endpoints {
		keys[e.Name] = e.SharedAccessKey
	}
	before.stop()
	http.DefaultClient.CloseIdleConnections()

	after := start(t, cloud.Options{Dir: dir})
	if diff := cmp.Diff(before.Ready(), after.Ready()); diff != "" {
		t.Errorf("after the restart the tenant is elsewhere (-before +after):\n%s", diff)
	}
	got := agents(t, after.Ready())
	if len(got) != 1 || got[0].ConnectorID != c.identity.ConnectorID || got[0].Listening {
		t.Errorf("after the restart there are agents %+v, want the one, not listening", got)
	}
	result := sendRegistration(t, after.Ready(), registrationRequest(t, after.Ready(), token))
	if !result.Successful {
		t.Errorf("a token from before: %s", result.ErrorMessage)
	}
	c.client.CloseIdleConnections()
	endpoints := c.bootstrap().Endpoints
	for _, e := range endpoints {
		if keys[e.Name] != e.SharedAccessKey {
			t.Errorf("the key of %s changed with the restart", e.Name)
		}
		c.listen(e)
	}
	waitForLinks(t, after.Ready(), c.identity.ConnectorID, len(endpoints))
	if got := signIn(t, after.Ready(), user, right); got.Verdict != "success" {
		t.Errorf("sign-in after the restart: %+v", got)
	}
	if _, err := cloud.Start(cloud.Options{Dir: dir, TenantID: "11111111-2222-4333-8444-555555555555"}); err == nil || !strings.Contains(err.Error(), "use another --dir") {
		t.Errorf("starting another tenant in the same directory: %v", err)
	}
}

// TestNoPasswordStays sends a password that can be recognised down every path
// and searches whatever the tenant wrote for it.
func TestNoPasswordStays(t *testing.T) {
	const canary = `Kanarienvogel "42"/\ 8&%=+ü`
	dir := t.TempDir()
	running := start(t, cloud.Options{Dir: dir, AcceptTimeout: 500 * time.Millisecond, ResponseTimeout: time.Second})
	ready := running.Ready()
	var said bytes.Buffer
	ask := func(path, contentType, body string) {
		status, answer := post(t, http.DefaultClient, ready.Web+path, contentType, []byte(body))
		said.Write(answer)
		if status >= http.StatusInternalServerError {
			t.Errorf("%s: status %d", path, status)
		}
	}
	document := func(username string) string {
		b, err := json.Marshal(map[string]string{"username": username, "password": canary})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	form := url.Values{"username": {user}, "password": {canary}}.Encode()
	ask("/api/signin", "application/json", document(user)) // no agent
	c := connect(t, ready, "server1", canary, behaviour{})
	if got := signIn(t, ready, user, canary); got.Verdict != "success" {
		t.Fatalf("the password does not arrive as it was entered: %+v", got)
	}
	ask("/signin", "application/x-www-form-urlencoded", form) // success
	if !strings.Contains(said.String(), "You are signed in") {
		t.Error("the form's password does not arrive as it was entered")
	}
	c.become("another", behaviour{})
	ask("/signin", "application/x-www-form-urlencoded", form) // wrong password
	c.become(canary, behaviour{dontRespond: true})
	ask("/api/signin", "application/json", document(user)) // time-out
	c.become(canary, behaviour{rawAnswer: "bad"})
	ask("/api/signin", "application/json", document(user)) // an answer that cannot be read
	ask("/api/signin", "application/json", document("alice@contoso.com"))
	ask("/signin", "application/x-www-form-urlencoded", "username=alice&password="+url.QueryEscape(canary))
	ask("/signin", "application/x-www-form-urlencoded", form+"%zz")
	ask("/api/signin", "application/json", document(user)[1:])
	ask("/api/signin", "application/json", `{"username":"`+user+`","password":"`+strings.Repeat("Kanarienvogel", 20)+`"}`) // too long
	ask("/api/signin", "text/plain", document(user))

	said.WriteString(running.log.String())
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		said.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "Finished a sign-in") || !strings.Contains(said.String(), "PRIVATE KEY") {
		t.Fatal("the search does not see logs and files")
	}
	if i := strings.Index(said.String(), "Kanarienvogel"); i >= 0 {
		t.Errorf("the password was found: …%.200s…", said.String()[max(0, i-100):])
	}
}

func TestManySignInsAtOnce(t *testing.T) {
	running := start(t, cloud.Options{})
	ready := running.Ready()
	for _, name := range []string{"server1", "server2"} {
		connect(t, ready, name, right, behaviour{})
	}
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			password, want := right, "success"
			if i%3 == 0 {
				password, want = "wrong", "failure"
			}
			if got := signIn(t, ready, user, password); got.Verdict != want {
				t.Errorf("sign-in %d: %+v, want %s", i, got, want)
			}
		})
	}
	all.Wait()
}

func TestOptionsThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		opts cloud.Options
		want string
	}{
		"nothing":                  {cloud.Options{}, "--dir"},
		"no GUID":                  {cloud.Options{Dir: "x", TenantID: "contoso"}, "--tenant-id"},
		"every address":            {cloud.Options{Dir: "x", TenantID: tenantID, Listen: "0.0.0.0"}, "neither a loopback address"},
		"a public address":         {cloud.Options{Dir: "x", TenantID: tenantID, Listen: "192.0.3.1"}, "neither a loopback address"},
		"pages on every address":   {cloud.Options{Dir: "x", TenantID: tenantID, Web: ":8080"}, "--web"},
		"pages on a public one":    {cloud.Options{Dir: "x", TenantID: tenantID, Web: "192.0.2.1:8080"}, "--web"},
		"the real service's hosts": {cloud.Options{Dir: "x", TenantID: tenantID, ServiceDomain: "msappproxy.net"}, "must not stand in"},
		"the real relay's hosts":   {cloud.Options{Dir: "x", TenantID: tenantID, RelayDomain: "servicebus.windows.net"}, "must not stand in"},
		"one domain for both":      {cloud.Options{Dir: "x", TenantID: tenantID, RelayDomain: "msappproxy.test"}, "must differ"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.opts.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error about %q", err, tc.want)
			}
		})
	}
}
