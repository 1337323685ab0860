// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registry"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/relaying"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/token"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/web"
)

// tenant stands in for what is behind the pages.
type tenant struct {
	result   signin.Result
	err      error
	username string
	password string
	buffer   []byte
	token    token.Request
	decision string
}

func (s *tenant) Decide(code, username string, password []byte, approve bool) error {
	s.username, s.password, s.buffer = username, string(password), password
	s.decision = fmt.Sprintf("%s %t", code, approve)
	return s.err
}

func (s *tenant) Revoke() error { return s.err }

func (s *tenant) SignIn(_ context.Context, username string, password []byte, _ signin.Preference) (signin.Result, error) {
	s.username, s.password, s.buffer = username, string(password), password
	return s.result, s.err
}

func (s *tenant) Agents(time.Time) ([]registry.Agent, error) {
	return []registry.Agent{{ConnectorID: "c1", Name: "<server1>", Certificates: []registry.Certificate{{Thumbprint: "AB"}}}}, nil
}
func (s *tenant) Active(registry.Agent, time.Time) bool { return true }
func (s *tenant) Listeners() []relaying.Listener        { return []relaying.Listener{{ConnectorID: "c1"}} }
func (s *tenant) Token(r token.Request, _ time.Time) (string, error) {
	s.token = r
	return "signed", nil
}

func site(t *testing.T) (*tenant, http.Handler) {
	t.Helper()
	s := &tenant{}
	return s, (&web.Site{SignIns: s, Agents: s, Listeners: s, Tokens: s, Consent: s, Tally: tally.New(), Log: testr.New(t)}).Handler()
}

func do(h http.Handler, method, path, body string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		r.Header.Set(k, v)
		if k == "Host" {
			r.Host = v
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestCredentialsArriveAsTheyWereEntered(t *testing.T) {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for name, tc := range map[string]struct {
		path, body string
		header     map[string]string
		want       string
	}{
		"JSON":                    {"/api/signin", `{"username":"a@b.test","password":"p\"\\\/ä€\ud83d\ude00 \u0001"}`, nil, "p\"\\/ä€😀 \x01"},
		"JSON in another order":   {"/api/signin", `{"password":"p","username":"a@b.test"}`, nil, "p"},
		"JSON, an empty password": {"/api/signin", `{"username":"a@b.test","password":""}`, nil, ""},
		"a form":                  {"/signin", "username=a%40b.test&password=p+%22%5C%2F%26%3D%25%C3%A4%2b", form, `p "\/&=%ä+`},
		"a form in another order": {"/signin", "password=p&username=a%40b.test", form, "p"},
		"a form, no password":     {"/signin", "username=a%40b.test", form, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := site(t)
			s.result = signin.Result{Verdict: signin.Success}
			if w := do(h, http.MethodPost, tc.path, tc.body, tc.header); w.Code != http.StatusOK {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			if s.username != "a@b.test" || s.password != tc.want {
				t.Errorf("arrived as %q, %q; want a@b.test, %q", s.username, s.password, tc.want)
			}
			for _, b := range s.buffer {
				if b != 0 {
					t.Fatalf("the password's buffer holds %q after the answer", s.buffer)
				}
			}
		})
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		method, path, body string
		header             map[string]string
		want               int
	}{
		"another host name":           {http.MethodGet, "/", "", map[string]string{"Host": "contoso.example"}, http.StatusMisdirectedRequest},
		"a page of another site":      {http.MethodPost, "/api/signin", `{}`, map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
		"another origin":              {http.MethodPost, "/signin", "username=a", map[string]string{"Origin": "http://evil.example"}, http.StatusForbidden},
		"no JSON type":                {http.MethodPost, "/api/signin", `{"username":"a","password":"b"}`, map[string]string{"Content-Type": "text/plain"}, http.StatusBadRequest},
		"no JSON":                     {http.MethodPost, "/api/signin", `username=a`, nil, http.StatusBadRequest},
		"a password that is a number": {http.MethodPost, "/api/signin", `{"username":"a","password":7}`, nil, http.StatusBadRequest},
		"a request too large":         {http.MethodPost, "/api/signin", `{"username":"` + strings.Repeat("a", 20000) + `"}`, nil, http.StatusBadRequest},
		"a form with a broken escape": {http.MethodPost, "/signin", "password=%4", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, http.StatusBadRequest},
		"a token for no tenant":       {http.MethodPost, "/api/tokens", `{"tenantID":"contoso"}`, nil, http.StatusBadRequest},
		"a token for ever":            {http.MethodPost, "/api/tokens", `{"ttlSeconds":99999999999}`, nil, http.StatusBadRequest},
		"a token with a typing error": {http.MethodPost, "/api/tokens", `{"ttl":1}`, nil, http.StatusBadRequest},
		"a decision for both":         {http.MethodPost, "/device", "code=a&username=b&password=c", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, http.StatusBadRequest},
		"a decision as JSON":          {http.MethodPost, "/device", `{"code":"a"}`, nil, http.StatusBadRequest},
		"a decision of another site":  {http.MethodPost, "/device", "decision=approve", map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
		"the wrong method":            {http.MethodGet, "/api/signin", "", nil, http.StatusMethodNotAllowed},
		"a page that does not exist":  {http.MethodGet, "/other", "", nil, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := site(t)
			s.err = errors.New("must not be reached")
			if w := do(h, tc.method, tc.path, tc.body, tc.header); w.Code != tc.want {
				t.Errorf("status %d (%s), want %d", w.Code, w.Body, tc.want)
			}
		})
	}
}

func TestPages(t *testing.T) {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for name, tc := range map[string]struct {
		result signin.Result
		err    error
		method string
		path   string
		status int
		want   []string
		not    string
	}{
		"the form":        {method: http.MethodGet, path: "/", status: 200, want: []string{`name="username"`, `type="password"`, `autocomplete="current-password"`}},
		"the style sheet": {method: http.MethodGet, path: "/style.css", status: 200, want: []string{"body"}},
		"a success": {signin.Result{Verdict: signin.Success, Username: "a@b.test", ConnectorName: "server1", LatencyMS: 12.4, Attempts: 1}, nil,
			http.MethodPost, "/signin", 200, []string{"You are signed in", "a@b.test", "server1", "12 ms"}, "AADSTS"},
		"a failure": {signin.Result{Verdict: signin.Failure, AADSTS: 50126, Message: "Your account or password is incorrect.", RequestID: "r1", CorrelationID: "x1", Time: time.Unix(0, 0).UTC()}, nil,
			http.MethodPost, "/signin", 200, []string{"AADSTS50126", "password is incorrect", "r1", "x1", "1970-01-01T00:00:00Z"}, "You are signed in"},
		"a bad entry":    {signin.Result{}, &signin.InputError{Message: "Enter <something> else."}, http.MethodPost, "/signin", 400, []string{"Enter &lt;something&gt; else."}, "<something>"},
		"a real failure": {signin.Result{}, errors.New("inner"), http.MethodPost, "/signin", 500, []string{"see its log"}, "inner"},
		"the consent":    {method: http.MethodGet, path: "/device", status: 200, want: []string{`name="code"`, `name="password"`, `value="approve"`, `value="deny"`, "<label>Code"}},
		"a wrong entry":  {signin.Result{}, errors.New("there is no such <code>"), http.MethodPost, "/device", 403, []string{"There is no such &lt;code&gt;.", `role="alert"`, `value="a@b.test"`}, "<code>"},
		"the agents":     {method: http.MethodGet, path: "/agents", status: 200, want: []string{"&lt;server1&gt;", "Active", "never"}, not: "<server1>"},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := site(t)
			s.result, s.err = tc.result, tc.err
			w := do(h, tc.method, tc.path, "username=a%40b.test&password=p&decision=approve", form)
			if w.Code != tc.status {
				t.Errorf("status %d, want %d", w.Code, tc.status)
			}
			for _, want := range tc.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("the page lacks %q:\n%s", want, w.Body)
				}
			}
			if tc.not != "" && strings.Contains(w.Body.String(), tc.not) {
				t.Errorf("the page says %q:\n%s", tc.not, w.Body)
			}
			for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
			if got := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'") {
				t.Errorf("Content-Security-Policy is %q", got)
			}
		})
	}
}

