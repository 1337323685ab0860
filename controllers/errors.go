// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"time"

	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// An error of a pass says what happens next. A blockedError waits for a person
// or for an object that is watched: no retry. A waitingError waits for time. Any
// other error is retried by the work queue, with growing pauses.

// blockedError cannot be overcome by trying again.
type blockedError struct {
	reason  string // of a condition
	message string // what is wrong and what to do
}

func (e *blockedError) Error() string { return e.message }

// waitingError can be overcome by trying again after a while.
type waitingError struct {
	reason  string // of a condition
	message string // what is wrong and what to do
	after   time.Duration
}

func (e *waitingError) Error() string { return e.message }

// describe splits an error into a condition's reason and message. fallback is
// the reason of errors that carry none.
func describe(err error, fallback string) (reason, message string) {
	var (
		blocked *blockedError
		waiting *waitingError
		refused *enrolment.Error
	)
	switch {
	case errors.As(err, &blocked):
		return blocked.reason, blocked.message
	case errors.As(err, &waiting):
		return waiting.reason, waiting.message
	case errors.As(err, &refused):
		return refused.Reason, refused.Message
	default:
		return fallback, err.Error()
	}
}

// retriable reports whether the work queue should try again because of err.
func retriable(err error) bool {
	var (
		blocked *blockedError
		waiting *waitingError
	)
	return err != nil && !errors.As(err, &blocked) && !errors.As(err, &waiting)
}
