// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// judge turns the outcome of a bind into a result. final is false if another
// server may be asked; keep is true if the connection is as good as before.
//
// Only "invalid credentials" (49) can become a refusal of the user's. The text
// that came with it is read for its sub-code and goes no further.
func judge(err error) (result Result, final, keep bool) {
	if err == nil {
		return Accepted(), true, true
	}
	if errors.Is(err, errNotSent) {
		return Refused(NoLogonServers, err), false, false
	}
	answer, ok := answered(err)
	if !ok {
		return Refused(RPCCallFailed, err), true, false
	}
	switch answer.ResultCode {
	case ldap.LDAPResultInvalidCredentials:
		return credentialsRefused(answer.Err.Error()), true, true
	case ldap.LDAPResultBusy, ldap.LDAPResultUnavailable:
		// It has not looked at the password; the next server may.
		return Refused(RPCServerUnavailable, resultError(answer.ResultCode)), false, false
	default:
		return Refused(InternalError, resultError(answer.ResultCode)), true, false
	}
}

func resultError(code uint16) error {
	return fmt.Errorf("the directory answered with LDAP result %d (%s)", code, ldap.LDAPResultCodeMap[code])
}

// credentialsRefused reads Active Directory's reason out of the text that came
// with result 49. Without one, the plain meaning of the result stands.
func credentialsRefused(diagnostic string) Result {
	sub, ok := subCode(diagnostic)
	if !ok || sub == 0 {
		return Refused(LogonFailure, nil)
	}
	code := Code(int32(sub)) //nolint:gosec // the bits of an HRESULT are meant
	if _, known := Lookup(code); !known {
		return Refused(InternalError, fmt.Errorf("the directory refused the bind for a reason that is not in the table: 0x%x", sub))
	}
	return Refused(code, nil)
}

// subCode finds the hexadecimal code in a text such as
//
//	80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563
//
// which is how Active Directory, and Samba after it, says which of the Win32
// logon errors made a bind fail (protocol section 8.1).
func subCode(diagnostic string) (code uint32, ok bool) {
	_, after, found := strings.Cut(diagnostic, ", data ")
	if !found {
		return 0, false
	}
	digits := after
	if end := strings.IndexFunc(after, func(r rune) bool { return !isHex(r) }); end >= 0 {
		if after[end] != ',' && after[end] != ' ' && after[end] != 0 {
			return 0, false
		}
		digits = after[:end]
	}
	parsed, err := strconv.ParseUint(digits, 16, 32)
	return uint32(parsed), err == nil
}

func isHex(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F'
}
