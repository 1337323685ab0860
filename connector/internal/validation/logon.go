// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

// ErrSecureChannel means that the computer could not use its trust with the
// domain, or found no domain controller. With a group managed service account
// this can last until the container is started again, so a caller that sees it
// for minutes should end the process.
var ErrSecureChannel = errors.New("the connector's computer has no working secure channel to the domain")

// errLoggedOn marks a refusal of ours of a name that the system did log on. To
// the canary that is an acceptance: what accepts a random name, as whatever
// account, is not to be trusted.
var errLoggedOn = errors.New("the system logged the name on, but not as an account of a domain")

// token is an open handle of a logon, which the system counts as a user who is
// logged on until it is closed.
type token uintptr

// account is whom a token stands for.
type account struct {
	sid   string // in its text form
	local bool   // of the computer itself rather than of a domain
}

// logons are the calls of the system that LogonUser makes. None of them can be
// cancelled.
type logons interface {
	// check tells why no logon can be made or judged; nil if it can.
	check() error
	// logon makes a network logon with the default provider. The slices end with
	// a zero; domain may be nil. It neither keeps nor copies password. The token
	// must be closed if errno is 0.
	logon(user, domain, password []uint16) (t token, errno uint32)
	// whose tells whom a token stands for.
	whose(t token) (account, error)
	// end closes a token.
	end(t token) error
}

// LogonOptions configures LogonUser.
type LogonOptions struct {
	// Tokens, if not nil, learns by how much (+1, -1) the number of open tokens
	// has changed. It is called from several goroutines and must not block.
	Tokens func(delta int)
	// Trouble, if not nil, is called after each logon that failed with
	// ErrSecureChannel. It must not block.
	Trouble func()
}

// LogonUser is a Validator that makes a network logon of the operating system,
// LogonUserW (protocol section 8.1). Create it with [NewLogonUser].
//
// Beside what the system answers, its codes are: 1326 for an empty password and
// 87 for a name without a domain, neither of which reaches the system; 1359 for
// an answer that is not in the table and for a logon of an account that is not a
// domain's; 1450 when there was no time left.
//
// Unlike other validators it does not return when its context ends: a logon
// cannot be cancelled, and can last minutes when no domain controller answers.
// Use it behind a [Limit] alone, for the canary too: that bounds the logons and
// the threads they hold, and counts those that hang.
type LogonUser struct {
	system logons
	opts   LogonOptions
}

func newLogonUser(system logons, opts LogonOptions) *LogonUser {
	if opts.Tokens == nil {
		opts.Tokens = func(int) {}
	}
	if opts.Trouble == nil {
		opts.Trouble = func() {}
	}
	return &LogonUser{system: system, opts: opts}
}

// Validate logs the account on once, and never again after a refusal, since
// each wrong password counts towards locking the account. upn is a user
// principal name, in which case domain is left out, as the system demands; or a
// name without a domain part (sAMAccountName), which domain then completes.
//
// It empties password: the bytes go into one UTF-16 buffer, which is zeroed
// when the system has returned.
func (l *LogonUser) Validate(ctx context.Context, upn, domain string, password *secret.Buffer) Result {
	user, in, err := logonName(upn, domain)
	if err != nil {
		return Refused(InvalidParameter, err)
	}
	if err := checkPassword(password); err != nil {
		return Refused(LogonFailure, err)
	}
	if err := l.system.check(); err != nil {
		return Refused(InternalError, err)
	}
	// The last moment at which giving up costs nothing.
	if ctx.Err() != nil {
		return Refused(NoSystemResources, fmt.Errorf("there was no time left for a logon: %w", context.Cause(ctx)))
	}
	wide, err := widen(password.Bytes())
	password.Zero()
	defer clear(wide[:cap(wide)])
	if err != nil {
		return Refused(InternalError, err)
	}
	t, errno := l.system.logon(user, in, wide)
	clear(wide[:cap(wide)]) // what follows may take a while and needs no password
	if errno != 0 {
		return l.refused(errno)
	}
	return l.loggedOn(t)
}

