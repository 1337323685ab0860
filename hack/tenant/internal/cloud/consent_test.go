// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
)

// authorize is a client of the tenant's authority: a library that knows nothing of it.
func authorize(t *testing.T, ready cloud.Ready) (context.Context, *oauth2.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	at := ready.LoginURL + "/" + ready.TenantID + "/oauth2/v2.0/"
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport(t, ready)}), &oauth2.Config{
		ClientID: "cb1056e2-e479-49de-ae31-7812af012ed8", Scopes: []string{trust.TokenAudience + "/user_impersonation", "offline_access"},
		Endpoint: oauth2.Endpoint{DeviceAuthURL: at + "devicecode", TokenURL: at + "token", AuthStyle: oauth2.AuthStyleInParams},
	}
}

// decide does what the administrator does in a browser.
func decide(t *testing.T, ready cloud.Ready, page, code, decision string) string {
	t.Helper()
	password, err := os.ReadFile(ready.AdminPasswordFile)
	must(t, err)
	form := url.Values{"code": {code}, "username": {ready.Admin}, "password": {string(password)}, "decision": {decision}}
	status, answer := post(t, http.DefaultClient, page, "application/x-www-form-urlencoded", []byte(form.Encode()))
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, answer)
	}
	return string(answer)
}

func TestAnAdministratorSignsInByDeviceCode(t *testing.T) {
	running := start(t, cloud.Options{})
	ready := running.Ready()
	ctx, config := authorize(t, ready)
	asked, err := config.DeviceAuth(ctx)
	must(t, err)
	if !strings.HasPrefix(asked.VerificationURI, ready.Web) {
		t.Errorf("the page is %s, and the tenant's pages are at %s", asked.VerificationURI, ready.Web)
	}
	if page := decide(t, ready, asked.VerificationURI, asked.UserCode, "approve"); !strings.Contains(page, "approved") {
		t.Errorf("the page says %s", page)
	}
	tokens, err := config.DeviceAccessToken(ctx, asked)
	must(t, err)
	key := newKey(t)
	request := trust.RegistrationRequest{
		CSR: csr(t, key), Token: tokens.AccessToken, TenantID: ready.TenantID, UserAgent: "PassthroughAuthenticationConnector/1.5.3437.0",
		ModuleVersion: "1.5.3437.0", System: trust.SystemSettings{MachineName: "server1"},
	}
	if got := sendRegistration(t, ready, request); !got.Successful {
		t.Errorf("registering: %s", got.ErrorMessage)
	}
	again, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
	must(t, err)
	request.Token, request.System.MachineName = again.AccessToken, "server2"
	if got := sendRegistration(t, ready, request); !got.Successful {
		t.Errorf("registering with a token of the refresh token: %s", got.ErrorMessage)
	}
	var none struct{}
	if status := api(t, ready, http.MethodPost, "/api/revoke-sign-ins", "{}", &none); status != http.StatusOK {
		t.Errorf("revoking: status %d", status)
	}
	_, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: again.RefreshToken}).Token()
	if refused := (*oauth2.RetrieveError)(nil); !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
		t.Errorf("after the sign-ins were revoked: %v", err)
	}
	for _, secret := range []string{asked.DeviceCode, tokens.AccessToken, tokens.RefreshToken, again.AccessToken, again.RefreshToken} {
		if strings.Contains(running.log.String(), secret) {
			t.Errorf("the log shows %.8s...", secret)
		}
	}
}

func TestADeniedSignInGivesNothing(t *testing.T) {
	ready := start(t, cloud.Options{Ports: cloud.PortsDocumented}).Ready()
	ctx, config := authorize(t, ready)
	asked, err := config.DeviceAuth(ctx)
	must(t, err)
	if page := decide(t, ready, asked.VerificationURI, asked.UserCode, "deny"); !strings.Contains(page, "denied") {
		t.Errorf("the page says %s", page)
	}
	_, err = config.DeviceAccessToken(ctx, asked)
	if refused := (*oauth2.RetrieveError)(nil); !errors.As(err, &refused) || refused.ErrorCode != "access_denied" {
		t.Errorf("got %v", err)
	}
}
