// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

func TestTheSystemHasWhatALogonNeeds(t *testing.T) {
	s := &system{}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^S-1-5-21(-\d+){3}$`).MatchString(s.computer) {
		t.Errorf("the computer's identifier is %s", s.computer)
	}
}

// ownTokens are logons whose tokens are real: those of this process.
type ownTokens struct{ system }

func (o *ownTokens) logon(_, _, _ []uint16) (token, uint32) {
	var own windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_QUERY, &own); err != nil {
		return 0, uint32(InternalError)
	}
	return token(own), 0
}

// handles is at least the number of handles that the process has open, a few more or
// less: a handle's value is four times its place in the process's table, and the
// places that are free are used again. Wine's GetProcessHandleCount says 0.
func handles(t *testing.T) int {
	t.Helper()
	event, err := windows.CreateEvent(nil, 0, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := windows.CloseHandle(event); err != nil {
		t.Fatal(err)
	}
	return int(event / 4)
}

func TestHandlesThatStayAreSeen(t *testing.T) {
	before := handles(t)
	var open []windows.Handle
	for range 500 {
		event, err := windows.CreateEvent(nil, 0, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, event)
	}
	if after := handles(t); after < before+400 {
		t.Errorf("500 handles more took the process from %d to %d", before, after)
	}
	for _, event := range open {
		if err := windows.CloseHandle(event); err != nil {
			t.Error(err)
		}
	}
}

func TestTenThousandLogonsLeaveNoHandle(t *testing.T) {
	var open, most atomic.Int64
	user := newLogonUser(&ownTokens{}, LogonOptions{Tokens: func(delta int) {
		if now := open.Add(int64(delta)); delta > 0 {
			most.Store(max(most.Load(), now))
		}
	}})
	v := NewLimit(user, LimitOptions{MaxConcurrent: 8, Timeout: time.Minute})
	logons := func(workers, each int) {
		var group sync.WaitGroup
		for worker := range workers {
			group.Go(func() {
				for range each {
					v.Validate(t.Context(), string(rune('a'+worker))+"@contoso.example", "", secret.New([]byte("pw")))
				}
			})
		}
		group.Wait()
	}
	logons(8, 50) // threads have handles, too
	before := handles(t)
	logons(8, 1250)
	// A few come and go with the runtime's own threads.
	if after := handles(t); after > before+100 {
		t.Errorf("10000 logons took the process from %d handles to %d", before, after)
	}
	if open.Load() != 0 || most.Load() == 0 {
		t.Errorf("%d tokens are counted as open, at most %d were", open.Load(), most.Load())
	}
}

func TestWhoseTokenItIsIsFoundOut(t *testing.T) {
	o := &ownTokens{}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	own, errno := o.logon(nil, nil, nil)
	if errno != 0 {
		t.Fatalf("opening the process's own token failed with %d", errno)
	}
	defer func() {
		if err := o.end(own); err != nil {
			t.Error(err)
		}
	}()
	who, err := o.whose(own)
	if err != nil || who.sid == "" {
		t.Errorf("got %+v, %v", who, err)
	}
	if _, err := o.whose(0xDEADBEEF); err == nil {
		t.Error("a token that is none stands for somebody")
	}
}

// A random user with a random password: on Windows refused by the system, under
// Wine accepted, which must not pass for an answer. Neither may read as success.
func TestARandomLogonIsNeverAccepted(t *testing.T) {
	user, err := NewLogonUser(LogonOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v := NewLimit(user, LimitOptions{MaxConcurrent: 1, Timeout: time.Minute})
	got := v.Validate(t.Context(), "nobody-of-this-name@contoso.invalid", "", secret.New([]byte("C4nary-Bird!")))
	accepted, code := got.Answer()
	t.Logf("the system answered %d: %v", code, got.Err)
	if accepted {
		t.Error("it was accepted")
	}
}
