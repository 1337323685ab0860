// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// protocolCodes are the rows of protocol section 8.2 with the sign-in errors it
// gives (the first, where it gives several).
var protocolCodes = map[Code]int{
	0: 0, 1326: 50126, 1323: 50126, 1325: 50126, 1317: 50034, 1327: 80007, 1328: 80012, 1329: 80007,
	1330: 50144, 1907: 50144, 1331: 50057, 1793: 50057, 1909: 50053, 1385: 80007,
	1311: 80001, 1355: 80001, 1908: 80001, 1722: 80001, 1726: 80007, 1787: 80007, 1788: 80007, 1789: 80007,
	1792: 80007, 1810: 80007, 1935: 80007, 1398: 80013, 1352: 80007, 1359: 80007, 1364: 80007, 1384: 80007,
	1450: 80007, 1130: 80007, 8: 80007, 14: 80007, 5: 80007, 12: 80007, 1: 80007, 50: 80007,
	87: 80004, 160: 80004, 206: 80004, -2146892994: 50126,
}

func TestEveryCodeOfTheProtocolHasARow(t *testing.T) {
	for code, want := range protocolCodes {
		row, ok := Lookup(code)
		if !ok {
			t.Errorf("code %d has no row", code)
			continue
		}
		// The protocol names two errors for 160 and prefers neither.
		if row.AADSTS != want && code != BadArguments {
			t.Errorf("code %d leads to AADSTS%d, want AADSTS%d", code, row.AADSTS, want)
		}
	}
	if row, ok := LookupText(EncryptionDataNotFound); !ok || row.AADSTS != 80011 || row.Class != ClassInfrastructure {
		t.Errorf("EncryptionDataNotFound has the row %+v, %t", row, ok)
	}
	if _, ok := LookupText(""); ok {
		t.Error("the empty text has a row")
	}
}

func TestRowsAreCompleteAndConsistent(t *testing.T) {
	names, symbols := map[string]bool{}, map[string]bool{}
	for _, row := range Rows() {
		name := row.Name()
		if names[name] && row.Text == "" || symbols[row.Symbol] {
			t.Errorf("%s %s has two rows", name, row.Symbol)
		}
		names[name], symbols[row.Symbol] = true, true
		if row.Symbol == "" || !strings.HasSuffix(row.Meaning, ".") || !strings.HasSuffix(row.Action, ".") {
			t.Errorf("%s: symbol %q, meaning %q and action %q must all be given, the last two as sentences", name, row.Symbol, row.Meaning, row.Action)
		}
		if isSuccess := row.Code == Success && row.Text == ""; isSuccess != (row.Class == ClassSuccess) {
			t.Errorf("%s is of class %s", name, row.Class)
		}
		if _, known := LookupAADSTS(row.AADSTS); !known && row.Class != ClassSuccess {
			t.Errorf("%s leads to AADSTS%d, which is not in the table of sign-in errors", name, row.AADSTS)
		}
	}
}

func TestClasses(t *testing.T) {
	want := map[Class][]Code{
		ClassSuccess: {0},
		ClassUser: {87, 206, 1317, 1323, 1325, 1326, 1327, 1328, 1329, 1330, 1331, 1384, 1385, 1793, 1907, 1909,
			-2146892994},
		ClassInfrastructure: {1, 5, 8, 12, 14, 50, 160, 1130, 1311, 1352, 1355, 1359, 1364, 1398, 1450, 1722, 1726,
			1786, 1787, 1788, 1789, 1790, 1792, 1808, 1810, 1908, 1935,
			2, 1460, 99999, -1}, // the last four are not in the table
	}
	for class, codes := range want {
		for _, code := range codes {
			if got := code.Class(); got != class {
				t.Errorf("%d is of class %s, want %s", code, got, class)
			}
		}
	}
	if got := len(want[ClassSuccess]) + len(want[ClassUser]) + len(want[ClassInfrastructure]) - 4; got != len(byCode) {
		t.Errorf("the test covers %d codes, the table has %d", got, len(byCode))
	}
}

func TestOnlyAcceptedAnswersYes(t *testing.T) {
	type answer struct {
		Accepted bool
		Code     Code
		Class    Class
	}
	for name, tc := range map[string]struct {
		result Result
		want   answer
	}{
		"accepted":                                {Accepted(), answer{true, 0, ClassSuccess}},
		"the zero result":                         {Result{}, answer{false, InternalError, ClassInfrastructure}},
		"code 0 made by hand":                     {Result{Code: Success}, answer{false, InternalError, ClassInfrastructure}},
		"refused with code 0":                     {Refused(Success, nil), answer{false, InternalError, ClassInfrastructure}},
		"refused":                                 {Refused(LogonFailure, nil), answer{false, LogonFailure, ClassUser}},
		"a code that is not in the table":         {Refused(4711, nil), answer{false, 4711, ClassInfrastructure}},
		"accepted and then given an error":        {Result{accepted: true, Err: ErrNotProven}, answer{false, InternalError, ClassInfrastructure}},
		"accepted and then given another code":    {Result{accepted: true, Code: 5}, answer{false, AccessDenied, ClassInfrastructure}},
		"a made-up result with a code for a user": {Result{Code: 1331}, answer{false, AccountDisabled, ClassUser}},
	} {
		t.Run(name, func(t *testing.T) {
			accepted, code := tc.result.Answer()
			if diff := cmp.Diff(tc.want, answer{accepted, code, tc.result.Class()}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
