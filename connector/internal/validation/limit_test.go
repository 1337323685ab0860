// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

// validatorFunc is a Validator made of a function.
type validatorFunc func(ctx context.Context, upn string, password *secret.Buffer) Result

func (f validatorFunc) Validate(ctx context.Context, upn, _ string, password *secret.Buffer) Result {
	return f(ctx, upn, password)
}

// gauge records how many validations run, in total and for each user.
type gauge struct {
	mu      sync.Mutex // protects what follows
	total   int
	most    int
	users   map[string]int
	mostOne int
}

func (g *gauge) change(user string, by int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users == nil {
		g.users = make(map[string]int)
	}
	user = strings.ToLower(user)
	g.total += by
	g.users[user] += by
	g.most = max(g.most, g.total)
	g.mostOne = max(g.mostOne, g.users[user])
}

// record observes a Limit.
type record struct {
	mu              sync.Mutex // protects what follows
	inFlight, stuck []int
}

func (r *record) InFlight(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight = append(r.inFlight, n)
}
func (r *record) Stuck(n int) { r.mu.Lock(); defer r.mu.Unlock(); r.stuck = append(r.stuck, n) }

func TestLimitBoundsConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gauge
		l := NewLimit(validatorFunc(func(_ context.Context, upn string, _ *secret.Buffer) Result {
			g.change(upn, 1)
			defer g.change(upn, -1)
			<-time.After(time.Second)
			return Accepted()
		}), LimitOptions{MaxConcurrent: 4, Timeout: 10 * time.Second})

		var group sync.WaitGroup
		for range 5 {
			// The same user, however the name is spelt, and others beside.
			for _, upn := range []string{"alice", "ALICE", "Alice", "bob", "carol", "dan", "eve"} {
				group.Go(func() {
					wantCode(t, validate(t.Context(), l, upn, "x"), Success)
				})
			}
		}
		group.Wait()
		if g.most != 4 || g.mostOne != 1 {
			t.Errorf("up to %d validations ran at a time, %d of one user; want 4 and 1", g.most, g.mostOne)
		}
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.users) != 0 {
			t.Errorf("%d users are remembered with nothing running", len(l.users))
		}
	})
}

func TestLimitGivesOneUserNoMoreThanOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(validatorFunc(func(context.Context, string, *secret.Buffer) Result {
			<-time.After(time.Second)
			return Accepted()
		}), LimitOptions{MaxConcurrent: 2, Timeout: 10 * time.Second})
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { validate(t.Context(), l, "mallory", "x") })
		}
		synctest.Wait()
		start := time.Now()
		wantCode(t, validate(t.Context(), l, "alice", "x"), Success)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("a flood for one user made another one wait: %s, want 1s", waited)
		}
		group.Wait()
	})
}

func TestLimitRefusesWhatGetsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reached := 0
		l := NewLimit(validatorFunc(func(context.Context, string, *secret.Buffer) Result {
			reached++
			<-time.After(5 * time.Second)
			return Accepted()
		}), LimitOptions{MaxConcurrent: 1, Timeout: 10 * time.Second})
		var group sync.WaitGroup
		group.Go(func() { validate(t.Context(), l, "alice", "x") })
		synctest.Wait()
		for name, user := range map[string]string{"a user whose turn it is not": "alice", "a user without a slot": "bob"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			got := validate(ctx, l, user, "x")
			cancel()
			wantCode(t, got, NoSystemResources)
			if !errors.Is(got.Err, context.DeadlineExceeded) {
				t.Errorf("%s: the error is %v", name, got.Err)
			}
		}
		group.Wait()
		if reached != 1 {
			t.Errorf("the validator was called %d times, want 1", reached)
		}
		wantCode(t, validate(t.Context(), l, "bob", "x"), Success)
	})
}

func TestLimitPassesResultsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			validator validatorFunc
			want      Code
		}{
			"acceptance": {func(context.Context, string, *secret.Buffer) Result { return Accepted() }, Success},
			"refusal":    {func(context.Context, string, *secret.Buffer) Result { return Refused(AccountDisabled, nil) }, AccountDisabled},
			"its own word about the time limit": {func(ctx context.Context, _ string, _ *secret.Buffer) Result {
				<-ctx.Done()
				return Refused(NoLogonServers, ctx.Err())
			}, NoLogonServers},
			"a panic": {func(_ context.Context, _ string, b *secret.Buffer) Result { panic(string(b.Bytes())) }, InternalError},
		} {
			observed := &record{}
			l := NewLimit(tc.validator, LimitOptions{MaxConcurrent: 1, Timeout: time.Second, Observer: observed})
			got := validate(t.Context(), l, "alice", "C4nary")
			wantCode(t, got, tc.want)
			if got.Err != nil && strings.Contains(got.Err.Error(), "C4nary") {
				t.Errorf("%s: the error holds the password: %v", name, got.Err)
			}
			synctest.Wait()
			if diff := cmp.Diff([]int{1, 0}, observed.inFlight); diff != "" || observed.stuck != nil {
				t.Errorf("%s: observed %v stuck, and in flight (-want +got)\n%s", name, observed.stuck, diff)
			}
		}
	})
}

func TestLimitCountsWhatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		observed := &record{}
		var seen [][]byte
		l := NewLimit(validatorFunc(func(_ context.Context, upn string, password *secret.Buffer) Result {
			<-release // as a Windows logon does, it does not heed its context
			seen = append(seen, bytes.Clone(password.Bytes()))
			return Accepted()
		}), LimitOptions{MaxConcurrent: 1, Timeout: time.Second, Observer: observed})

		backing := []byte("C4nary-Bird!")
		password := secret.New(backing)
		start := time.Now()
		got := l.Validate(t.Context(), "alice@contoso.example", "", password)
		password.Zero()
		wantCode(t, got, RPCCallFailed)
		if took := time.Since(start); took != time.Second+abandonGrace {
			t.Errorf("it took %s to give up, want the time limit and a moment", took)
		}
		if l.Stuck() != 1 || !l.Exhausted() {
			t.Errorf("%d validations are stuck, want 1, which is all", l.Stuck())
		}
		if !errors.Is(got.Err, ErrStuck) {
			t.Errorf("the error is %v", got.Err)
		}
		// The stuck one keeps its slot: new work is refused, for anybody.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		refused := validate(ctx, l, "bob", "x")
		wantCode(t, refused, NoSystemResources)
		if !errors.Is(refused.Err, ErrStuck) {
			t.Errorf("the error is %v", refused.Err)
		}

		close(release)
		synctest.Wait()
		if l.Stuck() != 0 || l.Exhausted() {
			t.Errorf("%d validations are stuck after it returned", l.Stuck())
		}
		if diff := cmp.Diff([][]byte{[]byte("C4nary-Bird!")}, seen); diff != "" {
			t.Errorf("the stuck validation saw another password than it was given (-want +got)\n%s", diff)
		}
		if !bytes.Equal(backing, make([]byte, len(backing))) {
			t.Error("the password outlived the validation that was stuck")
		}
		if diff := cmp.Diff([]int{1, 0}, observed.stuck); diff != "" {
			t.Errorf("observed stuck (-want +got)\n%s", diff)
		}
		wantCode(t, validate(t.Context(), l, "alice", "x"), Success)
	})
}

func TestLimitTakesThePassword(t *testing.T) {
	for name, result := range map[string]Result{"accepted": Accepted(), "refused": Refused(LogonFailure, nil)} {
		backing := []byte("C4nary-Bird!")
		l := NewLimit(validatorFunc(func(_ context.Context, _ string, password *secret.Buffer) Result {
			if &password.Bytes()[0] != &backing[0] {
				t.Errorf("%s: the validator got a copy", name)
			}
			return result
		}), LimitOptions{MaxConcurrent: 1, Timeout: time.Second})
		password := secret.New(backing)
		l.Validate(t.Context(), "alice@contoso.example", "", password)
		if password.Bytes() != nil {
			t.Errorf("%s: the caller's buffer is not empty", name)
		}
		if !bytes.Equal(backing, make([]byte, len(backing))) {
			t.Errorf("%s: the password outlived the validation", name)
		}
	}
}

func TestLimitOfRealValidations(t *testing.T) {
	server := directory(t, ldapserver.Options{})
	l := NewLimit(against(t, server), LimitOptions{MaxConcurrent: 4, Timeout: 5 * time.Second})
	var group sync.WaitGroup
	for range 8 {
		for user, want := range map[string]Code{"alice": Success, "bob": Success, "dave": AccountDisabled, "nobody": LogonFailure} {
			group.Go(func() {
				wantCode(t, validate(within(t, 20*time.Second), l, user, ldapserver.Password), want)
			})
		}
	}
	group.Wait()
	if got := server.Connections(); got > 4 {
		t.Errorf("4 validations at a time took %d connections", got)
	}
}

func TestNewLimitRefusesLimitsThatAreNone(t *testing.T) {
	for _, opts := range []LimitOptions{{MaxConcurrent: 0, Timeout: time.Second}, {MaxConcurrent: 1}, {MaxConcurrent: -1, Timeout: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was taken", opts)
				}
			}()
			NewLimit(nil, opts)
		}()
	}
}
