// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// authority is that of the service.
func authority(s *fixture.RegistrationService) enrolment.Authority {
	return enrolment.Authority{LoginURL: s.URL, TenantID: fixture.TenantID, ClientID: v1alpha1.DefaultClientID, Roots: s.Authority.Roots()}
}

func TestASignInByDeviceCode(t *testing.T) {
	service := fixture.NewRegistrationService(t)
	now := time.Now()
	service.Clock(func() time.Time { return now })
	a := authority(service)
	code, err := a.AskForCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if code.UserCode != "CODE-0001" || code.VerificationURL != fixture.VerificationURL || code.Interval != 5*time.Second || code.Lifetime > 15*time.Minute || code.Lifetime < 14*time.Minute {
		t.Errorf("got %v with the interval %s and the lifetime %s", code, code.Interval, code.Lifetime)
	}
	for _, want := range []error{enrolment.ErrSlowDown, enrolment.ErrPending} {
		if _, err := a.Redeem(t.Context(), code.Code); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		now = now.Add(enrolment.Slower(code.Interval))
	}
	service.Approve()
	first, err := a.Redeem(t.Context(), code.Code)
	if err != nil {
		t.Fatal(err)
	}
	if err := enrolment.CheckToken(first.Access, fixture.TenantID, now); err != nil {
		t.Errorf("the registration token: %v", err)
	}
	second, err := a.Refresh(t.Context(), first.Refresh)
	if err != nil || second.Refresh == first.Refresh || second.Access == first.Access {
		t.Fatalf("using the refresh token: %v, with new tokens: %t", err, second != first)
	}
	if _, err := a.Refresh(t.Context(), first.Refresh); !errors.Is(err, enrolment.ErrLapsed) || strings.Contains(err.Error(), first.Refresh) {
		t.Errorf("using the refresh token again: %v", err)
	}
	if _, err := a.Redeem(t.Context(), code.Code); !errors.Is(err, enrolment.ErrCodeEnded) || strings.Contains(err.Error(), code.Code) {
		t.Errorf("using the code again: %v", err)
	}
	if calls := service.SignInCalls(); calls != 7 {
		t.Errorf("the authority was called %d times for 7 calls", calls)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{code, first, &second} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, code.Code) || strings.Contains(text, "secret-") || strings.Contains(text, "eyJ") {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	}
}

