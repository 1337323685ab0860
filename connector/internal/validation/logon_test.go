// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

const (
	computerPrefix = "S-1-5-21-1-2-3"
	domainUser     = "S-1-5-21-7-8-9-1104"
)

// windowsFake plays the operating system.
type windowsFake struct {
	fault  error   // of check
	errno  uint32  // of logon
	token  token   // of logon
	who    account // of whose
	whoErr error
	endErr error
	hang   <-chan struct{} // logons wait for it, if not nil
	panics bool

	mu     sync.Mutex // protects what follows
	calls  []logonCall
	open   []token
	buffer []uint16 // the password of the last logon, to its capacity
}

// logonCall is what a logon was asked with.
type logonCall struct{ user, domain, password string }

// text undoes the system's encoding; "<nil>" if there was none.
func text(wide []uint16) string {
	if wide == nil {
		return "<nil>"
	}
	if len(wide) == 0 || wide[len(wide)-1] != 0 || slices.Contains(wide[:len(wide)-1], 0) {
		return fmt.Sprintf("<not ended by a zero: %v>", wide)
	}
	return string(utf16.Decode(wide[:len(wide)-1]))
}

func (w *windowsFake) check() error { return w.fault }

func (w *windowsFake) logon(user, domain, password []uint16) (token, uint32) {
	w.mu.Lock()
	w.calls = append(w.calls, logonCall{text(user), text(domain), text(password)})
	w.buffer = password[:cap(password)]
	w.mu.Unlock()
	if w.hang != nil {
		<-w.hang
	}
	if w.panics {
		panic("no logon")
	}
	if w.errno != 0 {
		return 0, w.errno
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = append(w.open, w.token)
	return w.token, 0
}

// made is the number of logons that were begun.
func (w *windowsFake) made() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

func (w *windowsFake) whose(token) (account, error) { return w.who, w.whoErr }

func (w *windowsFake) end(t token) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.endErr == nil {
		w.open = slices.DeleteFunc(w.open, func(o token) bool { return o == t })
	}
	return w.endErr
}

// counter counts what LogonOptions report.
type counter struct{ tokens, trouble int }

func (c *counter) options() LogonOptions {
	return LogonOptions{Tokens: func(delta int) { c.tokens += delta }, Trouble: func() { c.trouble++ }}
}

