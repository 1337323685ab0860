// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/consent"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/token"
)

const (
	tenant   = "6f5e4d3c-2b1a-4908-8716-253443526170"
	client   = "cb1056e2-e479-49de-ae31-7812af012ed8"
	register = "https://proxy.cloudwebappproxy.net/registerapp/user_impersonation"
	both     = register + " offline_access"
)

// desk is an authority and what a program and an administrator do at it.
type desk struct {
	t *testing.T
	*consent.Authority
	mint *token.Mint
	dir  string
	log  strings.Builder
}

func open(t *testing.T, dir string) *desk {
	t.Helper()
	mint, err := token.Open(dir, tenant, "msappproxy.test")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, mint: mint, dir: dir}
	log := funcr.New(func(_, args string) { d.log.WriteString(args + "\n") }, funcr.Options{Verbosity: 10})
	if d.Authority, err = consent.Open(dir, mint, log); err != nil {
		t.Fatal(err)
	}
	d.DecideAt("http://127.0.0.1:1/device")
	return d
}

func (d *desk) password() string {
	d.t.Helper()
	password, err := os.ReadFile(d.PasswordFile())
	if err != nil {
		d.t.Fatal(err)
	}
	return string(password)
}

// post posts a form of names and values.
func post(t *testing.T, serve http.HandlerFunc, form ...string) (status int, answer map[string]any) {
	t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	serve(w, r)
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("the answer's headers are %v", w.Header())
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("the answer is %s: %v", w.Body, err)
	}
	return w.Code, answer
}

// ask asks for a code.
func (d *desk) ask() (device, user string) {
	d.t.Helper()
	status, answer := post(d.t, d.DeviceCode, "client_id", client, "scope", both)
	if status != http.StatusOK {
		d.t.Fatalf("asking for a code: %v", answer)
	}
	return answer["device_code"].(string), answer["user_code"].(string)
}

// wantError asks for a token, which must be refused.
func (d *desk) wantError(want string, form ...string) {
	d.t.Helper()
	status, answer := post(d.t, d.Token, append([]string{"client_id", client}, form...)...)
	if status != http.StatusBadRequest || answer["error"] != want || answer["error_description"] == "" {
		d.t.Errorf("got %d %v, want %s", status, answer, want)
	}
}

// wantTokens asks for tokens, which must be good ones.
func (d *desk) wantTokens(form ...string) (access, refresh string) {
	d.t.Helper()
	status, answer := post(d.t, d.Token, append([]string{"client_id", client}, form...)...)
	if status != http.StatusOK || answer["token_type"] != "Bearer" {
		d.t.Fatalf("got %d %v, want tokens", status, answer)
	}
	access, refresh = answer["access_token"].(string), answer["refresh_token"].(string)
	if err := d.mint.Check(access, time.Now()); err != nil || refresh == "" {
		d.t.Errorf("the registration token is refused: %v; the refresh token has %d characters", err, len(refresh))
	}
	return access, refresh
}

func redeem(device string) []string {
	return []string{"grant_type", "urn:ietf:params:oauth:grant-type:device_code", "device_code", device}
}

func refresh(token string) []string {
	return []string{"grant_type", "refresh_token", "refresh_token", token}
}