// loggedOn closes the token, and accepts if it is that of a domain's user. A
// computer with an enabled Guest account logs on any name with any password, as
// Guest.
func (l *LogonUser) loggedOn(t token) Result {
	if t == 0 {
		return Refused(InternalError, fmt.Errorf("%w: there is no token", errLoggedOn))
	}
	l.opts.Tokens(1)
	defer func() {
		if l.system.end(t) == nil { // else it stays open, and counted
			l.opts.Tokens(-1)
		}
	}()
	who, err := l.system.whose(t)
	switch {
	case err != nil:
		return Refused(InternalError, fmt.Errorf("%w that could be found out: %w", errLoggedOn, err))
	case who.local || !isDomainUser(who.sid):
		return Refused(InternalError, fmt.Errorf("%w: it has the security identifier %s", errLoggedOn, who.sid))
	}
	return Accepted()
}

// isDomainUser tells identifiers of accounts in a domain's or a computer's
// database (S-1-5-21-three numbers-relative identifier) from those of the
// system's own, and leaves out Guest.
func isDomainUser(sid string) bool {
	const guest = "501"
	parts := strings.Split(sid, "-")
	return len(parts) == 8 && strings.HasPrefix(sid, "S-1-5-21-") && parts[7] != guest
}

// refused reads the system's error through the table of reasons.
func (l *LogonUser) refused(errno uint32) Result {
	code := Code(int32(errno)) //nolint:gosec // the bits of an HRESULT are meant
	if _, known := Lookup(code); !known {
		return Refused(InternalError, fmt.Errorf("the logon failed for a reason that is not in the table: %d", errno))
	}
	if isSecureChannel(code) {
		l.opts.Trouble()
		return Refused(code, fmt.Errorf("%w: the logon failed with %d", ErrSecureChannel, code))
	}
	return Refused(code, nil)
}

// isSecureChannel tells the codes that a computer gives which has lost the trust
// of its domain or its way to a domain controller.
func isSecureChannel(code Code) bool {
	switch code {
	case NoLogonServers, DomainControllerNotFound, RPCServerUnavailable,
		NoTrustLSASecret, NoTrustSAMAccount, TrustedDomainFailure, TrustedRelationshipFailure, TrustFailure,
		NetlogonNotStarted, NoLogonWorkstationTrustAccount, DomainTrustInconsistent:
		return true
	default:
		return false
	}
}

const (
	maxAccount = 104 // characters that the system takes for a name without a domain
	maxDomain  = 255
	// notInNames are characters that no account and no domain has in its name.
	notInNames = "\"/\\[]:;|=,+*?<>@"
)

// logonName returns the system's arguments. A name without a domain, and the
// domain ".", would be looked for among the computer's own accounts.
func logonName(upn, domain string) (user, in []uint16, err error) {
	if strings.ContainsRune(upn, '@') {
		if _, err := checkName(upn); err != nil {
			return nil, nil, err
		}
		return wideName(upn), nil, nil
	}
	switch {
	case domain == "" || strings.Trim(domain, ". ") == "":
		return nil, nil, errors.New("the user name has no domain part, and the request names no domain")
	case !isPlainName(upn, maxAccount):
		return nil, nil, errors.New("the user name is neither of the form user@domain nor the plain name of an account")
	case !isPlainName(domain, maxDomain):
		return nil, nil, errors.New("the request's domain is not the name of a domain")
	}
	return wideName(upn), wideName(domain), nil
}

func isPlainName(name string, most int) bool {
	return utf8.ValidString(name) && strings.Trim(name, ". ") != "" && utf8.RuneCountInString(name) <= most &&
		!strings.ContainsAny(name, notInNames) && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// wideName returns a name in UTF-16 with a zero at its end.
func wideName(name string) []uint16 { return append(utf16.Encode([]rune(name)), 0) }

// widen returns UTF-8 in UTF-16 with a zero at its end. The contents are never
// in another place: no string is made of them, and the buffer, which is large
// enough from the beginning, does not grow. The caller zeroes it, also after an
// error, to the end of its capacity.
func widen(password []byte) ([]uint16, error) {
	wide := make([]uint16, 0, len(password)+1) // no character takes fewer bytes than units
	for len(password) > 0 {
		r, size := utf8.DecodeRune(password)
		if r == utf8.RuneError && size <= 1 {
			return wide, errors.New("the password is not valid UTF-8, so it was not tried: in other characters it would be another one")
		}
		wide = utf16.AppendRune(wide, r)
		password = password[size:]
	}
	return append(wide, 0), nil
}
