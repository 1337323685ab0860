// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"bytes"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

// maxName is the length in bytes up to which a name is tried. The attribute
// userPrincipalName holds 1024 characters; the cloud's names are at most 113.
const maxName = 1024

// checkName returns the suffix of a user principal name, in lower case. A
// simple bind takes more than that: distinguished names, DOMAIN\user, display
// names, service principal names. Here, only what the cloud calls a user may
// name one.
func checkName(upn string) (suffix string, err error) {
	if len(upn) > maxName {
		return "", errors.New("the user name is longer than 1024 bytes")
	}
	if !utf8.ValidString(upn) {
		return "", errors.New("the user name is not valid UTF-8")
	}
	at := strings.LastIndexByte(upn, '@')
	if at <= 0 || at == len(upn)-1 {
		return "", errors.New("the user name is not of the form user@domain")
	}
	if strings.ContainsFunc(upn, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
		return "", errors.New("the user name holds a backslash or a control character")
	}
	suffix = strings.ToLower(strings.TrimSuffix(upn[at+1:], "."))
	if suffix == "" || strings.HasPrefix(suffix, ".") || strings.ContainsAny(suffix, " /") {
		return "", errors.New("the domain part of the user name is not a domain name")
	}
	return suffix, nil
}

// checkPassword refuses, without asking a server, what no account has as its
// password and what directories take for no password at all.
//
// A simple bind with a name and an empty password is an "unauthenticated bind"
// (RFC 4513 section 5.1.2): a directory answers it with success, whatever the
// name. Sent on, an empty password would open every account. It is answered as
// a wrong password, since that is what it is. The same goes for a NUL: software
// that ends strings there would see another, possibly empty, password.
func checkPassword(password *secret.Buffer) error {
	switch b := password.Bytes(); {
	case len(b) == 0:
		return errors.New("the password is empty; a directory would take that for an anonymous bind, so it was not asked")
	case bytes.IndexByte(b, 0) >= 0:
		return errors.New("the password holds a NUL, at which a directory could cut it short, so it was not asked")
	}
	return nil
}
