// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ldapserver is a small directory for tests and the demo: it answers
// LDAP simple binds over TLS the way Active Directory does, sub-codes included.
//
//	server, err := ldapserver.Start(ctx, ldapserver.Options{Listen: "127.0.0.1:0", Dir: t.TempDir()})
//	defer server.Close()
//	// ldaps://{server.Addr()}, trusted through server.CAFile()
//
// It knows bind and unbind, and nothing else of LDAP. What it copies from a
// domain controller, because a validator has to cope with it:
//
//   - A bind without a password succeeds, whatever the name: that is an
//     unauthenticated bind (RFC 4513 section 5.1.2), not a sign-in.
//   - The password is looked at before the account's state: who does not know
//     it learns 52e, not that the account is disabled or expired. A locked
//     account is the exception: it says so whatever the password.
//   - Unknown users get 52e as well, not 525.
//
// It never logs passwords. Its users and their password are public, its CA is
// its own: it must not hold a real account, and refuses to listen on an address
// that is neither loopback nor kept for documentation.
package ldapserver
