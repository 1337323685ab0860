// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"errors"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

// Validator checks one password.
type Validator interface {
	// Validate asks the directory whether password is that of the account upn.
	// upn is a name with a domain part, domain the NetBIOS name the cloud knows
	// for the user, which may be empty. It returns when ctx ends at the latest,
	// and keeps no reference to password when it has returned; the caller zeroes
	// password on every path. An implementation may empty the buffer (see Limit).
	Validate(ctx context.Context, upn, domain string, password *secret.Buffer) Result
}

// Result is the outcome of one validation. Ask [Result.Answer] for what to tell
// the cloud; the zero Result is a failure.
type Result struct {
	// Code is what the directory said. Zero alone does not mean success.
	Code Code
	// Err explains, for logs, a Code that the directory did not give itself. It
	// contains no password, no user name and no text from the directory.
	Err error

	accepted bool
}

// Accepted is the only successful Result. A Validator returns it after the
// directory has accepted the password, and for no other reason.
func Accepted() Result { return Result{Code: Success, accepted: true} }

// Refused is any other Result. err may be nil when the directory gave the code
// itself. A code of 0 becomes 1359: a refusal never reads as success.
func Refused(code Code, err error) Result {
	if code == Success {
		return Result{Code: InternalError, Err: errors.Join(errors.New("a refusal came with code 0"), err)}
	}
	return Result{Code: code, Err: err}
}

// Answer returns what to tell the cloud: true and 0, or false and a code that
// is never 0.
func (r Result) Answer() (accepted bool, code Code) {
	switch {
	case r.accepted && r.Code == Success && r.Err == nil:
		return true, Success
	case r.Code == Success:
		return false, InternalError
	default:
		return false, r.Code
	}
}

// Class is the class of the answer.
func (r Result) Class() Class {
	accepted, code := r.Answer()
	if accepted {
		return ClassSuccess
	}
	if class := code.Class(); class != ClassSuccess {
		return class
	}
	return ClassInfrastructure
}
