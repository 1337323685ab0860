// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"
)

const adPrefix = "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error"

func TestCodesInInvalidCredentials(t *testing.T) {
	for name, tc := range map[string]struct {
		diagnostic string
		want       Code
	}{
		"no such user":                 {adPrefix + ", data 525, v4563", 1317},
		"bad password":                 {adPrefix + ", data 52e, v4563", 1326},
		"upper case":                   {adPrefix + ", data 52E, v4563", 1326},
		"with the NUL that AD appends": {adPrefix + ", data 52e, v4563\x00", 1326},
		"restriction":                  {adPrefix + ", data 52f, v4563", 1327},
		"hours":                        {adPrefix + ", data 530, v4563", 1328},
		"workstation":                  {adPrefix + ", data 531, v4563", 1329},
		"password expired":             {adPrefix + ", data 532, v4563", 1330},
		"disabled":                     {adPrefix + ", data 533, v4563", 1331},
		"account expired":              {adPrefix + ", data 701, v4563", 1793},
		"must change":                  {adPrefix + ", data 773, v4563", 1907},
		"locked":                       {adPrefix + ", data 775, v4563", 1909},
		"too many groups":              {adPrefix + ", data 568, v4563", 1384},
		"no logon servers, an infrastructure code": {adPrefix + ", data 51f, v4563", 1311},
		"smart card, an HRESULT":                   {adPrefix + ", data 8009033e, v4563", SmartcardLogonRequired},
		"as Samba writes it":                       {"8009030C: LdapErr: DSID-0C0904DC, comment: AcceptSecurityContext error, data 533, v1db1", 1331},
		"at the end of the text":                   {adPrefix + ", data 533", 1331},
		"no text":                                  {"", 1326},
		"another directory's text":                 {"INVALID_CREDENTIALS: Bind failed", 1326},
		"no digits":                                {adPrefix + ", data , v4563", 1326},
		"zero":                                     {adPrefix + ", data 0, v4563", 1326},
		"digits that run into other letters":       {adPrefix + ", data 533xyz", 1326},
		"a number too large":                       {adPrefix + ", data 123456789, v4563", 1326},
		"a code that is not in the table":          {adPrefix + ", data 52c, v4563", InternalError},
		"an unknown HRESULT":                       {adPrefix + ", data 80090346, v4563", InternalError},
	} {
		t.Run(name, func(t *testing.T) {
			got := credentialsRefused(tc.diagnostic)
			if accepted, code := got.Answer(); accepted || code != tc.want {
				t.Errorf("got %t, %d, want false, %d", accepted, code, tc.want)
			}
			if got.Err != nil && tc.want != InternalError {
				t.Errorf("the directory's own verdict came with the error %v", got.Err)
			}
		})
	}
}

func FuzzSubCode(f *testing.F) {
	for _, seed := range []string{
		"", ", data ", adPrefix + ", data 52e, v4563", adPrefix + ", data 52e, v4563\x00", adPrefix + ", data 0, v1",
		adPrefix + ", data 8009033E, v4563", adPrefix + ", data ffffffff, v", ", data 533, data 52e", ", data \xff52e", "data 52e",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, diagnostic string) {
		result := credentialsRefused(diagnostic)
		accepted, code := result.Answer()
		if accepted || code == Success || result.Class() == ClassSuccess {
			t.Fatalf("a refusal with the text %q became a success", diagnostic)
		}
		if _, known := Lookup(code); !known {
			t.Fatalf("%q gave %d, which is not in the table", diagnostic, code)
		}
		if sub, ok := subCode(diagnostic); ok && !strings.Contains(diagnostic, ", data ") {
			t.Fatalf("%q has no sub-code, yet gave %#x", diagnostic, sub)
		}
	})
}
