// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

func TestRegistrationProblemsAreNamedAndHealByThemselves(t *testing.T) {
	s := newScene(t, "registration", "")
	before := s.registrations()
	s.apply(spec("replicas", 1))

	mentions := func(message string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(message, w) {
				t.Errorf("the message does not mention %q: %s", w, message)
			}
		}
	}
	put := func(token string) {
		t.Helper()
		if err := bed.Apply(s.ctx, testbed.TokenSecretObject(s.namespace, token)); err != nil {
			t.Fatal(err)
		}
	}

	mentions(s.registered("TokenSecretNotFound"), testbed.TokenSecret, testbed.TokenKey)
	put("certainly-not-a-token")
	mentions(s.registered("TokenMalformed"), testbed.TokenSecret)
	put(token(t, testbed.TokenRequest{TTLSeconds: -60}))
	mentions(s.registered("TokenExpired"), testbed.TokenSecret)
	const other = "11111111-2222-4333-8444-555555555555"
	put(token(t, testbed.TokenRequest{TenantID: other}))
	mentions(s.registered("TokenForOtherTenant"), other, testbed.DefaultTenantID)
	put(token(t, testbed.TokenRequest{Audience: "https://somewhere.example"}))
	mentions(s.registered("TokenWrongAudience"), "https://somewhere.example")

	if got := s.registrations(); got != before {
		t.Errorf("a bad token was registered: %d registrations more", got-before)
	}
	put(goodToken(t))
	s.ready(1)
	if got := s.registrations() - before; got != 1 {
		t.Errorf("%d registrations, want 1", got)
	}
}

func TestAnUnreachableServiceIsNamedAndHealsByItself(t *testing.T) {
	s := newScene(t, "unreachable", goodToken(t))
	if err := bed.StopTenant(); err != nil {
		t.Fatal(err)
	}
	s.apply(spec("replicas", 1))
	message := s.registered("ServiceUnreachable")
	if !strings.Contains(message, strings.TrimPrefix(bed.Tenant.Proxy, "http://")) {
		t.Errorf("the message does not name the proxy that refused: %s", message)
	}
	if err := bed.RestartTenant(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.ready(1)
	if r := s.signIn("alice@contoso.example", userPassword); r.Verdict != "success" {
		t.Errorf("alice was refused: %+v", r)
	}
}