func TestTokenRequests(t *testing.T) {
	s, h := site(t)
	if w := do(h, http.MethodPost, "/api/tokens", "", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"token":"signed"`) || s.token != (token.Request{}) {
		t.Errorf("an empty request gave %d %s for %+v", w.Code, w.Body, s.token)
	}
	body := `{"tenantID":"11111111-2222-4333-8444-555555555555","ttlSeconds":-5,"audience":"x"}`
	do(h, http.MethodPost, "/api/tokens", body, nil)
	if want := (token.Request{TenantID: "11111111-2222-4333-8444-555555555555", Audience: "x", Lifetime: -5 * time.Second}); s.token != want {
		t.Errorf("minted for %+v, want %+v", s.token, want)
	}
}

func TestDecisions(t *testing.T) {
	for decision, want := range map[string]struct{ decision, page string }{
		"approve": {"BCDF-GHJK true", "The sign-in is approved"},
		"deny":    {"BCDF-GHJK false", "The sign-in is denied"},
	} {
		t.Run(decision, func(t *testing.T) {
			s, h := site(t)
			w := do(h, http.MethodPost, "/device", "code=BCDF-GHJK&username=admin%40contoso.example&password=p%26q&decision="+decision, map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want.page) {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			if s.decision != want.decision || s.username != "admin@contoso.example" || s.password != "p&q" {
				t.Errorf("arrived as %q by %q", s.decision, s.username)
			}
			for _, b := range s.buffer {
				if b != 0 {
					t.Fatalf("the password's buffer holds %q after the answer", s.buffer)
				}
			}
		})
	}
	s, h := site(t)
	if w := do(h, http.MethodPost, "/api/revoke-sign-ins", "{}", nil); w.Code != http.StatusOK {
		t.Errorf("revoking: status %d", w.Code)
	}
	s.err = errors.New("inner")
	if w := do(h, http.MethodPost, "/api/revoke-sign-ins", "{}", nil); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "inner") {
		t.Errorf("revoking in vain: status %d, %s", w.Code, w.Body)
	}
}
