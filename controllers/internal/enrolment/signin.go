// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const (
	// grantDeviceCode is the grant of RFC 8628 section 3.4.
	grantDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"

	// defaultInterval is the pause between polls where the authority names none (RFC
	// 8628 section 3.2), and what slow_down adds to it (section 3.5).
	defaultInterval = 5 * time.Second

	// shortestCode is how long a code must be good for: nobody signs in faster, and
	// each that ends is followed by another.
	shortestCode = 30 * time.Second

	// longestCode bounds how long the operator waits for one sign-in.
	longestCode = 24 * time.Hour

	// shownLimit bounds the user code and the address, which are shown to people.
	shownLimit = 256
)

// scopes are what is asked for: a registration token (protocol section 2.2), and a
// refresh token with it.
var scopes = []string{trust.TokenAudience + "/user_impersonation", "offline_access"}

// What became of a sign-in, in errors of Redeem and Refresh.
var (
	// ErrPending says that nobody has signed in yet: ask again after the interval.
	ErrPending = errors.New("nobody has signed in yet")
	// ErrSlowDown says the same, and to ask less often from now on: see Slower.
	ErrSlowDown = errors.New("the authority is asked too often")
	// ErrCodeEnded says that the code is good for nothing any more.
	ErrCodeEnded = errors.New("the code has ended")
	// ErrDenied says that somebody denied the sign-in.
	ErrDenied = errors.New("the sign-in was denied")
	// ErrLapsed says that the refresh token is good for nothing any more.
	ErrLapsed = errors.New("the sign-in has lapsed")
)

// Authority is where administrators of a tenant sign in, and the way to it. Its
// methods make one call each, within callDeadline, and keep nothing. Errors are
// *Error, except the plain ErrPending and ErrSlowDown.
type Authority struct {
	// LoginURL is the authority, https://host or https://host:port.
	LoginURL string
	// TenantID is the tenant's GUID.
	TenantID string
	// ClientID is the application that is signed in to.
	ClientID string
	// Roots are the authorities to verify the host against; nil for those of the
	// system.
	Roots *x509.CertPool
	// ProxyURL is the HTTP CONNECT proxy to use; empty for none.
	ProxyURL string
}

// Name identifies the authority, tenant and application: what one of them issued is
// of no use to another.
func (a Authority) Name() string {
	return strings.Join([]string{a.base(), strings.ToLower(a.ClientID)}, " ")
}

func (a Authority) base() string {
	return strings.TrimSuffix(a.LoginURL, "/") + "/" + strings.ToLower(a.TenantID) + "/oauth2/v2.0"
}

// DeviceCode is a code that waits for an administrator (RFC 8628 section 3.2).
type DeviceCode struct {
	// Code is what tokens are asked for with. It is a secret.
	Code string
	// UserCode is what the administrator enters at VerificationURL. Both are
	// printable and short.
	UserCode, VerificationURL string
	// Lifetime is how long the codes are good for, from 30 seconds to a day.
	Lifetime time.Duration
	// Interval is the pause that Redeem is called with, at least a second.
	Interval time.Duration
}

// Format prints what may be shown, never the code, whatever the verb.
func (c DeviceCode) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "sign-in with the code %s at %s", c.UserCode, c.VerificationURL)
}

// Slower is the interval after ErrSlowDown.
func Slower(interval time.Duration) time.Duration { return interval + defaultInterval }

// Tokens are what a sign-in gives.
type Tokens struct {
	// Access is a registration token.
	Access string
	// Refresh gets the next tokens. The one it was got with may be good for nothing
	// any more.
	Refresh string
}

// Format prints nothing of the tokens, whatever the verb.
func (Tokens) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, "tokens of a sign-in") }

// AskForCode asks for a code to show to an administrator.
func (a Authority) AskForCode(ctx context.Context) (DeviceCode, error) {
	var answer *oauth2.DeviceAuthResponse
	err := a.call(ctx, "", nil, func(ctx context.Context, config *oauth2.Config) (err error) {
		answer, err = config.DeviceAuth(ctx)
		return err
	})
	if err != nil {
		return DeviceCode{}, err
	}
	code := DeviceCode{
		Code: answer.DeviceCode, UserCode: answer.UserCode, VerificationURL: answer.VerificationURI,
		Lifetime: min(time.Until(answer.Expiry).Truncate(time.Second), longestCode),
		Interval: defaultInterval,
	}
	if answer.Interval > 0 {
		code.Interval = min(time.Duration(answer.Interval)*time.Second, code.Lifetime)
	}
	if why := code.fault(answer.Interval); why != "" {
		return DeviceCode{}, invalidAnswer(authority, a.host(), why, nil)
	}
	return code, nil
}

