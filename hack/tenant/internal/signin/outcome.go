// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import "github.com/passthrough-dev/connector-operator/connector/wire/signal"

// The errors of a sign-in that no code of a connector stands for.
const (
	noAgent         = 80001
	noAnswer        = 80002
	invalidAnswer   = 80003
	onPremisesError = 80007
	noDecryptionKey = 80011
)

// messages are the texts of the sign-in page by AADSTS number, condensed from
// what the service documents.
var messages = map[int]string{
	50034:           "We couldn't find an account with that user name.",
	50053:           "Your account is temporarily locked to prevent unauthorized use. Try again later, and if you still have trouble, contact your administrator.",
	50057:           "Your account has been disabled. Contact your administrator.",
	50126:           "Your account or password is incorrect.",
	50144:           "Your Active Directory password has expired. You must change it before you can sign in.",
	noAgent:         "The authentication agent is unable to connect to Active Directory, or no agent is available.",
	noAnswer:        "The authentication agent did not answer in time.",
	invalidAnswer:   "An invalid response was received from the authentication agent.",
	80004:           "An incorrect user name was passed to the authentication agent.",
	onPremisesError: "The authentication agent is unable to validate the user's password. See the agent's log.",
	80010:           "The authentication agent is unable to decrypt the password.",
	noDecryptionKey: "The authentication agent is unable to retrieve the decryption key.",
	80012:           "You tried to sign in outside of the permitted hours.",
	80013:           "The clocks of the authentication agent and of Active Directory differ. Fix the time skew and try again.",
}

// reasons maps the Win32 codes that connectors answer with to AADSTS numbers
// (protocol section 8.2). Every other code is a trouble on premises. Where the
// service's own mapping is not documented, the number is the one whose text
// fits best.
var reasons = map[int32]int{
	1326:        50126, // logon failure
	1323:        50126, // wrong password
	1325:        50126, // password restriction
	-2146892994: 50126, // smart card required
	1317:        50034, // no such user
	1328:        80012, // outside logon hours
	1330:        50144, // password expired
	1907:        50144, // password must change
	1331:        50057, // disabled
	1793:        50057, // account expired
	1909:        50053, // locked out
	1311:        noAgent,
	1355:        noAgent,
	1908:        noAgent,
	1722:        noAgent,
	1398:        80013, // time skew
	87:          80004, // malformed user name
	206:         80004,
}

// errorOf returns the AADSTS number for a verdict that is not a success.
func errorOf(r signal.Reason) int {
	switch {
	case r.Text == signal.ReasonEncryptionDataNotFound:
		return noDecryptionKey
	case r.Text != "" || r.Code == 0: // nothing a connector answers with
		return invalidAnswer
	}
	if number, ok := reasons[r.Code]; ok {
		return number
	}
	return onPremisesError
}
