// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ldapserver

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"time"
)

// The directory's one domain and the password of all its users.
const (
	Domain   = "contoso.example"
	NetBIOS  = "CONTOSO"
	Password = "Correct-Horse-7!"
)

// State is the state of an account, as the sub-code that a bind with the right
// password gets; empty for an account in order.
type State string

// The states that Active Directory tells apart.
const (
	Good             State = ""
	Restricted       State = "52f"
	OutsideHours     State = "530"
	WrongWorkstation State = "531"
	PasswordExpired  State = "532"
	Disabled         State = "533"
	AccountExpired   State = "701"
	MustChange       State = "773"
	Locked           State = "775"
)

// User is one account, signed in as Name@contoso.example or CONTOSO\Name with
// the one Password.
type User struct {
	Name  string
	State State
	// Delay is how long the directory takes to answer.
	Delay time.Duration
	// Answer, if set, is given instead of what the password and State call for.
	Answer *Answer
}

// Answer is a bind response, or the lack of one.
type Answer struct {
	Result     int64
	Diagnostic string
	HangUp     bool // close the connection instead
}

// Users returns the accounts of the demo.
func Users() []User {
	return []User{
		{Name: "alice"}, {Name: "bob"}, {Name: "carol"},
		{Name: "dave", State: Disabled},
		{Name: "erin", State: PasswordExpired},
		{Name: "frank", State: MustChange},
		{Name: "grace", State: Locked},
		{Name: "heidi", State: OutsideHours},
		{Name: "victor", Delay: 30 * time.Second},
	}
}

// LDAP result codes (RFC 4511 section 4.1.9) that this directory gives itself.
const (
	resultSuccess                = 0
	resultAuthMethodNotSupported = 7
	resultInvalidCredentials     = 49
)

// refusal is Active Directory's way to say why credentials are invalid. The NUL
// at the end is its own, too.
func refusal(state string) Answer {
	return Answer{Result: resultInvalidCredentials, Diagnostic: fmt.Sprintf(
		"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data %s, v4563\x00", state)}
}

// find returns the user that a bind names, in any case.
func (s *Server) find(name string) (User, bool) {
	name = strings.ToLower(name)
	account, ok := strings.CutSuffix(name, "@"+Domain)
	if !ok {
		if account, ok = strings.CutPrefix(name, strings.ToLower(NetBIOS)+`\`); !ok {
			return User{}, false
		}
	}
	user, ok := s.users[account]
	return user, ok
}

// verdict is the answer to a simple bind.
func (s *Server) verdict(user User, known bool, password []byte) Answer {
	switch right := subtle.ConstantTimeCompare(password, []byte(Password)) == 1; {
	case s.acceptEverything, len(password) == 0:
		return Answer{Result: resultSuccess}
	case !known:
		return refusal("52e")
	case user.Answer != nil:
		return *user.Answer
	case user.State == Locked:
		return refusal(string(Locked))
	case !right:
		return refusal("52e")
	case user.State != Good:
		return refusal(string(user.State))
	default:
		return Answer{Result: resultSuccess}
	}
}