// fault says in a few words what is wrong with a code; "" if nothing.
func (c DeviceCode) fault(interval int64) string {
	address, err := url.Parse(c.VerificationURL)
	switch {
	case c.Code == "" || len(c.Code) > tokenLimit:
		return "it holds no device code"
	case !shown(c.UserCode):
		return "it holds no user code that can be shown"
	case !shown(c.VerificationURL) || err != nil || address.Host == "" || address.User != nil || !private(address):
		return "it holds no https:// address to sign in at"
	case c.Lifetime < shortestCode:
		return fmt.Sprintf("its code is good for less than %s", shortestCode)
	case interval < 0:
		return "its interval is negative"
	}
	return ""
}

// shown reports whether a text can be shown to a person in one line, as it is.
func shown(text string) bool {
	return text != "" && len(text) <= shownLimit && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// private reports whether what is sent to the address cannot be read on the way. An
// emulator's page may be on the machine itself.
func private(address *url.URL) bool {
	ip, err := netip.ParseAddr(address.Hostname())
	return address.Scheme == "https" || (address.Scheme == "http" && err == nil && ip.IsLoopback())
}

// Redeem asks once whether the administrator has signed in, and returns the tokens
// if so. Otherwise the error is one of ErrPending, ErrSlowDown, ErrCodeEnded and
// ErrDenied, or says why the authority did not answer.
func (a Authority) Redeem(ctx context.Context, deviceCode string) (Tokens, error) {
	return a.tokens(ctx, deviceCode, afterCode, func(ctx context.Context, config *oauth2.Config) (*oauth2.Token, error) {
		// The library's own loop for device codes waits between its calls; an exchange
		// is a single one. Its empty "code" counts as left out (RFC 6749 section 3.2).
		return config.Exchange(ctx, "", oauth2.SetAuthURLParam("grant_type", grantDeviceCode), oauth2.SetAuthURLParam("device_code", deviceCode))
	})
}

// Refresh gets new tokens for a refresh token, which may be good for nothing
// afterwards: store the new one before anything depends on it. The error is
// ErrLapsed if an administrator has to sign in again.
func (a Authority) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	return a.tokens(ctx, refreshToken, afterRefresh, func(ctx context.Context, config *oauth2.Config) (*oauth2.Token, error) {
		return config.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	})
}

// tokens asks for tokens with a secret.
func (a Authority) tokens(ctx context.Context, secret string, meanings map[string]error, ask func(context.Context, *oauth2.Config) (*oauth2.Token, error)) (Tokens, error) {
	var answer *oauth2.Token
	err := a.call(ctx, secret, meanings, func(ctx context.Context, config *oauth2.Config) (err error) {
		answer, err = ask(ctx, config)
		return err
	})
	switch {
	case err != nil:
		return Tokens{}, err
	case answer.RefreshToken == "" || len(answer.RefreshToken) > tokenLimit:
		return Tokens{}, invalidAnswer(authority, a.host(), "it holds no refresh token", nil)
	case len(answer.AccessToken) > tokenLimit:
		return Tokens{}, invalidAnswer(authority, a.host(), fmt.Sprintf("its token is longer than %d bytes", tokenLimit), nil)
	}
	return Tokens{Access: answer.AccessToken, Refresh: answer.RefreshToken}, nil
}

// call lets ask make one call to the authority, with a secret that is not to be
// repeated, and says what its error means.
func (a Authority) call(ctx context.Context, secret string, meanings map[string]error, ask func(context.Context, *oauth2.Config) error) error {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	transport, err := newTransport(way{roots: a.Roots, proxyURL: a.ProxyURL})
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: bounded{ctx, transport},
		// The body holds a secret: it goes where it was meant to go and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	err = ask(context.WithValue(ctx, oauth2.HTTPClient, client), &oauth2.Config{
		ClientID: a.ClientID, Scopes: scopes,
		// A public client names itself in the body. Trying out other ways would be a
		// second call.
		Endpoint: oauth2.Endpoint{DeviceAuthURL: a.base() + "/devicecode", TokenURL: a.base() + "/token", AuthStyle: oauth2.AuthStyleInParams},
	})
	if err != nil {
		return a.explain(err, secret, meanings)
	}
	return nil
}

// bounded ends calls with a context, which the library's call for a device code does
// not know, and reads answers itself, because the library hides why it could not.
type bounded struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r.WithContext(b.ctx))
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerLimit+1))
	if err != nil {
		return nil, err
	}
	if len(body) > answerLimit {
		return nil, errTooLong
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

func (a Authority) host() string {
	address, err := url.Parse(a.LoginURL)
	if err != nil {
		return ""
	}
	return address.Host
}
