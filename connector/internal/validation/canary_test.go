// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

func TestProveJudgesTheValidator(t *testing.T) {
	always := func(r Result) validatorFunc {
		return func(context.Context, string, *secret.Buffer) Result { return r }
	}
	trouble := errors.New("no route to host")
	for name, tc := range map[string]struct {
		validator validatorFunc
		suffixes  []string
		want      error
	}{
		"refused as a wrong credential":       {always(Refused(LogonFailure, nil)), []string{"contoso.example"}, nil},
		"refused as an unknown user":          {always(Refused(NoSuchUser, nil)), []string{"contoso.example"}, nil},
		"accepted":                            {always(Accepted()), []string{"contoso.example"}, ErrAcceptsAnything},
		"a zero result":                       {always(Result{}), []string{"contoso.example"}, ErrAcceptsAnything},
		"no servers":                          {always(Refused(NoLogonServers, trouble)), []string{"contoso.example"}, ErrNotProven},
		"a code that is not in the list":      {always(Refused(4711, nil)), []string{"contoso.example"}, ErrNotProven},
		"an account state, for a random name": {always(Refused(AccountDisabled, nil)), []string{"contoso.example"}, ErrNotProven},
		"nothing to probe with":               {always(Refused(LogonFailure, nil)), nil, ErrNotProven},
		"one forest refuses and one is away": {func(_ context.Context, upn string, _ *secret.Buffer) Result {
			if strings.HasSuffix(upn, "@fabrikam.example") {
				return Refused(NoLogonServers, trouble)
			}
			return Refused(LogonFailure, nil)
		}, []string{"contoso.example", "fabrikam.example"}, ErrNotProven},
		"one forest is away and one accepts": {func(_ context.Context, upn string, _ *secret.Buffer) Result {
			if strings.HasSuffix(upn, "@fabrikam.example") {
				return Accepted()
			}
			return Refused(NoLogonServers, trouble)
		}, []string{"contoso.example", "fabrikam.example"}, ErrAcceptsAnything},
	} {
		t.Run(name, func(t *testing.T) {
			err := Prove(t.Context(), tc.validator, tc.suffixes...)
			if !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if errors.Is(err, ErrNotProven) && errors.Is(err, ErrAcceptsAnything) {
				t.Errorf("the error is both: %v", err)
			}
		})
	}
}

func TestProveUsesCredentialsThatCannotExist(t *testing.T) {
	names, passwords := map[string]bool{}, map[string]bool{}
	var last *secret.Buffer
	v := validatorFunc(func(_ context.Context, upn string, password *secret.Buffer) Result {
		if suffix, err := checkName(upn); err != nil || suffix != "contoso.example" {
			t.Errorf("the canary's name %q is not one of the suffix: %v", upn, err)
		}
		if err := checkPassword(password); err != nil || password.Len() < 20 {
			t.Errorf("the canary's password is no password: %d bytes, %v", password.Len(), err)
		}
		names[upn], passwords[string(password.Bytes())] = true, true
		last = password
		return Refused(LogonFailure, nil)
	})
	const runs = 50
	for range runs {
		if err := Prove(t.Context(), v, "contoso.example"); err != nil {
			t.Fatal(err)
		}
		if last.Bytes() != nil {
			t.Fatal("the canary's password was not zeroed")
		}
	}
	if len(names) != runs || len(passwords) != runs {
		t.Errorf("%d runs used %d names and %d passwords", runs, len(names), len(passwords))
	}
}

func TestProveOnRealDirectories(t *testing.T) {
	honest := directory(t, ldapserver.Options{})
	v := against(t, honest)
	if err := Prove(within(t, 10*time.Second), v, v.ProbeSuffixes()...); err != nil {
		t.Errorf("an honest directory is not proven: %v", err)
	}
	honest.SetOutage(true)
	if err := Prove(within(t, 10*time.Second), v, v.ProbeSuffixes()...); !errors.Is(err, ErrNotProven) {
		t.Errorf("a directory that is away gave %v, want that it is not proven", err)
	}
	v = against(t, directory(t, ldapserver.Options{AcceptEverything: true}))
	if err := Prove(within(t, 10*time.Second), v, v.ProbeSuffixes()...); !errors.Is(err, ErrAcceptsAnything) {
		t.Errorf("a directory that accepts everything gave %v", err)
	}
}
