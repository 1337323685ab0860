// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

// lockedBuffer collects what several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Sends one recognisable password down every path there is and looks for it in
// everything that comes out.
func TestAPasswordIsFoundNowhere(t *testing.T) {
	const canary = "C4nary-Bird-In-A-Coal-Mine!"
	echo := "the password " + canary + " is not good, data " + canary
	users := append(ldapserver.Users(),
		ldapserver.User{Name: "mute", Answer: &ldapserver.Answer{HangUp: true}},
		ldapserver.User{Name: "echo", Answer: &ldapserver.Answer{Result: ldap.LDAPResultInvalidCredentials, Diagnostic: echo}},
		ldapserver.User{Name: "echo2", Answer: &ldapserver.Answer{Result: ldap.LDAPResultUnwillingToPerform, Diagnostic: echo}},
		ldapserver.User{Name: "echo3", Answer: &ldapserver.Answer{Result: ldap.LDAPResultBusy, Diagnostic: echo}},
	)
	// The standard logger is where the LDAP library would write.
	var out lockedBuffer
	log.SetOutput(&out)
	defer log.SetOutput(os.Stderr)
	logger := logr.FromSlogHandler(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))

	honest := directory(t, ldapserver.Options{Users: users, Logger: logger})
	accepting := directory(t, ldapserver.Options{AcceptEverything: true, Logger: logger})
	trusting := newLDAP(t, LDAPOptions{Forests: []Forest{forestOf(accepting.CAFile(), honest.Addr())}})
	panicking := validatorFunc(func(_ context.Context, _ string, b *secret.Buffer) Result { panic(b.Bytes()) })

	for name, tc := range map[string]struct {
		validator Validator
		user      string
		limit     time.Duration
		want      Code
	}{
		"accepted":                        {against(t, accepting), "alice", 0, Success},
		"refused":                         {against(t, honest), "alice", 0, LogonFailure},
		"locked":                          {against(t, honest), "grace", 0, AccountLockedOut},
		"timed out":                       {against(t, honest), "victor", time.Second, RPCCallFailed},
		"no time at all":                  {against(t, honest), "alice", time.Nanosecond, NoLogonServers},
		"connection lost":                 {against(t, honest), "mute", 0, RPCCallFailed},
		"echoed in a refusal":             {against(t, honest), "echo", 0, LogonFailure},
		"echoed in another answer":        {against(t, honest), "echo2", 0, InternalError},
		"echoed in an answer to go on":    {against(t, honest), "echo3", 0, RPCServerUnavailable},
		"the server is not trusted":       {trusting, "alice", 0, InternalError},
		"the name cannot be tried":        {against(t, honest), "ali\\ce", 0, InvalidParameter},
		"nothing listens":                 {newLDAP(t, LDAPOptions{Forests: []Forest{forestOf(honest.CAFile(), closedPort(t))}}), "alice", 0, NoLogonServers},
		"the validator panics in a limit": {panicking, "alice", 0, InternalError},
	} {
		for how, v := range map[string]Validator{
			"directly": tc.validator, "limited": NewLimit(tc.validator, LimitOptions{MaxConcurrent: 1, Timeout: 10 * time.Second}),
		} {
			if how == "directly" && name == "the validator panics in a limit" {
				continue
			}
			limit := tc.limit
			if limit == 0 {
				limit = 10 * time.Second
			}
			if tc.want == RPCCallFailed {
				// With a connection at hand, the time goes into the bind.
				wantCode(t, validate(within(t, 10*time.Second), tc.validator, "alice", "wrong"), LogonFailure)
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			if limit == time.Nanosecond {
				<-ctx.Done() // a nanosecond may be less than the clock shows
			}
			password := secret.New([]byte(canary))
			got := v.Validate(ctx, tc.user+"@"+ldapserver.Domain, ldapserver.NetBIOS, password)
			cancel()
			// Printed while it is still full, which a careless caller may do.
			fmt.Fprintf(&out, "%v %+v %#v %s\n", password, password, password, got.Err)
			password.Zero()
			want := tc.want
			if how == "limited" && tc.limit == time.Nanosecond {
				want = NoSystemResources // it does not get as far as the validator
			}
			if _, code := got.Answer(); code != want {
				t.Errorf("%s, %s: answered %d (%v), want %d", name, how, code, got.Err, want)
			}
			logger.Info("validated", "result", got, "password", *password)
			logger.Error(got.Err, "validated", "validator", v)
			encoded, _ := json.Marshal(got)
			fmt.Fprintf(&out, "%v %+v %#v %s %s\n", got, got, got, got.Err, encoded)
		}
	}
	_ = Prove(within(t, 10*time.Second), against(t, honest), ldapserver.Domain)

	if !strings.Contains(out.String(), "bind answered") {
		t.Error("nothing was logged, so nothing was tested")
	}
	for _, trace := range []string{
		canary, "C4nary", "Coal-Mine", hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary))[:32],
		strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"),
	} {
		if at := strings.Index(out.String(), trace); at >= 0 {
			t.Errorf("the output holds the password as %q: …%.300s…", trace, out.String()[max(0, at-150):])
		}
	}
}