func TestASignInThatIsApproved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, t.TempDir())
		status, answer := post(t, d.DeviceCode, "client_id", strings.ToUpper(client), "scope", both)
		if status != http.StatusOK || answer["verification_uri"] != "http://127.0.0.1:1/device" || answer["expires_in"] != 900.0 || answer["interval"] != 5.0 {
			t.Fatalf("asking for a code: %d %v", status, answer)
		}
		device, user := answer["device_code"].(string), answer["user_code"].(string)
		if !regexp.MustCompile(`^[B-Z]{4}-[B-Z]{4}$`).MatchString(user) || len(device) < 40 {
			t.Errorf("the codes are %q and one of %d characters", user, len(device))
		}
		time.Sleep(5 * time.Second)
		d.wantError("authorization_pending", redeem(device)...)
		if err := d.Decide(" "+strings.ToLower(strings.ReplaceAll(user, "-", " ")), "ADMIN@contoso.example", []byte(d.password()), true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		access, first := d.wantTokens(redeem(device)...)
		d.wantError("invalid_grant", redeem(device)...) // once
		_, second := d.wantTokens(refresh(first)...)
		if first == second {
			t.Error("the refresh token was not replaced")
		}
		again := open(t, d.dir)
		_, third := again.wantTokens(refresh(second)...)
		if again.password() != d.password() {
			t.Error("the administrator has another password after a restart")
		}
		again.wantError("invalid_grant", refresh(second)...)
		again.wantError("invalid_grant", refresh(third)...) // whoever used the second may be a thief
		for _, secret := range []string{device, first, access, d.password()} {
			if strings.Contains(d.log.String()+again.log.String(), secret) {
				t.Errorf("the log shows %.8s...", secret)
			}
		}
		if files, err := os.ReadFile(d.dir + "/grants.json"); err != nil || strings.Contains(string(files), third) {
			t.Errorf("the grants are stored in plain text, or not at all: %v", err)
		}
	})
}

func TestSignInsThatComeToNothing(t *testing.T) {
	for name, play := range map[string]func(t *testing.T, d *desk){
		"denied": func(t *testing.T, d *desk) {
			t.Helper()
			device, user := d.ask()
			if err := d.Decide(user, consent.Administrator, []byte(d.password()), false); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			d.wantError("access_denied", redeem(device)...)
			if err := d.Decide(user, consent.Administrator, []byte(d.password()), true); !errors.Is(err, consent.ErrCode) {
				t.Errorf("deciding again: %v", err)
			}
		},
		"too late": func(t *testing.T, d *desk) {
			t.Helper()
			device, user := d.ask()
			time.Sleep(15 * time.Minute)
			if err := d.Decide(user, consent.Administrator, []byte(d.password()), true); !errors.Is(err, consent.ErrCode) {
				t.Errorf("deciding on a code that has ended: %v", err)
			}
			d.wantError("expired_token", redeem(device)...)
		},
		"approved, and not fetched in time": func(t *testing.T, d *desk) {
			t.Helper()
			device, user := d.ask()
			if err := d.Decide(user, consent.Administrator, []byte(d.password()), true); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Minute)
			d.wantError("expired_token", redeem(device)...)
		},
		"asked too often": func(_ *testing.T, d *desk) {
			device, _ := d.ask()
			time.Sleep(4 * time.Second)
			d.wantError("slow_down", redeem(device)...)
			time.Sleep(9 * time.Second)
			d.wantError("slow_down", redeem(device)...) // ten seconds are the interval now
			time.Sleep(15 * time.Second)
			d.wantError("authorization_pending", redeem(device)...)
		},
		"by another application": func(_ *testing.T, d *desk) {
			device, _ := d.ask()
			d.wantError("invalid_grant", append(redeem(device), "client_id", tenant)...)
		},
		"no code":          func(_ *testing.T, d *desk) { d.wantError("invalid_grant", redeem("")...) },
		"no refresh token": func(_ *testing.T, d *desk) { d.wantError("invalid_grant", refresh("")...) },
		"another grant":    func(_ *testing.T, d *desk) { d.wantError("unsupported_grant_type", "grant_type", "password") },
		"revoked": func(t *testing.T, d *desk) {
			t.Helper()
			_, token := d.signIn()
			if err := d.Revoke(); err != nil {
				t.Fatal(err)
			}
			d.wantError("invalid_grant", refresh(token)...)
		},
		"not used for a quarter of a year": func(_ *testing.T, d *desk) {
			_, token := d.signIn()
			time.Sleep(90 * 24 * time.Hour)
			d.wantError("invalid_grant", refresh(token)...)
		},
		"too many at a time": func(t *testing.T, d *desk) {
			t.Helper()
			for range 100 {
				d.ask()
			}
			if _, answer := post(t, d.DeviceCode, "client_id", client, "scope", both); answer["error"] != "temporarily_unavailable" {
				t.Errorf("got %v", answer)
			}
			time.Sleep(31 * time.Minute)
			d.ask()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, open(t, t.TempDir())) })
		})
	}
}

