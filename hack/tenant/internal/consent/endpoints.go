// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/token"
)

// maxBody bounds a request, in bytes.
const maxBody = 32 << 10

// The grants of RFC 8628 section 3.4 and RFC 6749 section 6.
const (
	grantDeviceCode   = "urn:ietf:params:oauth:grant-type:device_code"
	grantRefreshToken = "refresh_token"
)

// refusal is an error of RFC 6749 section 5.2 or RFC 8628 section 3.5.
type refusal struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (r *refusal) Error() string { return r.Code + ": " + r.Description }

// codeAnswer is that of RFC 8628 section 3.2.
type codeAnswer struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	ExpiresIn       int64  `json:"expires_in"`
	Interval        int64  `json:"interval"`
	Message         string `json:"message"`
}

// tokenAnswer is that of RFC 6749 section 5.1.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
}

// DeviceCode serves POST /{tenant}/oauth2/v2.0/devicecode.
func (a *Authority) DeviceCode(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, func(now time.Time) (any, error) {
		client, err := guid.Parse(r.PostForm.Get("client_id"))
		if err != nil {
			return nil, &refusal{"unauthorized_client", "client_id must be the GUID of an application"}
		}
		scopes := strings.Fields(r.PostForm.Get("scope"))
		if !slices.Contains(scopes, scopeRegister) {
			return nil, &refusal{"invalid_scope", "there is nothing to be got here but " + scopeRegister}
		}
		return a.give(client.String(), slices.Contains(scopes, scopeOffline), now)
	})
}

func (a *Authority) give(client string, offline bool, now time.Time) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.codes = slices.DeleteFunc(a.codes, func(c *code) bool { return now.After(c.expires.Add(codeLifetime)) })
	if len(a.codes) >= maxCodes {
		return nil, &refusal{"temporarily_unavailable", "too many sign-ins are under way"}
	}
	device := random(32)
	c := &code{
		device: hashed(device), user: newUserCode(), client: client, offline: offline,
		expires: now.Add(codeLifetime), interval: pollInterval, polled: now,
	}
	a.codes = append(a.codes, c)
	shown := c.user[:codeLength/2] + "-" + c.user[codeLength/2:]
	return codeAnswer{
		DeviceCode: device, UserCode: shown, VerificationURI: a.page, ExpiresIn: int64(codeLifetime / time.Second), Interval: int64(pollInterval / time.Second),
		Message: "To sign in, open " + a.page + " and enter the code " + shown + ".",
	}, nil
}

// Token serves POST /{tenant}/oauth2/v2.0/token.
func (a *Authority) Token(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, func(now time.Time) (any, error) {
		client := strings.ToLower(r.PostForm.Get("client_id"))
		switch grant := r.PostForm.Get("grant_type"); grant {
		case grantDeviceCode:
			return a.redeem(r.PostForm.Get("device_code"), client, now)
		case grantRefreshToken:
			return a.refresh(r.PostForm.Get("refresh_token"), client, now)
		default:
			return nil, &refusal{"unsupported_grant_type", "the grants are " + grantDeviceCode + " and " + grantRefreshToken}
		}
	})
}

// redeem gives tokens for a code that was approved, once.
func (a *Authority) redeem(device, client string, now time.Time) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := slices.IndexFunc(a.codes, func(c *code) bool { return c.device == hashed(device) })
	if at < 0 || a.codes[at].client != client {
		return nil, &refusal{"invalid_grant", "the device code is not known, or was used"}
	}
	c := a.codes[at]
	early := now.Sub(c.polled) < c.interval
	c.polled = now
	switch {
	case !now.Before(c.expires):
		return nil, &refusal{"expired_token", "the device code has ended"}
	case c.decided && !c.approved:
		return nil, &refusal{"access_denied", "the administrator denied the sign-in"}
	case early:
		c.interval += pollInterval
		return nil, &refusal{"slow_down", "the interval was not kept: it is longer now"}
	case !c.decided:
		return nil, &refusal{"authorization_pending", "the administrator has not decided yet"}
	}
	answer, err := a.mint("", client, c.offline, now)
	if err != nil {
		return nil, err
	}
	a.codes = slices.Delete(a.codes, at, at+1)
	return answer, nil
}

// refresh gives tokens for the last refresh token of a grant. An earlier one was
// stolen or lost: the grant ends with it.
func (a *Authority) refresh(given, client string, now time.Time) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name, _, _ := strings.Cut(given, ".")
	g, ok := a.grants[name]
	switch {
	case !ok || g.Client != client || !now.Before(g.Until):
		return nil, &refusal{"invalid_grant", "the refresh token is not known, has ended or was revoked"}
	case g.Last != hashed(given):
		rest := maps.Clone(a.grants)
		delete(rest, name)
		if err := a.remember(rest); err != nil {
			return nil, err
		}
		return nil, &refusal{"invalid_grant", "the refresh token was used before: the sign-in is revoked"}
	}
	return a.mint(name, client, true, now)
}

// mint makes tokens of a grant, a new one if it has no name. It wants the lock held.
func (a *Authority) mint(name, client string, offline bool, now time.Time) (any, error) {
	access, err := a.tokens.Token(token.Request{ClientID: client}, now)
	if err != nil {
		return nil, err
	}
	answer := tokenAnswer{AccessToken: access, TokenType: "Bearer", ExpiresIn: int64(token.DefaultLifetime / time.Second), Scope: scopeRegister}
	if !offline {
		return answer, nil
	}
	if name == "" {
		name = random(9)
	}
	answer.RefreshToken = name + "." + random(32)
	grants := maps.Clone(a.grants)
	maps.DeleteFunc(grants, func(_ string, g grant) bool { return !now.Before(g.Until) })
	if _, known := grants[name]; !known && len(grants) >= maxGrants {
		return nil, &refusal{"temporarily_unavailable", "there are too many sign-ins: revoke them"}
	}
	grants[name] = grant{Last: hashed(answer.RefreshToken), Client: client, Until: now.Add(grantLifetime)}
	if err := a.remember(grants); err != nil {
		return nil, err
	}
	return answer, nil
}

// serve reads a form, and writes what answer returns as JSON.
func (a *Authority) serve(w http.ResponseWriter, r *http.Request, answer func(now time.Time) (any, error)) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		a.write(w, http.StatusMethodNotAllowed, &refusal{"invalid_request", "use POST"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		a.write(w, http.StatusBadRequest, &refusal{"invalid_request", "the request is not a form, or is too large"})
		return
	}
	v, err := answer(time.Now())
	switch refused := (*refusal)(nil); {
	case err == nil:
		a.write(w, http.StatusOK, v)
	case errors.As(err, &refused):
		a.log.V(1).Info("Refused a code or a token", "why", refused.Error())
		a.write(w, http.StatusBadRequest, refused)
	default:
		a.log.Error(err, "Cannot give a code or a token")
		a.write(w, http.StatusInternalServerError, &refusal{"server_error", "the service failed, see its log"})
	}
}

func (a *Authority) write(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		a.log.V(1).Info("An answer did not reach its client", "why", err.Error())
	}
}
