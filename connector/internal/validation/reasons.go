// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import "slices"

// EncryptionDataNotFound is the one reason that is answered as text instead of
// a code: the request held no password encrypted for this connector's key.
const EncryptionDataNotFound = "EncryptionDataNotFound"

// Row is what is known about one reason.
type Row struct {
	// Code is the reason. It is 0, as for success, in the rows of text reasons.
	Code Code
	// Text is the reason of the rows that have no code, and empty in others.
	Text string
	// Symbol is the name of the code in winerror.h, without its ERROR_ prefix.
	Symbol string
	// Meaning completes "the sign-in failed because": a sentence for logs.
	Meaning string
	Class   Class
	// AADSTS is the number on the user's error page; 0 for success.
	AADSTS int
	// AADSTSDocumented tells numbers that the service's documentation ties to
	// the reason from those inferred from its wording (protocol section 8.2).
	AADSTSDocumented bool
	// Action is what an administrator does about it.
	Action string
}

// Name is how the reason is written on the wire and in logs.
func (r Row) Name() string {
	if r.Text != "" {
		return r.Text
	}
	return r.Code.String()
}

// Lookup returns the row of a code. Treat a code without a row as an
// infrastructure fault; [Code.Class] does.
func Lookup(code Code) (Row, bool) {
	row, ok := byCode[code]
	return row, ok
}

// LookupText returns the row of a reason that is answered as text.
func LookupText(text string) (Row, bool) {
	for _, row := range rows {
		if row.Text != "" && row.Text == text {
			return row, true
		}
	}
	return Row{}, false
}

// Rows returns the whole table, in the order in which it is documented: success,
// then what users and accounts cause, then infrastructure.
func Rows() []Row { return slices.Clone(rows) }

var byCode = func() map[Code]Row {
	m := make(map[Code]Row, len(rows))
	for _, row := range rows {
		if row.Text == "" {
			m[row.Code] = row
		}
	}
	return m
}()

// Actions that several rows share.
const (
	actReachDC = "Check name resolution, routes and firewalls from the connector to the domain controllers " +
		"(the servers in the configuration, port 636, for LDAP), and that they are up. Users are not at fault and need do nothing."
	actMachineAccount = "Check the account that the connector's pod runs as (its group managed service account and the " +
		"credential spec) with nltest /sc_verify, and the trusts between the domains; then restart the connector."
	actServer = "Look at the logs of the connector and of the domain controller at the time of the request. If it persists, restart the connector."
	actMemory = "Give the connector's pod more memory, or run more connectors."
	actName   = "Compare the user principal name that is synchronised to the cloud with the one in the directory."
)

