// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import "strconv"

// Code is a Win32 error code, or an HRESULT as its negative int32, as the
// cloud's protocol carries it (protocol section 8.2).
type Code int32

// The codes that connectors answer, and those the cloud's own agent is known to
// handle. What each means is in the table: see [Lookup].
const (
	Success                        Code = 0
	InvalidFunction                Code = 1
	AccessDenied                   Code = 5
	NotEnoughMemory                Code = 8
	InvalidAccess                  Code = 12
	OutOfMemory                    Code = 14
	NotSupported                   Code = 50
	InvalidParameter               Code = 87
	BadArguments                   Code = 160
	FilenameExceedsRange           Code = 206
	NotEnoughServerMemory          Code = 1130
	NoLogonServers                 Code = 1311
	NoSuchUser                     Code = 1317
	WrongPassword                  Code = 1323
	PasswordRestriction            Code = 1325
	LogonFailure                   Code = 1326
	AccountRestriction             Code = 1327
	InvalidLogonHours              Code = 1328
	InvalidWorkstation             Code = 1329
	PasswordExpired                Code = 1330
	AccountDisabled                Code = 1331
	InvalidServerState             Code = 1352
	NoSuchDomain                   Code = 1355
	InternalError                  Code = 1359
	NoSuchPackage                  Code = 1364
	TooManyContextIDs              Code = 1384
	LogonTypeNotGranted            Code = 1385
	TimeSkew                       Code = 1398
	NoSystemResources              Code = 1450
	RPCServerUnavailable           Code = 1722
	RPCCallFailed                  Code = 1726
	NoTrustLSASecret               Code = 1786
	NoTrustSAMAccount              Code = 1787
	TrustedDomainFailure           Code = 1788
	TrustedRelationshipFailure     Code = 1789
	TrustFailure                   Code = 1790
	NetlogonNotStarted             Code = 1792
	AccountExpired                 Code = 1793
	NoLogonWorkstationTrustAccount Code = 1808
	DomainTrustInconsistent        Code = 1810
	PasswordMustChange             Code = 1907
	DomainControllerNotFound       Code = 1908
	AccountLockedOut               Code = 1909
	AuthenticationFirewallFailed   Code = 1935
	SmartcardLogonRequired         Code = -2146892994 // 0x8009033E, SEC_E_SMARTCARD_LOGON_REQUIRED
)

// String returns the code in decimal, the form in which it is answered, logged
// and searched for.
func (c Code) String() string { return strconv.Itoa(int(c)) }

// Class returns the code's class. A code that the table does not have is an
// infrastructure fault: what is not understood must neither open an account nor
// count as a wrong password.
func (c Code) Class() Class {
	if row, ok := Lookup(c); ok {
		return row.Class
	}
	return ClassInfrastructure
}

// Class says whose concern a code is.
type Class int

const (
	// ClassInfrastructure is trouble between the connector and the directory.
	// Nothing is known about the password; another connector may do better. It
	// is the zero value, so that what was forgotten fails closed.
	ClassInfrastructure Class = iota
	// ClassUser is a refusal because of the name, the password or the state of
	// the account. Another connector would answer the same: do not try again.
	ClassUser
	// ClassSuccess is a valid password of a usable account.
	ClassSuccess
)

// String returns the class in lower case, as metrics and logs use it.
func (c Class) String() string {
	switch c {
	case ClassUser:
		return "user"
	case ClassSuccess:
		return "success"
	default:
		return "infrastructure"
	}
}