// signIn goes the whole way.
func (d *desk) signIn() (access, refresh string) {
	d.t.Helper()
	device, user := d.ask()
	if err := d.Decide(user, consent.Administrator, []byte(d.password()), true); err != nil {
		d.t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	return d.wantTokens(redeem(device)...)
}

func TestWithoutOfflineAccessThereIsNoRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, t.TempDir())
		_, answer := post(t, d.DeviceCode, "client_id", client, "scope", register)
		if err := d.Decide(answer["user_code"].(string), consent.Administrator, []byte(d.password()), true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		_, answer = post(t, d.Token, append(redeem(answer["device_code"].(string)), "client_id", client)...)
		if answer["access_token"] == nil || answer["refresh_token"] != nil {
			t.Errorf("got the members %v", answer)
		}
	})
}

func TestCodesAreGivenForRegistrationOnly(t *testing.T) {
	d := open(t, t.TempDir())
	for name, tc := range map[string]struct{ client, scope, want string }{
		"no application":  {"", both, "unauthorized_client"},
		"no GUID":         {"wizard", both, "unauthorized_client"},
		"nothing at all":  {client, "", "invalid_scope"},
		"something else":  {client, "https://graph.test/.default offline_access", "invalid_scope"},
		"only to be kept": {client, "offline_access", "invalid_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := post(t, d.DeviceCode, "client_id", tc.client, "scope", tc.scope)
			if status != http.StatusBadRequest || answer["error"] != tc.want {
				t.Errorf("got %d %v, want %s", status, answer, tc.want)
			}
		})
	}
	for name, r := range map[string]*http.Request{
		"another method": httptest.NewRequest(http.MethodGet, "/", nil),
		"no form":        httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{}`)),
		"a large form":   httptest.NewRequest(http.MethodPost, "/", strings.NewReader("client_id="+strings.Repeat("a", 1<<20))),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a large form" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			w := httptest.NewRecorder()
			d.DeviceCode(w, r)
			if w.Code < 400 || !strings.Contains(w.Body.String(), `"invalid_request"`) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestNobodyElseDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, t.TempDir())
		_, user := d.ask()
		for name, tc := range map[string]struct {
			code, username, password string
			want                     error
		}{
			"a wrong password": {user, consent.Administrator, "guess", consent.ErrCredentials},
			"no password":      {user, consent.Administrator, "", consent.ErrCredentials},
			"another user":     {user, "alice@contoso.example", d.password(), consent.ErrCredentials},
			"another code":     {"BBBB-BBBB", consent.Administrator, d.password(), consent.ErrCode},
			"no code":          {"", consent.Administrator, d.password(), consent.ErrCode},
		} {
			if err := d.Decide(tc.code, tc.username, []byte(tc.password), true); !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, want %v", name, err, tc.want)
			}
		}
		for n := range 5 {
			_ = d.Decide(user, consent.Administrator, fmt.Appendf(nil, "guess %d", n), true)
		}
		if err := d.Decide(user, consent.Administrator, []byte(d.password()), true); !errors.Is(err, consent.ErrTries) {
			t.Errorf("after ten wrong entries: %v", err)
		}
		time.Sleep(61 * time.Second)
		if err := d.Decide(user, consent.Administrator, []byte(d.password()), true); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestAStateThatCannotBeReadIsTold(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/grants.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := consent.Open(dir, nil, logr.Discard()); err == nil || !strings.Contains(err.Error(), "grants.json") {
		t.Errorf("got %v", err)
	}
}
