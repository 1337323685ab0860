// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

// ErrAcceptsAnything means that the validator accepted a credential that cannot
// exist. The connector must stop serving and must not start again by itself:
// the caller latches this error.
var ErrAcceptsAnything = errors.New("the validator accepts random credentials; nothing it says can be trusted, " +
	"so this connector refuses to serve until it has been looked into and restarted")

// ErrNotProven means that the canary got no verdict: the directory could not be
// asked, or said something else than that the credential is wrong. The
// connector must not become ready; ask again later.
var ErrNotProven = errors.New("the validator is not proven")

// Prove asks v to validate a random user name with a random password, once for
// each of suffixes ([LDAP.ProbeSuffixes] returns one per forest), and returns
// nil if every one is refused as a wrong credential (1326 or 1317). Otherwise
// the error wraps [ErrAcceptsAnything] or [ErrNotProven]; acceptance by one
// outweighs trouble with others.
//
// Run it before serving and every few minutes after, with a deadline on ctx,
// and not through the [Limit] of the users, so that a busy connector stays
// proven: on an [LDAP] itself, on a [LogonUser] through a Limit of its own.
//
// It is not enough that the code is of [ClassUser]: most of these say that the
// password was right and the account cannot be used, which is not to be said of
// a password and an account that do not exist.
//
// The names are random so that a tampered validator cannot tell the canary from
// a user. They do not exist, so no account's counter of wrong passwords moves
// and none can be locked; what domain controllers see is one failed logon of an
// unknown user (event 4625 or 4776) per run and forest.
func Prove(ctx context.Context, v Validator, suffixes ...string) error {
	if len(suffixes) == 0 {
		return fmt.Errorf("%w: no name suffix was given to probe with", ErrNotProven)
	}
	var faults []error
	for _, suffix := range suffixes {
		if err := prove(ctx, v, suffix); err != nil {
			if errors.Is(err, ErrAcceptsAnything) {
				return err
			}
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func prove(ctx context.Context, v Validator, suffix string) error {
	password := secret.New([]byte(rand.Text()))
	defer password.Zero()
	// Shaped as a user name: short, lower case, within sAMAccountName's 20.
	user := strings.ToLower(rand.Text()[:12])

	result := v.Validate(ctx, user+"@"+suffix, "", password)
	accepted, code := result.Answer()
	switch {
	// A code of 0 that is not an acceptance comes from a validator that is out
	// of order in the dangerous direction: treat it as one.
	case accepted || result.Code == Success:
		return fmt.Errorf("canary for %s: %w", suffix, ErrAcceptsAnything)
	case errors.Is(result.Err, errLoggedOn):
		return fmt.Errorf("canary for %s: %w: %w", suffix, ErrAcceptsAnything, result.Err)
	case code == LogonFailure || code == NoSuchUser:
		return nil
	case result.Err != nil:
		return fmt.Errorf("%w for %s: it answered %d: %w", ErrNotProven, suffix, code, result.Err)
	default:
		return fmt.Errorf("%w for %s: it answered %d to a random credential, not that it is wrong", ErrNotProven, suffix, code)
	}
}
