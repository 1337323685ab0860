// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package token_test

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/token"
)

const tenant = "6f5e4d3c-2b1a-4908-8716-253443526170"

func open(t *testing.T, dir string) *token.Mint {
	t.Helper()
	m, err := token.Open(dir, tenant, "msappproxy.test")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheck(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	m, stranger := open(t, dir), open(t, t.TempDir())
	mint := func(m *token.Mint, r token.Request) string {
		raw, err := m.Token(r, now)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := mint(m, token.Request{})
	parts := strings.Split(good, ".")
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"tid": tenant}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		raw  string
		at   time.Time
		want string
	}{
		"a good token":              {good, now, ""},
		"a good token, too late":    {good, now.Add(2 * time.Hour), "expired"},
		"a good token, too early":   {good, now.Add(-time.Hour), "not valid yet"},
		"minted as expired":         {mint(m, token.Request{Lifetime: -time.Minute}), now, "expired"},
		"for another tenant":        {mint(m, token.Request{TenantID: "11111111-2222-4333-8444-555555555555"}), now, "not for this one"},
		"for another audience":      {mint(m, token.Request{Audience: "https://graph.test"}), now, "another service"},
		"signed by another":         {mint(stranger, token.Request{}), now, "not signed by this tenant"},
		"with another's signature":  {parts[0] + "." + parts[1] + "." + strings.Split(mint(m, token.Request{}), ".")[2], now, "not signed by this tenant"},
		"not signed at all":         {unsigned, now, "not signed by this tenant"},
		"no token":                  {"", now, "cannot be read"},
		"something else altogether": {"hello", now, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			err := m.Check(tc.raw, tc.at)
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if err != nil && tc.raw != "" && strings.Contains(err.Error(), tc.raw) {
				t.Error("the error repeats the token")
			}
		})
	}
	if err := open(t, dir).Check(good, now); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}
