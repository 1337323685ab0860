// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/connector/internal/validation"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

// obliging accepts every password, after doing what it is told to.
type obliging struct {
	asked int
	first func()
}

func (o *obliging) Validate(context.Context, string, string, *secret.Buffer) validation.Result {
	o.asked++
	if o.first != nil {
		o.first()
	}
	return validation.Accepted()
}

func TestAValidatorWithoutCreditAnswersNoRequestThatIsHeld(t *testing.T) {
	dir := t.TempDir()
	writeIdentity(t, dir)
	server, err := ldapserver.Start(t.Context(), ldapserver.Options{Listen: "127.0.0.1:0", Dir: t.TempDir(), AcceptEverything: true})
	must(t, err)
	defer server.Close()
	a, err := build(Options{Config: configure(t, dir, server, ""), Version: "test", Log: logr.Discard()})
	must(t, err)
	defer a.proving.directory.close()

	v := &obliging{}
	l := limited{validation.NewLimit(v, validation.LimitOptions{MaxConcurrent: 2, Timeout: time.Second}), &a.distrusted}
	validate := func() (accepted bool, code int32) {
		password := secret.New([]byte("any"))
		defer password.Zero()
		answer := l.Validate(t.Context(), "alice@"+ldapserver.Domain, "", password)
		return answer.Accepted, answer.Code
	}
	if accepted, _ := validate(); !accepted {
		t.Fatal("a validator in good standing is not believed")
	}
	// The check finds out while a password is being validated.
	v.first = func() {
		if err := a.proving.check(t.Context()); !errors.Is(err, validation.ErrAcceptsAnything) {
			t.Errorf("check = %v", err)
		}
	}
	for _, when := range []string{"held", "later"} {
		if accepted, code := validate(); accepted || code != int32(validation.InternalError) {
			t.Errorf("%s: accepted %v, code %d, want an internal error", when, accepted, code)
		}
	}
	if v.asked != 2 {
		t.Errorf("the validator was asked %d times, want 2: not once its credit was lost", v.asked)
	}
	if s := a.tracker.Status(time.Now()); s.Reason != config.ReasonValidatorAcceptsAnything {
		t.Errorf("reason %s", s.Reason)
	}
}

func TestEndpointsToListenOn(t *testing.T) {
	var logs bytes.Buffer
	a := &agent{opts: Options{
		Config: config.Config{Service: config.Service{RelaySuffixes: []string{".servicebus.test"}}},
		Log:    logr.FromSlogHandler(slog.NewJSONHandler(&logs, nil)),
	}}
	endpoint := func(namespace, domain string, change ...func(*bootstrap.Endpoint)) bootstrap.Endpoint {
		e := bootstrap.Endpoint{Available: true, Namespace: namespace, Domain: domain, ServicePath: "p", SharedAccessKeyName: "Connector", SharedAccessKey: "Secret-Key-Zebra"}
		for _, c := range change {
			c(&e)
		}
		return e
	}
	response := &bootstrap.Response{Endpoints: []bootstrap.Endpoint{
		endpoint("Good-1", "servicebus.test"),
		endpoint("good-2", "servicebus.test", func(e *bootstrap.Endpoint) { e.Reliable = true }),
		endpoint("good-3", "servicebus.test", func(e *bootstrap.Endpoint) { e.Available = false }),
		endpoint("evil", "servicebus.example"),
		endpoint("evil.example/x", "servicebus.test"),
		endpoint("good-4", "servicebus.test"),
	}}
	var names []string
	for _, e := range a.endpointsOf(response) {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"Good-1.servicebus.test/p", "good-2.servicebus.test/p", "good-4.servicebus.test/p"}, names); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if strings.Contains(logs.String(), "Zebra") {
		t.Errorf("a key was logged:\n%s", logs.String())
	}
}

func TestALongNameIsNotCutWithinACharacter(t *testing.T) {
	for n := range 8 {
		name := nameOf(strings.Repeat("x", 250+n)+strings.Repeat("é", 8), []string{"Contoso"})
		if len(name) > 256 || !utf8.ValidString(name) {
			t.Errorf("%d bytes, %q", len(name), name)
		}
	}
}