func TestLogonNames(t *testing.T) {
	long := strings.Repeat("a", maxAccount)
	for name, tc := range map[string]struct {
		upn, domain string
		want        logonCall // nothing if it must not reach the system
	}{
		"a user principal name leaves out the domain":  {"alice@contoso.example", "CONTOSO", logonCall{"alice@contoso.example", "<nil>", "pw"}},
		"with no domain beside it":                     {"alice@contoso.example", "", logonCall{"alice@contoso.example", "<nil>", "pw"}},
		"beyond ASCII":                                 {"zoë😀@contoso.example", "", logonCall{"zoë😀@contoso.example", "<nil>", "pw"}},
		"a plain name goes with its domain":            {"alice", "CONTOSO", logonCall{"alice", "CONTOSO", "pw"}},
		"and with one that has a DNS name":             {"alice", "emea.contoso.example", logonCall{"alice", "emea.contoso.example", "pw"}},
		"with dots, dashes and spaces":                 {"o.brien-smith x", "CONTOSO", logonCall{"o.brien-smith x", "CONTOSO", "pw"}},
		"the longest plain name":                       {long, "CONTOSO", logonCall{long, "CONTOSO", "pw"}},
		"a name without a domain":                      {upn: "alice"},
		"a name in the domain that means the computer": {upn: "alice", domain: "."},
		"a domain of dots and spaces":                  {upn: "alice", domain: " . "},
		"a user principal name in the domain .":        {upn: "alice@.", domain: "CONTOSO"},
		"an at sign without a domain":                  {upn: "alice@", domain: "CONTOSO"},
		"an at sign without a name":                    {upn: "@contoso.example", domain: "CONTOSO"},
		"a name that brings its domain":                {upn: `CONTOSO\alice`, domain: ""},
		"and brings another":                           {upn: `.\alice`, domain: "CONTOSO"},
		"a user principal name with a backslash":       {upn: `.\alice@contoso.example`},
		"a domain with a backslash":                    {upn: "alice", domain: `.\CONTOSO`},
		"a domain with an at sign":                     {upn: "alice", domain: "a@b"},
		"a NUL in the name":                            {upn: "alice\x00", domain: "CONTOSO"},
		"a NUL in the user principal name":             {upn: "alice\x00@contoso.example"},
		"a NUL in the domain":                          {upn: "alice", domain: "CONTOSO\x00"},
		"no name":                                      {domain: "CONTOSO"},
		"a name of dots":                               {upn: "..", domain: "CONTOSO"},
		"a name that is too long":                      {upn: long + "a", domain: "CONTOSO"},
		"a domain that is too long":                    {upn: "alice", domain: strings.Repeat("a", maxDomain+1)},
		"a name that is not UTF-8":                     {upn: "al\xffice", domain: "CONTOSO"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &windowsFake{token: 1, who: account{sid: domainUser}}
			got := newLogonUser(w, LogonOptions{}).Validate(t.Context(), tc.upn, tc.domain, secret.New([]byte("pw")))
			if tc.want == (logonCall{}) {
				wantCode(t, got, InvalidParameter)
				if len(w.calls) != 0 {
					t.Errorf("the system was asked with %q", w.calls)
				}
				return
			}
			wantCode(t, got, Success)
			if diff := cmp.Diff([]logonCall{tc.want}, w.calls, cmp.AllowUnexported(logonCall{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLogonAcceptsTokensOfDomainUsersAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		system *windowsFake
		want   Code
		open   int // tokens that are counted as open afterwards
	}{
		"a user of a domain":              {&windowsFake{token: 1, who: account{sid: domainUser}}, Success, 0},
		"an administrator of a domain":    {&windowsFake{token: 1, who: account{sid: "S-1-5-21-7-8-9-500"}}, Success, 0},
		"a user of the computer":          {&windowsFake{token: 1, who: account{sid: computerPrefix + "-1001", local: true}}, InternalError, 0},
		"Guest of a domain":               {&windowsFake{token: 1, who: account{sid: "S-1-5-21-7-8-9-501"}}, InternalError, 0},
		"anonymous":                       {&windowsFake{token: 1, who: account{sid: "S-1-5-7"}}, InternalError, 0},
		"the system itself":               {&windowsFake{token: 1, who: account{sid: "S-1-5-18"}}, InternalError, 0},
		"an identifier that is too short": {&windowsFake{token: 1, who: account{sid: "S-1-5-21-7-8-9"}}, InternalError, 0},
		"nobody who can be found out":     {&windowsFake{token: 1, whoErr: errors.New("invalid handle")}, InternalError, 0},
		"no token":                        {&windowsFake{who: account{sid: domainUser}}, InternalError, 0},
		"a token that cannot be closed":   {&windowsFake{token: 1, who: account{sid: domainUser}, endErr: errors.New("invalid handle")}, Success, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var count counter
			got := newLogonUser(tc.system, count.options()).Validate(t.Context(), "alice@contoso.example", "", secret.New([]byte("pw")))
			wantCode(t, got, tc.want)
			if tc.want != Success && !errors.Is(got.Err, errLoggedOn) {
				t.Errorf("the error does not say that the system logged the name on: %v", got.Err)
			}
			if count.tokens != tc.open {
				t.Errorf("%d tokens are counted as open, want %d", count.tokens, tc.open)
			}
			if tc.system.token != 0 && tc.system.endErr == nil && len(tc.system.open) != 0 {
				t.Errorf("%v stayed open", tc.system.open)
			}
		})
	}
}

func TestLogonErrorsGoThroughTheTable(t *testing.T) {
	secureChannel := []Code{1311, 1722, 1786, 1787, 1788, 1789, 1790, 1792, 1808, 1810, 1908}
	for _, row := range Rows() {
		if row.Code == Success {
			continue
		}
		w, count := &windowsFake{errno: uint32(row.Code)}, counter{}
		got := newLogonUser(w, count.options()).Validate(t.Context(), "alice@contoso.example", "", secret.New([]byte("pw")))
		wantCode(t, got, row.Code)
		if got.Class() != row.Class {
			t.Errorf("%d is of class %s, the table says %s", row.Code, got.Class(), row.Class)
		}
		if want := slices.Contains(secureChannel, row.Code); errors.Is(got.Err, ErrSecureChannel) != want || (count.trouble == 1) != want {
			t.Errorf("%d: trouble was called %d times, with %v; want it of the secure channel: %t", row.Code, count.trouble, got.Err, want)
		}
		if len(w.calls) != 1 {
			t.Errorf("after %d the system was asked again: %d times", row.Code, len(w.calls))
		}
	}
	for _, unknown := range []uint32{4711, 0xC000006D, 1<<32 - 1} {
		got := newLogonUser(&windowsFake{errno: unknown}, LogonOptions{}).Validate(t.Context(), "alice@contoso.example", "", secret.New([]byte("pw")))
		wantCode(t, got, InternalError)
		if got.Err == nil || !strings.Contains(got.Err.Error(), fmt.Sprint(unknown)) {
			t.Errorf("the error does not name %d: %v", unknown, got.Err)
		}
	}
}

func TestLogonPasswords(t *testing.T) {
	for name, tc := range map[string]struct {
		password string
		want     Code // Success if it reaches the system
	}{
		"plain":                     {"C4nary-Bird!", Success},
		"beyond ASCII":              {"pässwörd", Success},
		"beyond the first plane":    {"🐤🐤", Success},
		"the replacement character": {"a\uFFFDb", Success},
		"empty":                     {"", LogonFailure},
		"with a NUL":                {"a\x00b", LogonFailure},
		"not UTF-8":                 {"a\xffb", InternalError},
		"a surrogate on its own":    {"a\xed\xa0\x80b", InternalError},
	} {
		t.Run(name, func(t *testing.T) {
			w := &windowsFake{errno: uint32(LogonFailure)}
			if tc.want == Success {
				w = &windowsFake{token: 1, who: account{sid: domainUser}}
			}
			backing := []byte(tc.password)
			password := secret.New(backing)
			got := newLogonUser(w, LogonOptions{}).Validate(t.Context(), "alice@contoso.example", "", password)
			wantCode(t, got, tc.want)
			if tc.want != Success {
				if len(w.calls) != 0 {
					t.Error("it reached the system")
				}
				return
			}
			if w.calls[0].password != tc.password {
				t.Errorf("the system was given %q", w.calls[0].password)
			}
			if password.Bytes() != nil || !bytes.Equal(backing, make([]byte, len(backing))) {
				t.Error("the bytes outlived the logon")
			}
			if !slices.Equal(w.buffer, make([]uint16, len(w.buffer))) {
				t.Errorf("the system's form of the password outlived the logon: %v", w.buffer)
			}
		})
	}
}

func TestLogonZeroesThePasswordOnEveryPath(t *testing.T) {
	for name, w := range map[string]*windowsFake{
		"accepted":        {token: 1, who: account{sid: domainUser}},
		"refused":         {errno: uint32(LogonFailure)},
		"unknown error":   {errno: 4711},
		"a local account": {token: 1, who: account{local: true}},
		"a panic":         {panics: true},
	} {
		backing := []byte("C4nary-Bird!")
		password := secret.New(backing)
		func() {
			defer func() { _ = recover() }()
			newLogonUser(w, LogonOptions{}).Validate(t.Context(), "alice@contoso.example", "", password)
		}()
		if w.calls[0].password != "C4nary-Bird!" {
			t.Errorf("%s: the system was given %q", name, w.calls[0].password)
		}
		if !slices.Equal(w.buffer, make([]uint16, len(w.buffer))) || !bytes.Equal(backing, make([]byte, len(backing))) {
			t.Errorf("%s: the password outlived the logon", name)
		}
	}
}

func TestLogonIsNotMadeInVain(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	w := &windowsFake{token: 1, who: account{sid: domainUser}}
	wantCode(t, newLogonUser(w, LogonOptions{}).Validate(ended, "alice@contoso.example", "", secret.New([]byte("pw"))), NoSystemResources)

	fault := errors.New("no LogonUserW")
	w.fault = fault
	got := newLogonUser(w, LogonOptions{}).Validate(t.Context(), "alice@contoso.example", "", secret.New([]byte("pw")))
	wantCode(t, got, InternalError)
	if !errors.Is(got.Err, fault) || len(w.calls) != 0 {
		t.Errorf("got %v after %d logons", got.Err, len(w.calls))
	}
}

// What a Windows computer can be in, and what the canary makes of it.
func TestProveOfLogons(t *testing.T) {
	for name, tc := range map[string]struct {
		system *windowsFake
		want   error
		says   string
	}{
		"a working domain":              {&windowsFake{errno: 1326}, nil, ""},
		"a domain that knows no name":   {&windowsFake{errno: 1317}, nil, ""},
		"a stub that says yes":          {&windowsFake{token: 0xDEADBEEF, whoErr: errors.New("invalid handle")}, ErrAcceptsAnything, "invalid handle"},
		"a stub that gives no token":    {&windowsFake{}, ErrAcceptsAnything, "no token"},
		"an enabled Guest":              {&windowsFake{token: 1, who: account{sid: computerPrefix + "-501", local: true}}, ErrAcceptsAnything, "-501"},
		"a domain that accepts":         {&windowsFake{token: 1, who: account{sid: domainUser}}, ErrAcceptsAnything, ""},
		"a lost trust":                  {&windowsFake{errno: 1789}, ErrSecureChannel, "1789"},
		"no domain controller":          {&windowsFake{errno: 1311}, ErrSecureChannel, "1311"},
		"the password must be changed":  {&windowsFake{errno: 1907}, ErrNotProven, "1907"},
		"an image without LogonUserW":   {&windowsFake{fault: errors.New("not found in advapi32")}, ErrNotProven, "not found in advapi32"},
		"a code that nobody knows":      {&windowsFake{errno: 4711}, ErrNotProven, "4711"},
		"a right that was not granted":  {&windowsFake{errno: 1385}, ErrNotProven, "1385"},
		"a domain controller in a mess": {&windowsFake{errno: 1722}, ErrNotProven, "1722"},
	} {
		t.Run(name, func(t *testing.T) {
			v := NewLimit(newLogonUser(tc.system, LogonOptions{}), LimitOptions{MaxConcurrent: 1, Timeout: 10 * time.Second})
			err := Prove(t.Context(), v, "contoso.example")
			if !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v does not say what was found: %q", err, tc.says)
			}
		})
	}
}

func TestProveOfLogonsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := &windowsFake{errno: 1326, hang: release}
		v := NewLimit(newLogonUser(w, LogonOptions{}), LimitOptions{MaxConcurrent: 1, Timeout: time.Minute})
		prove := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			return Prove(ctx, v, "contoso.example")
		}
		for range 3 {
			if err := prove(); !errors.Is(err, ErrNotProven) || !errors.Is(err, ErrStuck) {
				t.Errorf("a logon that hangs gave %v", err)
			}
		}
		if w.made() != 1 || !v.Exhausted() {
			t.Errorf("%d logons were begun, want one and no more while it hangs", w.made())
		}
		close(release)
		synctest.Wait()
		if err := prove(); err != nil || v.Exhausted() {
			t.Errorf("after it returned: %v", err)
		}
	})
}
