// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

func TestNamesThatAreTried(t *testing.T) {
	for upn, want := range map[string]string{
		"alice@contoso.example":                     "contoso.example",
		"ALICE@Contoso.EXAMPLE":                     "contoso.example",
		"first.o'last-x_y!#^~+&@eu.contoso.example": "eu.contoso.example",
		"jürgen müller@contoso.example":             "contoso.example",
		"a@b@contoso.example":                       "contoso.example",
		"alice@corp":                                "corp",
	} {
		if got, err := checkName(upn); err != nil || got != want {
			t.Errorf("checkName(%q) = %q, %v, want %q", upn, got, err, want)
		}
	}
}

func TestNamesThatAreNotTried(t *testing.T) {
	for name, upn := range map[string]string{
		"empty":                     "",
		"no domain part":            "alice",
		"an empty domain part":      "alice@",
		"an empty user part":        "@contoso.example",
		"a domain before the name":  `CONTOSO\alice`,
		"both kinds of domain":      `CONTOSO\alice@contoso.example`,
		"a distinguished name":      "CN=Alice,DC=contoso,DC=example",
		"a canonical name":          "alice@contoso.example/Users/Bob",
		"a service principal name":  "host/dc1.contoso.example",
		"a NUL":                     "alice\x00@contoso.example",
		"a NUL at the end":          "alice@contoso.example\x00",
		"a new line":                "alice\n@contoso.example",
		"bytes that are not UTF-8":  "al\xffice@contoso.example",
		"a domain of dots":          "alice@.",
		"a domain that starts so":   "alice@.example",
		"a space in the domain":     "alice@contoso example",
		"longer than any name":      strings.Repeat("a", 1024) + "@contoso.example",
		"only a local account name": "alice@@",
	} {
		t.Run(name, func(t *testing.T) {
			suffix, err := checkName(upn)
			if err == nil {
				t.Fatalf("%q is tried under %q", upn, suffix)
			}
			if len(upn) > 3 && strings.Contains(err.Error(), upn) {
				t.Errorf("the error quotes the name: %v", err)
			}
		})
	}
}

func FuzzCheckName(f *testing.F) {
	for _, seed := range []string{"alice@contoso.example", "a@b", "@", "a@.", `C\a@b`, "a\x00@b", "CN=a,DC=b@c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, upn string) {
		suffix, err := checkName(upn)
		if err != nil {
			return
		}
		if suffix == "" || len(upn) > maxName || strings.ContainsAny(upn, "\x00\n\\") || !strings.Contains(upn, "@") {
			t.Fatalf("%q passed, with suffix %q", upn, suffix)
		}
	})
}

func TestPasswordsThatAreNotSent(t *testing.T) {
	for name, password := range map[string]*secret.Buffer{
		"none": nil, "empty": secret.New(nil), "empty, with capacity": secret.New(make([]byte, 0, 8)),
		"a NUL": secret.New([]byte{0}), "a NUL in it": secret.New([]byte("abc\x00def")),
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkPassword(password); err == nil {
				t.Error("it would be sent")
			}
		})
	}
	if err := checkPassword(secret.New([]byte("x"))); err != nil {
		t.Errorf("a short password is not sent: %v", err)
	}
}
