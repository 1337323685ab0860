// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplainTakesWhatAdministratorsFind(t *testing.T) {
	for arg, wantStart := range map[string]string{
		"1328":                           "1328 (0x530) INVALID_LOGON_HOURS\n",
		" 1328\n":                        "1328 (0x530) INVALID_LOGON_HOURS\n",
		"0x530":                          "1328 (0x530) INVALID_LOGON_HOURS\n",
		"0X530":                          "1328 (0x530) INVALID_LOGON_HOURS\n",
		"INVALID_LOGON_HOURS":            "1328 (0x530) INVALID_LOGON_HOURS\n",
		"error_invalid_logon_hours":      "1328 (0x530) INVALID_LOGON_HOURS\n",
		"0":                              "0 (0x0) SUCCESS\n",
		"-2146892994":                    "-2146892994 (0x8009033E) SEC_E_SMARTCARD_LOGON_REQUIRED\n",
		"2148074302":                     "-2146892994 (0x8009033E) SEC_E_SMARTCARD_LOGON_REQUIRED\n",
		"0x8009033E":                     "-2146892994 (0x8009033E) SEC_E_SMARTCARD_LOGON_REQUIRED\n",
		"SEC_E_SMARTCARD_LOGON_REQUIRED": "-2146892994 (0x8009033E) SEC_E_SMARTCARD_LOGON_REQUIRED\n",
		"EncryptionDataNotFound":         "EncryptionDataNotFound\n",
		"encryptiondatanotfound":         "EncryptionDataNotFound\n",
		"AADSTS80004":                    "AADSTS80004 OnPremisePasswordValidatorIncorrectUserName\n",
		"aadsts80004":                    "AADSTS80004 OnPremisePasswordValidatorIncorrectUserName\n",
		"80004":                          "AADSTS80004 OnPremisePasswordValidatorIncorrectUserName\n",
		"AADSTS80002":                    "AADSTS80002 OnPremisePasswordValidatorRequestTimedout\n",
	} {
		got, err := Explain(arg)
		if err != nil {
			t.Errorf("Explain(%q): %v", arg, err)
		} else if !strings.HasPrefix(got, wantStart) {
			t.Errorf("Explain(%q) starts with %q, want %q", arg, strings.SplitAfter(got, "\n")[0], wantStart)
		}
	}
}

func TestExplainPages(t *testing.T) {
	for arg, want := range map[string]string{
		"1328": `1328 (0x530) INVALID_LOGON_HOURS
  Meaning     The account may not sign in at this time of day.
  Class       user
  User sees   AADSTS80012 OnPremisePasswordValidationAccountLogonInvalidHours
  What to do  Change the account's logon hours in the directory, or let the user sign in within them.
`,
		"1331": `1331 (0x533) ACCOUNT_DISABLED
  Meaning     The account is disabled in the directory.
  Class       user
  User sees   AADSTS50057 UserDisabled (inferred, not documented by the service)
  What to do  Enable the account if the user should have access.
`,
		"AADSTS80004": `AADSTS80004 OnPremisePasswordValidatorIncorrectUserName
  Meaning     The user name that was sent to the connector was not valid.
  What to do  Compare the user principal name that is synchronised to the cloud with the one in the directory.
  Caused by   87 INVALID_PARAMETER
              206 FILENAME_EXCED_RANGE
`,
	} {
		got, err := Explain(arg)
		if err != nil {
			t.Errorf("Explain(%q): %v", arg, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Explain(%q) (-want +got)\n%s", arg, diff)
		}
	}
}

func TestExplainSaysWhatItTakes(t *testing.T) {
	for _, arg := range []string{"", "4711", "AADSTS", "AADSTS1", "AADSTSx", "ERROR_", "no such symbol", "0x", "99999999999", "-99999999999", strings.Repeat("9", 4096)} {
		page, err := Explain(arg)
		if err == nil {
			t.Errorf("Explain(%q) = %q, want an error", arg, page)
			continue
		}
		for _, part := range []string{"1328", "0x530", "INVALID_LOGON_HOURS", "EncryptionDataNotFound", "AADSTS80004"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error for %.20q does not name %s: %v", arg, part, err)
			}
		}
		if len(err.Error()) > 500 {
			t.Errorf("the error for %.20q repeats all of it", arg)
		}
	}
}
