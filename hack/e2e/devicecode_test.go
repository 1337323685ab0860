// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// signInAsked reads what the message of Registered asks a person to do.
var signInAsked = regexp.MustCompile(`open (\S+) and enter the code (\S+) before`)

func TestAnAdministratorSignsInByDeviceCode(t *testing.T) {
	s := newScene(t, "device-code", "")
	s.apply(spec("replicas", 2), spec("service", "custom", "loginURL", bed.Tenant.LoginURL), spec("registration", map[string]any{"deviceCode": map[string]any{}}))
	first := s.approve()
	s.ready(2)
	if r := s.signIn("alice@contoso.example", userPassword); r.Verdict != "success" {
		t.Errorf("alice was refused: %+v", r)
	}
	s.kubectl("scale", "ptc/corp", "--replicas=3")
	s.ready(3) // without a person

	if err := bed.Tenant.RevokeSignIns(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.kubectl("scale", "ptc/corp", "--replicas=4")
	second := s.approve()
	if second == first {
		t.Errorf("the code %s was shown again", first)
	}
	s.ready(4)
	s.eventually(30*time.Second, "events tell of both codes", func() (bool, string) {
		events := s.kubectl("get", "events", "--field-selector", "reason=SignInRequired", "-o", "jsonpath={.items[*].message}")
		return strings.Contains(events, first) && strings.Contains(events, second), events
	})
	token, err := base64.StdEncoding.DecodeString(s.kubectl("get", "secret", "corp-registration", "-o", "jsonpath={.data.refresh-token}"))
	if err != nil || len(token) == 0 {
		t.Fatalf("the refresh token cannot be read: %v", err)
	}
	log, err := bed.Kubectl(s.ctx, nil, "-n", testbed.OperatorNamespace, "logs", "deploy/"+testbed.Release, "--tail=-1")
	if err != nil || !strings.Contains(log, "Asked for a sign-in") {
		t.Fatalf("the operator's log cannot be read, or is another's: %v", err)
	}
	for what, text := range map[string]string{
		"the resource": s.kubectl("get", "ptc", "corp", "-o", "yaml"), "an event": s.kubectl("get", "events", "-o", "yaml"),
		"the operator's log": log,
	} {
		if strings.Contains(text, string(token)) {
			t.Errorf("%s shows the refresh token", what)
		}
	}
}

// approve waits until the resource asks for a sign-in, and approves it. It returns the
// code.
func (s *scene) approve() string {
	s.t.Helper()
	message := s.registered("SignInRequired")
	asked := signInAsked.FindStringSubmatch(message)
	if asked == nil {
		s.t.Fatalf("the message does not say what to do: %s", message)
	}
	if err := bed.Tenant.Approve(s.ctx, asked[1], asked[2]); err != nil {
		s.t.Fatal(err)
	}
	return asked[2]
}
