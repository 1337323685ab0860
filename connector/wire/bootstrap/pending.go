// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"math"
	"time"
)

var errPending = errors.New("being written")

const Infinite = time.Duration(math.MaxInt64)

// TimeSpan is a duration that is a .NET TimeSpan in JSON.
type TimeSpan time.Duration

func (t TimeSpan) Duration() time.Duration { return time.Duration(t) }

func ParseDuration(s string) (time.Duration, error) { return 0, errPending }
func FormatXSDDuration(d time.Duration) string      { return "" }
func FormatTimeSpan(d time.Duration) string         { return "" }

func (r Request) Marshal() ([]byte, error)   { return nil, errPending }
func ParseRequest([]byte) (Request, error)   { return Request{}, errPending }
func (r Response) Marshal() ([]byte, error)  { return nil, errPending }
func ParseResponse([]byte) (Response, error) { return Response{}, errPending }
func Defaults() Response                     { return Response{} }
func DefaultResponse() Response              { return Response{} }

// RetryStrategy is a tree; exactly one member is set, none means none.
type RetryStrategy struct {
	AndThen            *AndThen
	Periodic           *Periodic
	Randomized         *Randomized
	ExponentialBackoff *ExponentialBackoff
}

type AndThen struct{ First, Second RetryStrategy }
type Periodic struct {
	Interval    time.Duration
	MaxAttempts int // zero: for ever
}
type Randomized struct {
	Strategy           RetryStrategy
	PlusOrMinusPercent int
}
type ExponentialBackoff struct {
	MaxAttempts        int
	MinDelay, MaxDelay time.Duration
}

// Delay returns how long to wait after the n-th failure in a row (from 1);
// random in [0,1). False: the strategy is exhausted.
func (s RetryStrategy) Delay(n int, random float64) (time.Duration, bool) { return 0, false }
