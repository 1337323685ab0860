// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"encoding/base64"
	"testing"

	"github.com/passthrough-dev/connector-operator/connector/wire/vectors"
)

func TestVerdictsOfTheTranscript(t *testing.T) {
	for file, v := range map[string]Verdict{
		"verdict-success": {Authenticated: true, UserPrincipalName: "user@contoso.example"},
		"verdict-1326":    {Reason: Reason{Code: 1326}},
	} {
		t.Run(file, func(t *testing.T) {
			header := vectors.Text(file + ".txt")
			if got := EncodeVerdict(v); got != header {
				t.Errorf("EncodeVerdict = %s\nwant %s", got, header)
			}
			if plain := base64.StdEncoding.EncodeToString([]byte(vectors.Text(file + ".json"))); plain != header {
				t.Error("the transcript's JSON and header differ")
			}
			if got, err := DecodeVerdict(header); err != nil || got != v {
				t.Errorf("DecodeVerdict = %+v, %v; want %+v", got, err, v)
			}
		})
	}
}

func TestDecodeVerdictAcceptsWhatOthersSend(t *testing.T) {
	const auth = `{"ClaimType":"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/authentication","Resource":false}`
	reason := func(r string) string {
		return `[{"ClaimType":"http://msappproxy.net/ws/2015/02/identity/claims/validationfailurereasoning","Resource":` + r + `},` + auth + `]`
	}
	for name, tc := range map[string]struct {
		json string
		want Verdict
		ok   bool
	}{
		"plain slashes, other order": {reason(`1328`), Verdict{Reason: Reason{Code: 1328}}, true},
		"a number in quotes":         {reason(`"1328"`), Verdict{Reason: Reason{Code: 1328}}, true},
		"a negative number":          {reason(`-2146892994`), Verdict{Reason: Reason{Code: -2146892994}}, true},
		"a text":                     {reason(`"EncryptionDataNotFound"`), Verdict{Reason: Reason{Text: ReasonEncryptionDataNotFound}}, true},
		"a reason that is an object": {reason(`{}`), Verdict{}, false},
		"two verdicts":               {`[` + auth + `,` + auth + `]`, Verdict{}, false},
		"no verdict":                 {`[]`, Verdict{}, false},
		"a verdict in quotes":        {`[{"ClaimType":"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/authentication","Resource":"true"}]`, Verdict{}, false},
		"no array":                   {`{}`, Verdict{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeVerdict(base64.StdEncoding.EncodeToString([]byte(tc.json)))
			if (err == nil) != tc.ok || got != tc.want {
				t.Errorf("DecodeVerdict = %+v, %v; want %+v, ok %v", got, err, tc.want, tc.ok)
			}
		})
	}
	if _, err := DecodeVerdict("not base64!"); err == nil {
		t.Error("a header that is not base64 was read")
	}
}

func FuzzDecodeVerdict(f *testing.F) {
	f.Add(vectors.Text("verdict-success.txt"))
	f.Add(vectors.Text("verdict-1326.txt"))
	f.Add(EncodeVerdict(Verdict{Reason: Reason{Text: ReasonEncryptionDataNotFound}}))
	f.Fuzz(func(t *testing.T, header string) {
		v, err := DecodeVerdict(header)
		if err != nil {
			return
		}
		again, err := DecodeVerdict(EncodeVerdict(v))
		if err != nil || again.Authenticated != v.Authenticated {
			t.Errorf("%+v became %+v, %v", v, again, err)
		}
	})
}
