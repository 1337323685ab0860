// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import "slices"

// AADSTS is one error of the cloud's sign-in page.
type AADSTS struct {
	Number  int
	Name    string
	Meaning string
	Action  string
}

// Reasons returns the rows that lead to this error; none for errors that the
// cloud finds by itself.
func (a AADSTS) Reasons() []Row {
	var reasons []Row
	for _, row := range rows {
		if row.AADSTS == a.Number {
			reasons = append(reasons, row)
		}
	}
	return reasons
}

// LookupAADSTS returns what is known about the error of that number, such as
// 80004 for AADSTS80004 (protocol section 8.2).
func LookupAADSTS(number int) (AADSTS, bool) {
	i := slices.IndexFunc(signInErrors, func(e AADSTS) bool { return e.Number == number })
	if i < 0 {
		return AADSTS{}, false
	}
	return signInErrors[i], true
}

// SignInErrors returns every error that LookupAADSTS knows, in order.
func SignInErrors() []AADSTS { return slices.Clone(signInErrors) }

var signInErrors = []AADSTS{
	{50034, "UserAccountNotFound", "The user account does not exist.",
		"Check the name, and that the account exists on premises and in the cloud."},
	{50053, "IdsLocked", "The account is locked: by smart lockout in the cloud, or in the directory.",
		"If the connector logged 1909, unlock the account in the directory; otherwise wait for smart lockout to end and find what sends wrong passwords."},
	{50055, "InvalidPasswordExpiredPassword", "The password has expired.",
		"Let the user change the password."},
	{50056, "InvalidPasswordNullPassword", "The account has no password in the cloud's directory.",
		"Reset the user's password."},
	{50057, "UserDisabled", "The account is disabled or has expired.",
		"Enable the account in the directory if the user should have access."},
	{50126, "InvalidUserNameOrPassword", "The user name or the password is wrong.",
		"Let the user try again or reset the password."},
	{50144, "InvalidPasswordExpiredOnPremPassword", "The password has expired in the on-premises directory.",
		"Let the user change the password in the directory or, where write-back is enabled, on the sign-in page."},
	{80001, "OnPremiseStoreIsNotAvailable", "No connector is available, or the connector cannot reach the directory.",
		"Check that connectors are ready (kubectl get passthroughconnectors), then their path to the domain controllers."},
	{80002, "OnPremisePasswordValidatorRequestTimedout", "The connector gave no answer in time.",
		"Check the connector's log and metrics for slow or stuck validations, and the network to the cloud's response endpoints."},
	{80003, "OnPremisePasswordValidatorInvalidResponse", "The connector's answer was not valid.",
		"Update the connector. If it persists, report it with the request id."},
	{80004, "OnPremisePasswordValidatorIncorrectUserName", "The user name that was sent to the connector was not valid.",
		actName},
	{80005, "OnPremisePasswordValidatorUnpredictableWebException", "The cloud failed to process the connector's answer.",
		"Let the user try again. If it persists, report it with the request id."},
	{80007, "OnPremisePasswordValidatorErrorOccurredOnPrem", "The connector could not validate the password.",
		"Look for the request id in the connector's log, and explain the reason that is logged there."},
	{80010, "OnPremisePasswordValidationEncryptionException", "The connector could not decrypt the password.",
		"Register the connector again if it persists: its key may not be the one that the cloud knows."},
	{80011, "OnPremisePasswordValidatorDecryptionKeyNotFound", "The connector has no key for the password that was sent.",
		"Compare the certificate's thumbprint in the connector's status with the portal; register the connector again if they differ."},
	{80012, "OnPremisePasswordValidationAccountLogonInvalidHours", "The account may not sign in at this time of day.",
		"Change the account's logon hours in the directory, or let the user sign in within them."},
	{80013, "OnPremisePasswordValidationTimeSkew", "The clocks of the connector and of the directory differ.",
		"Synchronise the time of the connector's node with that of the domain."},
	{80014, "OnPremisePasswordValidationAuthenticationAgentTimeout", "The connector's answer came after the maximum time.",
		"Check the connector's log and metrics for slow validations, and the load of the domain controllers."},
}
