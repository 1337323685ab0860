// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

// ErrStuck means that validations hang which have outlived their time. They end
// when the system lets them, or with the process.
var ErrStuck = errors.New("validations do not return within their time limit")

// LimitObserver learns how the validations under a Limit are doing. Its methods
// are called with the current number, from several goroutines, and must not
// block.
type LimitObserver interface {
	// InFlight is the number of validations that hold a slot.
	InFlight(n int)
	// Stuck is the number of those that did not return when their time was up.
	Stuck(n int)
}

// LimitOptions configures a Limit.
type LimitOptions struct {
	// MaxConcurrent bounds the validations at one time; at least 1.
	MaxConcurrent int
	// Timeout bounds one validation, from when it holds its slot. Waiting for a
	// slot is bounded by the caller's context, which should end before the
	// cloud's 15 seconds do.
	Timeout time.Duration
	// Observer may be nil.
	Observer LimitObserver
}

// Limit is a Validator that passes on a bounded number of validations at a
// time, and one at a time for each user, so that a flood of requests neither
// loads the domain controllers without bound nor locks an account faster than
// one wrong password after the other (protocol section 11). What gets no slot
// in time is answered 1450.
//
// A validation that does not return when its time is up is answered 1726 and
// counted as stuck: a Windows logon cannot be cancelled. It keeps its slot and
// its user until it does return; when every slot is stuck, new work is refused
// instead of piling up.
type Limit struct {
	next     Validator
	timeout  time.Duration
	observer LimitObserver
	slots    chan struct{}

	mu       sync.Mutex // protects what follows
	users    map[string]*userSlot
	inFlight int
	stuck    int
}

// userSlot serialises the validations of one user.
type userSlot struct {
	slot chan struct{} // holds a token while a validation runs
	refs int           // validations that run or wait; protected by Limit.mu
}

// NewLimit returns a Limit in front of next. It panics if an option is out of
// range, which the configuration's own checks exclude.
func NewLimit(next Validator, opts LimitOptions) *Limit {
	if opts.MaxConcurrent < 1 || opts.Timeout <= 0 {
		panic(fmt.Sprintf("validation: NewLimit needs a slot and a time limit, got %d and %s", opts.MaxConcurrent, opts.Timeout))
	}
	if opts.Observer == nil {
		opts.Observer = discard{}
	}
	return &Limit{
		next:     next,
		timeout:  opts.Timeout,
		observer: opts.Observer,
		slots:    make(chan struct{}, opts.MaxConcurrent),
		users:    make(map[string]*userSlot),
	}
}

type discard struct{}

func (discard) InFlight(int) {}
func (discard) Stuck(int)    {}

// Validate waits for a slot and passes the call on. When it has one, it takes
// the password out of the caller's buffer, which is empty from then on: a stuck
// validation may outlive this call, and its password is zeroed when it returns.
func (l *Limit) Validate(ctx context.Context, upn, domain string, password *secret.Buffer) Result {
	// The user's turn comes first: requests that wait for one user then hold no
	// slot that others could use.
	release, err := l.acquire(ctx, strings.ToLower(upn))
	if err != nil {
		return Refused(NoSystemResources, err)
	}

	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	call := &limitedCall{limit: l, done: make(chan Result, 1)}
	owned := password.Move()
	go func() {
		defer release()
		defer call.returned()
		result := run(ctx, l.next, upn, domain, owned)
		owned.Zero() // before the caller learns the result
		call.done <- result
	}()

	select {
	case result := <-call.done:
		return result
	case <-ctx.Done():
	}
	return call.abandon(ctx)
}

// run turns a panic into a refusal: one request must not end the connector. The
// panic's value is left out, since it could quote the arguments.
func run(ctx context.Context, v Validator, upn, domain string, password *secret.Buffer) (result Result) {
	defer func() {
		if recover() != nil {
			result = Refused(InternalError, errors.New("the validator panicked"))
		}
	}()
	return v.Validate(ctx, upn, domain, password)
}

// acquire waits for the user's turn and then for a slot. The error tells which
// of the two did not come.
func (l *Limit) acquire(ctx context.Context, user string) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("there was no time left: %w", context.Cause(ctx))
	}
	turn := l.enter(user)
	select {
	case turn.slot <- struct{}{}:
	case <-ctx.Done():
		l.leave(user, turn)
		return nil, fmt.Errorf("waiting for another validation of the same user: %w", context.Cause(ctx))
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		<-turn.slot
		l.leave(user, turn)
		err := fmt.Errorf("waiting for one of %d validation slots, %d of which are stuck: %w", cap(l.slots), l.Stuck(), context.Cause(ctx))
		if l.Exhausted() {
			err = fmt.Errorf("%w: %w", ErrStuck, err)
		}
		return nil, err
	}
	l.count(&l.inFlight, 1, l.observer.InFlight)
	return func() {
		l.count(&l.inFlight, -1, l.observer.InFlight)
		<-l.slots
		<-turn.slot
		l.leave(user, turn)
	}, nil
}

func (l *Limit) enter(user string) *userSlot {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := l.users[user]
	if turn == nil {
		turn = &userSlot{slot: make(chan struct{}, 1)}
		l.users[user] = turn
	}
	turn.refs++
	return turn
}

func (l *Limit) leave(user string, turn *userSlot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if turn.refs--; turn.refs == 0 {
		delete(l.users, user)
	}
}

// count changes a counter and reports it under the lock, so that an observer
// sees the numbers in order.
func (l *Limit) count(counter *int, delta int, report func(int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*counter += delta
	report(*counter)
}

// Stuck is the number of validations that have outlived their time limit.
func (l *Limit) Stuck() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stuck
}

// Exhausted tells that every slot is stuck: nothing is validated any more.
func (l *Limit) Exhausted() bool { return l.Stuck() >= cap(l.slots) }

// limitedCall is one validation in flight. Either it returns first, or it is
// abandoned first; it counts as stuck from the second until the first.
type limitedCall struct {
	limit *Limit
	done  chan Result

	mu        sync.Mutex // protects what follows
	over      bool
	abandoned bool
}

func (c *limitedCall) returned() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.abandoned {
		c.limit.count(&c.limit.stuck, -1, c.limit.observer.Stuck)
	}
}

// abandonGrace is how long a validator that heeds its context may take to
// return its own, more telling, result after the context has ended.
const abandonGrace = 250 * time.Millisecond

// abandon gives the call a moment to return and then counts it as stuck.
func (c *limitedCall) abandon(ctx context.Context) Result {
	grace := time.NewTimer(abandonGrace)
	defer grace.Stop()
	select {
	case result := <-c.done:
		return result
	case <-grace.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return <-c.done
	}
	c.abandoned = true
	c.limit.count(&c.limit.stuck, 1, c.limit.observer.Stuck)
	return Refused(RPCCallFailed, fmt.Errorf("%w: %w", ErrStuck, context.Cause(ctx)))
}
