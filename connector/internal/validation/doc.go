// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package validation answers one question: does this password open this
// account in the organisation's directory?
//
// A [Validator] is asked with a user principal name and a password and gives a
// [Result]: accepted, or a [Code] that says why not. The codes are those of the
// Win32 logon functions, which is what the cloud expects from a connector
// (protocol section 8). One table knows all of them: [Lookup] for programs,
// [Explain] for people.
//
// # Failing closed
//
// Success has to be proved. Only [Accepted] makes an accepted Result; the zero
// Result, a code missing from the table and any trouble of ours count as
// infrastructure faults. Infrastructure trouble is never reported as a wrong
// password: that would count towards locking users out, and let one broken
// connector refuse everybody (protocol section 11).
//
// # Putting it together
//
//	directory, err := validation.NewLDAP(validation.LDAPOptions{Forests: forests})
//	defer directory.Close()
//	err = validation.Prove(ctx, directory, directory.ProbeSuffixes()...)   // before serving, and every few minutes
//	limited := validation.NewLimit(directory, validation.LimitOptions{MaxConcurrent: 64, Timeout: 10 * time.Second})
//	result := limited.Validate(ctx, upn, domain, password)
//	accepted, code := result.Answer()
//
// [LDAP] binds to domain controllers over LDAPS; [LogonUser] makes a network logon
// of Windows and goes behind a Limit at all times. [Limit] bounds how many
// validations run, in total and for one user. [Prove] is the canary: a
// validator that accepts a random credential must not serve.
//
// # Passwords
//
// A password is in one secret.Buffer, which belongs to the caller. Nothing here
// logs, stores or counts one, and no error contains one, nor any text that came
// from a directory, which could echo it.
package validation