// rows is the one table of reasons. docs/reasons.md is generated from it
// (go test ./connector/internal/validation -run Docs -update).
var rows = []Row{
	{Code: Success, Symbol: "SUCCESS", Class: ClassSuccess,
		Meaning: "The password is right and the account may sign in.",
		Action:  "None. If the user still cannot sign in, look at second factors and access policies in the cloud."},

	// The name, the password, the account.
	{Code: LogonFailure, Symbol: "LOGON_FAILURE", Class: ClassUser, AADSTS: 50126, AADSTSDocumented: true,
		Meaning: "The user name is unknown or the password is wrong.",
		Action:  "Let the user try again or reset the password. It counts towards lockout in the cloud and on premises."},
	{Code: WrongPassword, Symbol: "WRONG_PASSWORD", Class: ClassUser, AADSTS: 50126,
		Meaning: "The password is wrong.",
		Action:  "Let the user try again or reset the password."},
	{Code: PasswordRestriction, Symbol: "PASSWORD_RESTRICTION", Class: ClassUser, AADSTS: 50126,
		Meaning: "The password does not meet the domain's password policy.",
		Action:  "Have the user choose a password that meets the policy."},
	{Code: NoSuchUser, Symbol: "NO_SUCH_USER", Class: ClassUser, AADSTS: 50034,
		Meaning: "The account does not exist in the directory.",
		Action:  "Check that the account was not deleted or moved to a directory that the connector does not ask. " + actName},
	{Code: AccountRestriction, Symbol: "ACCOUNT_RESTRICTION", Class: ClassUser, AADSTS: 80007,
		Meaning: "A restriction of the account forbids the sign-in: a blank password, an authentication policy, or hours.",
		Action:  "Look at the account's restrictions and at the authentication policies and silos that apply to it."},
	{Code: InvalidLogonHours, Symbol: "INVALID_LOGON_HOURS", Class: ClassUser, AADSTS: 80012, AADSTSDocumented: true,
		Meaning: "The account may not sign in at this time of day.",
		Action:  "Change the account's logon hours in the directory, or let the user sign in within them."},
	{Code: InvalidWorkstation, Symbol: "INVALID_WORKSTATION", Class: ClassUser, AADSTS: 80007,
		Meaning: "The account may sign in on certain computers only, and the connector's is not one of them.",
		Action:  "Remove the restriction (Log On To) from the account, or add the computers in its list."},
	{Code: PasswordExpired, Symbol: "PASSWORD_EXPIRED", Class: ClassUser, AADSTS: 50144, AADSTSDocumented: true,
		Meaning: "The password was right and has expired.",
		Action:  "Let the user change the password, in the directory or, where write-back is enabled, on the sign-in page."},
	{Code: AccountDisabled, Symbol: "ACCOUNT_DISABLED", Class: ClassUser, AADSTS: 50057,
		Meaning: "The account is disabled in the directory.",
		Action:  "Enable the account if the user should have access."},
	{Code: AccountExpired, Symbol: "ACCOUNT_EXPIRED", Class: ClassUser, AADSTS: 50057,
		Meaning: "The account has passed its expiry date.",
		Action:  "Set a later expiry date if the user should have access."},
	{Code: PasswordMustChange, Symbol: "PASSWORD_MUST_CHANGE", Class: ClassUser, AADSTS: 50144,
		Meaning: "The password was right and must be changed before the first sign-in.",
		Action:  "Let the user change the password, in the directory or, where write-back is enabled, on the sign-in page."},
	{Code: AccountLockedOut, Symbol: "ACCOUNT_LOCKED_OUT", Class: ClassUser, AADSTS: 50053,
		Meaning: "The account is locked in the directory after too many wrong passwords.",
		Action: "Unlock it, and find what sends wrong passwords. The directory's lockout threshold should be higher, " +
			"and its duration longer, than those of the cloud."},
	{Code: LogonTypeNotGranted, Symbol: "LOGON_TYPE_NOT_GRANTED", Class: ClassUser, AADSTS: 80007,
		Meaning: "The account has no right to log on to the connector's computer over the network.",
		Action:  "Grant the right 'Access this computer from the network', and look for a policy that denies it."},
	{Code: SmartcardLogonRequired, Symbol: "SEC_E_SMARTCARD_LOGON_REQUIRED", Class: ClassUser, AADSTS: 50126,
		Meaning: "The account must sign in with a smart card; a password is not enough (0x8009033E).",
		Action:  "Clear 'Smart card is required for interactive logon', or have the user sign in with a certificate."},
	{Code: TooManyContextIDs, Symbol: "TOO_MANY_CONTEXT_IDS", Class: ClassUser, AADSTS: 80007,
		Meaning: "The account is a member of too many groups for a logon token.",
		Action:  "Reduce the groups that the account belongs to, nested ones included."},
	{Code: InvalidParameter, Symbol: "INVALID_PARAMETER", Class: ClassUser, AADSTS: 80004,
		Meaning: "The user name cannot be validated: it has no domain part, is too long, or holds characters that no name has.",
		Action:  actName},
	{Code: FilenameExceedsRange, Symbol: "FILENAME_EXCED_RANGE", Class: ClassUser, AADSTS: 80004,
		Meaning: "The user name is too long.",
		Action:  actName},

	// Between the connector and the directory.
	{Code: NoLogonServers, Symbol: "NO_LOGON_SERVERS", Class: ClassInfrastructure, AADSTS: 80001,
		Meaning: "No domain controller could be reached.",
		Action:  actReachDC},
	{Code: NoSuchDomain, Symbol: "NO_SUCH_DOMAIN", Class: ClassInfrastructure, AADSTS: 80001,
		Meaning: "The domain of the user name is not one that the connector can reach.",
		Action:  "Add the user principal name suffix to a forest in the connector's configuration, or check the trust to that domain."},
	{Code: DomainControllerNotFound, Symbol: "DOMAIN_CONTROLLER_NOT_FOUND", Class: ClassInfrastructure, AADSTS: 80001,
		Meaning: "No domain controller was found for the domain.",
		Action:  actReachDC},
	{Code: RPCServerUnavailable, Symbol: "RPC_S_SERVER_UNAVAILABLE", Class: ClassInfrastructure, AADSTS: 80001,
		Meaning: "The domain controllers answered that they are busy or unavailable.",
		Action:  actReachDC},
	{Code: RPCCallFailed, Symbol: "RPC_S_CALL_FAILED", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The domain controller got the request and gave no answer in time, or lost the connection.",
		Action:  "Look at the load of the domain controllers and at the network path to them."},
	{Code: InternalError, Symbol: "INTERNAL_ERROR", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "Something unexpected failed: for LDAP, a TLS failure or an answer that is neither yes nor no.",
		Action: "Read the connector's log at the time of the request. For a TLS failure, check the CA bundle of the forest, " +
			"and that the server's certificate names the host in the configuration."},
	{Code: NoSystemResources, Symbol: "NO_SYSTEM_RESOURCES", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The connector or the directory is overloaded: no validation slot became free in time.",
		Action:  "Run more connectors, or raise validation.maxConcurrent if the domain controllers have room. Look for stuck validations in the metrics."},
	{Code: TimeSkew, Symbol: "TIME_SKEW", Class: ClassInfrastructure, AADSTS: 80013, AADSTSDocumented: true,
		Meaning: "The clocks of the connector and of the domain controller differ too much.",
		Action:  "Synchronise the time of the connector's node with that of the domain."},
	{Code: NoTrustLSASecret, Symbol: "NO_TRUST_LSA_SECRET", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The connector's computer has no secret for its trust with the domain.",
		Action:  actMachineAccount},
	{Code: NoTrustSAMAccount, Symbol: "NO_TRUST_SAM_ACCOUNT", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The domain has no account for the connector's computer.",
		Action:  actMachineAccount},
	{Code: TrustedDomainFailure, Symbol: "TRUSTED_DOMAIN_FAILURE", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The trust between the connector's domain and the user's domain failed.",
		Action:  actMachineAccount},
	{Code: TrustedRelationshipFailure, Symbol: "TRUSTED_RELATIONSHIP_FAILURE", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The trust between the connector's computer and its domain failed.",
		Action:  actMachineAccount},
	{Code: TrustFailure, Symbol: "TRUST_FAILURE", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The network logon failed because of a trust.",
		Action:  actMachineAccount},
	{Code: NetlogonNotStarted, Symbol: "NETLOGON_NOT_STARTED", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The Netlogon service of the connector's computer is not running.",
		Action:  actMachineAccount},
	{Code: NoLogonWorkstationTrustAccount, Symbol: "NOLOGON_WORKSTATION_TRUST_ACCOUNT", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The account that was used is a computer's trust account.",
		Action:  actMachineAccount},
	{Code: DomainTrustInconsistent, Symbol: "DOMAIN_TRUST_INCONSISTENT", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The domain's name or identifier does not match what the trust says.",
		Action:  actMachineAccount},
	{Code: AuthenticationFirewallFailed, Symbol: "AUTHENTICATION_FIREWALL_FAILED", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "Selective authentication forbids the user to authenticate to the connector's computer.",
		Action:  "Grant 'Allowed to authenticate' on the connector's computer account to the users of the trusted domain."},
	{Code: InvalidServerState, Symbol: "INVALID_SERVER_STATE", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The security authority is in the wrong state for a logon.",
		Action:  actServer},
	{Code: NoSuchPackage, Symbol: "NO_SUCH_PACKAGE", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The authentication package is unknown to the connector's computer.",
		Action:  actServer},
	{Code: NotEnoughServerMemory, Symbol: "NOT_ENOUGH_SERVER_MEMORY", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "A server has not enough memory for the request.",
		Action:  actMemory},
	{Code: NotEnoughMemory, Symbol: "NOT_ENOUGH_MEMORY", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The connector's computer has not enough memory for the request.",
		Action:  actMemory},
	{Code: OutOfMemory, Symbol: "OUTOFMEMORY", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The connector's computer is out of memory.",
		Action:  actMemory},
	{Code: AccessDenied, Symbol: "ACCESS_DENIED", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The connector was denied access while it validated the password.",
		Action:  actMachineAccount},
	{Code: InvalidAccess, Symbol: "INVALID_ACCESS", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "An access code is invalid.",
		Action:  actServer},
	{Code: InvalidFunction, Symbol: "INVALID_FUNCTION", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The function is incorrect.",
		Action:  actServer},
	{Code: NotSupported, Symbol: "NOT_SUPPORTED", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "The request is not supported.",
		Action:  actServer},
	{Code: BadArguments, Symbol: "BAD_ARGUMENTS", Class: ClassInfrastructure, AADSTS: 80007,
		Meaning: "An argument of the logon is not correct.",
		Action:  actServer},

	// Before the directory is asked.
	{Text: EncryptionDataNotFound, Symbol: "EncryptionDataNotFound", Class: ClassInfrastructure, AADSTS: 80011,
		Meaning: "The request held no password that was encrypted for this connector's certificate.",
		Action: "Compare the certificate's thumbprint in the connector's status with the portal. " +
			"Shortly after a renewal or a registration this passes by itself; otherwise register the connector again."},
}