// TestWhatTheAuthoritySays lets the authority give each answer to each question.
func TestWhatTheAuthoritySays(t *testing.T) {
	const secret = "secret-of-this-test"
	code := func(members string) string {
		return `{"device_code":"d","user_code":"ABCD","verification_uri":"https://login.msappproxy.test/device","expires_in":900` + members + `}`
	}
	failed := func(code string) string {
		return `{"error":"` + code + `","error_description":"AADSTS1: It is not to be.\r\nWith ` + secret + ` and ` + strings.Repeat("x", 5000) + `"}`
	}
	ask := func(ctx context.Context, a enrolment.Authority) error { _, err := a.AskForCode(ctx); return err }
	redeem := func(ctx context.Context, a enrolment.Authority) error { _, err := a.Redeem(ctx, secret); return err }
	refresh := func(ctx context.Context, a enrolment.Authority) error { _, err := a.Refresh(ctx, secret); return err }
	for name, tc := range map[string]struct {
		call   func(context.Context, enrolment.Authority) error
		status int
		body   string
		reason string // of an *enrolment.Error
		is     error
		says   string
	}{
		"a code":                                 {ask, 200, code(""), "", nil, ""},
		"a code in the spelling of old":          {ask, 200, strings.Replace(code(""), "verification_uri", "verification_url", 1), "", nil, ""},
		"a code at a page of the machine itself": {ask, 200, strings.Replace(code(""), "https://login.msappproxy.test", "http://127.0.0.1:1", 1), "", nil, ""},
		"no device code":                         {ask, 200, strings.Replace(code(""), `"d"`, `""`, 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "no device code"},
		"no user code":                           {ask, 200, strings.Replace(code(""), `"ABCD"`, `""`, 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "no user code"},
		"a user code with a line end":            {ask, 200, strings.Replace(code(""), "ABCD", `AB\nCD`, 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "no user code"},
		"a user code without an end":             {ask, 200, strings.Replace(code(""), "ABCD", strings.Repeat("A", 300), 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "no user code"},
		"a page without TLS":                     {ask, 200, strings.Replace(code(""), "https://", "http://", 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "no https:// address"},
		"a page that is a script":                {ask, 200, strings.Replace(code(""), "https://login.msappproxy.test/device", "javascript:alert(1)", 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "no https:// address"},
		"a page with credentials":                {ask, 200, strings.Replace(code(""), "https://", "https://me:pass@", 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "no https:// address"},
		"a code that ends at once":               {ask, 200, strings.Replace(code(""), "900", "5", 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "less than 30s"},
		"a code without an end":                  {ask, 200, strings.Replace(code(""), "900", "0", 1), v1alpha1.ReasonServiceAnswerInvalid, nil, "less than 30s"},
		"a negative interval":                    {ask, 200, code(`,"interval":-1`), v1alpha1.ReasonServiceAnswerInvalid, nil, "interval is negative"},
		"no JSON":                                {ask, 200, "<html>hello</html>", v1alpha1.ReasonServiceAnswerInvalid, nil, "not the answer of such an authority"},
		"an answer without an end":               {ask, 200, strings.Repeat(" ", 1<<19), v1alpha1.ReasonServiceAnswerInvalid, nil, "longer than"},
		"an application that is not known":       {ask, 400, strings.ReplaceAll(failed("unauthorized_client"), secret, "it"), v1alpha1.ReasonSignInRefused, nil, "unauthorized_client: AADSTS1: It is not to be.; With"},
		"nothing there":                          {ask, 404, "", v1alpha1.ReasonSignInRefused, nil, "404 Not Found"},
		"a redirection":                          {ask, 302, "", v1alpha1.ReasonServiceAnswerInvalid, nil, "302"},
		"out of order":                           {ask, 503, "", v1alpha1.ReasonServiceUnreachable, nil, "503"},
		"out of order, with an error":            {ask, 500, failed("server_error"), v1alpha1.ReasonServiceUnreachable, nil, "503"},
		"out of order for now":                   {ask, 400, failed("temporarily_unavailable"), v1alpha1.ReasonServiceUnreachable, nil, "503"},
		"too many questions":                     {ask, 429, "", v1alpha1.ReasonServiceUnreachable, nil, "429"},

		"nobody yet":                          {redeem, 400, failed("authorization_pending"), "", enrolment.ErrPending, ""},
		"nobody yet, too often":               {redeem, 400, failed("slow_down"), "", enrolment.ErrSlowDown, ""},
		"denied":                              {redeem, 400, failed("access_denied"), v1alpha1.ReasonSignInRefused, enrolment.ErrDenied, ""},
		"denied, as the service says":         {redeem, 400, failed("authorization_declined"), v1alpha1.ReasonSignInRefused, enrolment.ErrDenied, ""},
		"too late":                            {redeem, 400, failed("expired_token"), v1alpha1.ReasonSignInRefused, enrolment.ErrCodeEnded, ""},
		"too late, as the service says":       {redeem, 400, failed("bad_verification_code"), v1alpha1.ReasonSignInRefused, enrolment.ErrCodeEnded, ""},
		"a code that is not known":            {redeem, 400, failed("invalid_grant"), v1alpha1.ReasonSignInRefused, enrolment.ErrCodeEnded, ""},
		"an error with the status 200":        {redeem, 200, failed("authorization_pending"), "", enrolment.ErrPending, ""},
		"another error":                       {redeem, 400, failed("invalid_client"), v1alpha1.ReasonSignInRefused, nil, "invalid_client"},
		"tokens without one to keep":          {redeem, 200, `{"access_token":"a","token_type":"Bearer"}`, v1alpha1.ReasonServiceAnswerInvalid, nil, "no refresh token"},
		"a token without an end":              {redeem, 200, `{"access_token":"` + strings.Repeat("a", 20000) + `","refresh_token":"r"}`, v1alpha1.ReasonServiceAnswerInvalid, nil, "its token is longer"},
		"a token to keep without an end":      {redeem, 200, `{"access_token":"a","refresh_token":"` + strings.Repeat("r", 20000) + `"}`, v1alpha1.ReasonServiceAnswerInvalid, nil, "no refresh token"},
		"no token":                            {redeem, 200, `{}`, v1alpha1.ReasonServiceAnswerInvalid, nil, "not the answer of such an authority"},
		"no token, and the secret":            {redeem, 500, secret, v1alpha1.ReasonServiceUnreachable, nil, "500"},
		"a form instead of JSON":              {redeem, 400, "error=authorization_pending", v1alpha1.ReasonSignInRefused, nil, "400"},
		"lapsed":                              {refresh, 400, failed("invalid_grant"), "", enrolment.ErrLapsed, "the sign-in has lapsed"},
		"lapsed, the person is needed":        {refresh, 400, failed("interaction_required"), "", enrolment.ErrLapsed, ""},
		"lapsed, consent is needed":           {refresh, 400, failed("consent_required"), "", enrolment.ErrLapsed, ""},
		"a token, and the one of before":      {refresh, 200, `{"access_token":"a"}`, "", nil, ""},
		"a refresh, and nothing there":        {refresh, 404, "", v1alpha1.ReasonSignInRefused, nil, "404"},
		"a refresh by an application unknown": {refresh, 401, failed("invalid_client"), v1alpha1.ReasonSignInRefused, nil, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			service := fixture.NewRegistrationService(t)
			service.Authorize(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if tc.status == http.StatusFound {
					w.Header().Set("Location", "/elsewhere")
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			})
			err := tc.call(t.Context(), authority(service))
			if service.SignInCalls() != 1 {
				t.Errorf("the authority was called %d times", service.SignInCalls())
			}
			if (err == nil) != (tc.reason == "" && tc.is == nil) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				return
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("got %v, want %v", err, tc.is)
			}
			refused, _ := errors.AsType[*enrolment.Error](err)
			if tc.reason != "" && (refused == nil || refused.Reason != tc.reason || !refused.Retry) {
				t.Errorf("got %+v, want the reason %s", refused, tc.reason)
			}
			if text := fmt.Sprintf("%v %+v", err, errors.Unwrap(err)); !strings.Contains(text, tc.says) || strings.Contains(text, secret) || strings.ContainsAny(text, "\r\n") || len(text) > 2000 {
				t.Errorf("the error is %q, want %q in it", text, tc.says)
			}
		})
	}
}

func TestAnAuthorityThatCannotBeReached(t *testing.T) {
	service := fixture.NewRegistrationService(t)
	a := authority(service)
	a.LoginURL = "https://127.0.0.1:1"
	_, err := a.AskForCode(t.Context())
	wantReason(t, err, v1alpha1.ReasonServiceUnreachable)
	a = authority(service)
	a.Roots = fixture.NewAuthority(t, "Another CA").Roots()
	_, err = a.Refresh(t.Context(), "token")
	wantReason(t, err, v1alpha1.ReasonTLSVerificationFailed)
	a = authority(service)
	a.ProxyURL = "http://127.0.0.1:1"
	_, err = a.Redeem(t.Context(), "code")
	wantReason(t, err, v1alpha1.ReasonServiceUnreachable)
	if service.SignInCalls() != 0 {
		t.Errorf("the authority was called %d times", service.SignInCalls())
	}
	// One that breaks off, and one that does not answer.
	a = authority(service)
	service.Authorize(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"access_token":`))
	})
	_, err = a.Redeem(t.Context(), "code")
	wantReason(t, err, v1alpha1.ReasonServiceUnreachable)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	defer close(release)
	service.Authorize(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-release
	})
	_, err = a.AskForCode(ctx)
	wantReason(t, err, v1alpha1.ReasonServiceUnreachable)
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	if refused, ok := errors.AsType[*enrolment.Error](err); !ok || refused.Reason != reason {
		t.Errorf("got %v, want the reason %s", err, reason)
	}
}

func TestWhatOneAuthorityIssuedIsOfNoUseToAnother(t *testing.T) {
	a := enrolment.Authority{LoginURL: "https://login.msappproxy.test/", TenantID: strings.ToUpper(fixture.TenantID), ClientID: strings.ToUpper(v1alpha1.DefaultClientID)}
	same := enrolment.Authority{LoginURL: "https://login.msappproxy.test", TenantID: fixture.TenantID, ClientID: v1alpha1.DefaultClientID, ProxyURL: "http://127.0.0.1:1"}
	if a.Name() != same.Name() {
		t.Errorf("%s and %s are the same", a.Name(), same.Name())
	}
	names := map[string]bool{a.Name(): true}
	for _, change := range []func(*enrolment.Authority){
		func(a *enrolment.Authority) { a.LoginURL = "https://login2.msappproxy.test" },
		func(a *enrolment.Authority) { a.TenantID = fixture.OtherTenant },
		func(a *enrolment.Authority) { a.ClientID = fixture.OtherTenant },
	} {
		other := a
		change(&other)
		names[other.Name()] = true
	}
	if len(names) != 4 {
		t.Errorf("the names are %v", names)
	}
}
