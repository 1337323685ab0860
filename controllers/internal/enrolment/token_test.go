// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

func TestCheckToken(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		token       string
		wantReason  string // "" if the token is good
		wantMessage string // part of the message
	}{
		"a good token":                               {token: fixture.Token(fixture.TenantID, nil)},
		"a token whose tenant is in capitals":        {token: fixture.Token(strings.ToUpper(fixture.TenantID), nil)},
		"an audience with a slash at its end":        {token: fixture.Token(fixture.TenantID, fixture.Claims{"aud": trust.TokenAudience + "/"})},
		"several audiences, one of them right":       {token: fixture.Token(fixture.TenantID, fixture.Claims{"aud": []string{"https://graph.test", trust.TokenAudience}})},
		"a token that says nothing but its tenant":   {token: fixture.Token(fixture.TenantID, fixture.Claims{"aud": nil, "exp": nil})},
		"a token of another tenant":                  {token: fixture.Token(fixture.OtherTenant, nil), wantReason: v1alpha1.ReasonTokenForOtherTenant, wantMessage: fixture.OtherTenant},
		"a token for something else":                 {token: fixture.Token(fixture.TenantID, fixture.Claims{"aud": "https://graph.test"}), wantReason: v1alpha1.ReasonTokenWrongAudience, wantMessage: "https://graph.test"},
		"a token that has expired":                   {token: fixture.Token(fixture.TenantID, fixture.Claims{"exp": now.Add(-time.Minute).Unix()}), wantReason: v1alpha1.ReasonTokenExpired, wantMessage: "expired at"},
		"a token that expires this very second":      {token: fixture.Token(fixture.TenantID, fixture.Claims{"exp": now.Unix()}), wantReason: v1alpha1.ReasonTokenExpired, wantMessage: "expired at"},
		"a password instead of a token":              {token: "hunter2", wantReason: v1alpha1.ReasonTokenMalformed, wantMessage: "1 parts"},
		"a token cut in the middle":                  {token: strings.Join(strings.Split(fixture.Token(fixture.TenantID, nil), ".")[:2], "."), wantReason: v1alpha1.ReasonTokenMalformed, wantMessage: "2 parts"},
		"parts that are not base64":                  {token: "e30.!!.x", wantReason: v1alpha1.ReasonTokenMalformed, wantMessage: "payload is not base64url"},
		"parts that are not JSON":                    {token: "aGVsbG8.aGVsbG8.x", wantReason: v1alpha1.ReasonTokenMalformed, wantMessage: "header is not JSON"},
		"a payload whose claims have a strange form": {token: "e30.eyJ0aWQiOjF9.x", wantReason: v1alpha1.ReasonTokenMalformed, wantMessage: "claims"},
		"a token far too long":                       {token: strings.Repeat("a", 20<<10), wantReason: v1alpha1.ReasonTokenMalformed, wantMessage: "longer than"},
		"an audience that is a number":               {token: "e30.eyJhdWQiOjF9.x", wantReason: v1alpha1.ReasonTokenMalformed, wantMessage: "claims"},
		"a tenant that repeats the whole token":      {token: fixture.Token(strings.Repeat("x", 3000), nil), wantReason: v1alpha1.ReasonTokenForOtherTenant, wantMessage: "..."},
	} {
		t.Run(name, func(t *testing.T) {
			err := enrolment.CheckToken(tc.token, fixture.TenantID, now)
			if tc.wantReason == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var refused *enrolment.Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want an *enrolment.Error", err)
			}
			if refused.Reason != tc.wantReason || !strings.Contains(refused.Message, tc.wantMessage) {
				t.Errorf("got %s: %s; want %s with %q", refused.Reason, refused.Message, tc.wantReason, tc.wantMessage)
			}
			if refused.Retry {
				t.Error("a bad token does not become good by waiting")
			}
			if strings.Contains(refused.Message, tc.token) {
				t.Error("the message repeats the token")
			}
		})
	}
}
