// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func newLDAP(t *testing.T, opts LDAPOptions) *LDAP {
	t.Helper()
	l, err := NewLDAP(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestRouting(t *testing.T) {
	server := func(name string) []string { return []string{"ldaps://" + name} }
	l := newLDAP(t, LDAPOptions{Forests: []Forest{
		{Suffixes: []string{"contoso.example", ".Fabrikam.Example"}, Servers: server("contoso")},
		{Servers: server("default")},
		{Suffixes: []string{"eu.contoso.example"}, Servers: server("europe")},
	}})
	for suffix, want := range map[string]string{
		"contoso.example":          "contoso:636",
		"us.contoso.example":       "contoso:636",
		"fabrikam.example":         "contoso:636",
		"eu.contoso.example":       "europe:636",
		"paris.eu.contoso.example": "europe:636",
		"neu.contoso.example":      "contoso:636",
		"notcontoso.example":       "default:636",
		"example":                  "default:636",
	} {
		if got := l.route(suffix).servers[0].address; got != want {
			t.Errorf("%s leads to %s, want %s", suffix, got, want)
		}
	}
	for i, suffix := range l.ProbeSuffixes() {
		if l.route(suffix) != l.forests[i] {
			t.Errorf("the canary under %s does not reach forest %d", suffix, i)
		}
	}

	strict := newLDAP(t, LDAPOptions{Forests: []Forest{{Suffixes: []string{"contoso.example"}, Servers: server("contoso")}}})
	if strict.route("fabrikam.example") != nil {
		t.Error("a suffix of no forest leads to one")
	}
}

func TestServerAddresses(t *testing.T) {
	l := newLDAP(t, LDAPOptions{Forests: []Forest{{Servers: []string{
		"ldaps://dc1.contoso.example", "ldaps://dc2.contoso.example:3269", "ldaps://192.0.2.1/", "ldaps://[2001:db8::1]:636",
	}}}})
	var addresses, names []string
	for _, s := range l.forests[0].servers {
		addresses, names = append(addresses, s.address), append(names, s.tls.ServerName)
	}
	if diff := cmp.Diff([]string{"dc1.contoso.example:636", "dc2.contoso.example:3269", "192.0.2.1:636", "[2001:db8::1]:636"}, addresses); diff != "" {
		t.Errorf("addresses (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"dc1.contoso.example", "dc2.contoso.example", "192.0.2.1", "2001:db8::1"}, names); diff != "" {
		t.Errorf("names to verify (-want +got)\n%s", diff)
	}
}

func TestOptionsAreCheckedAllAtOnce(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"ldaps://dc1.contoso.example"}
	for name, tc := range map[string]struct {
		forests []Forest
		want    []string
	}{
		"no forests": {nil, []string{"no forest"}},
		"several faults": {[]Forest{
			{Suffixes: []string{"contoso.example"}},
			{Suffixes: []string{"CONTOSO.example.", "@", ""}, Servers: []string{
				"ldap://dc1.contoso.example", "dc1.contoso.example", "ldaps://", "ldaps://user:pw@dc1.contoso.example", "ldaps://dc1/dc=x", "ldaps://dc1?x", "https://dc1", "://",
			}},
			{CAFile: notPEM, Servers: good},
			{CAFile: notPEM + ".missing", Servers: good},
		}, []string{
			"forest 0: it has no servers", `suffix "contoso.example" is listed for forest 0 and again for forest 1`, `"@" is not a name suffix`, `"" is not a name suffix`,
			`"ldap://dc1.contoso.example" must be`, `"dc1.contoso.example" must be`, `"ldaps:" must be`, `"ldaps://dc1/dc=x" must be`, `"ldaps://dc1?x" must be`, `"https://dc1" must be`, `"://" is not a URL`,
			"forest 2: the CA bundle", "forest 3: read the CA bundle", "forests 2 and 3 both have no suffixes",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewLDAP(LDAPOptions{Forests: tc.forests})
			if err == nil {
				t.Fatal("the options are taken")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}
