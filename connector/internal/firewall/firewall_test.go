// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

var update = flag.Bool("update", false, "rewrite docs/firewall.md from the table")

// docsFile is the page that the list is written out to.
var docsFile = filepath.Join("..", "..", "..", "docs", "firewall.md")

func run(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := Run(args, &out, &errs); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
	return out.String()
}

func TestFormatsSayTheSame(t *testing.T) {
	for _, cloud := range []string{"AzurePublic", "AzureUSGovernment"} {
		for _, profile := range []string{"Documented", "HTTPSOnly"} {
			t.Run(cloud+" "+profile, func(t *testing.T) {
				args := []string{"--cloud=" + cloud, "--ports=" + profile}
				var entries []Entry
				if err := json.Unmarshal([]byte(run(t, append(args, "--format=json")...)), &entries); err != nil {
					t.Fatal(err)
				}
				if len(entries) != len(config.Destinations(config.PortProfile(profile))) {
					t.Errorf("JSON has %d entries", len(entries))
				}
				table, err := csv.NewReader(strings.NewReader(run(t, append(args, "--format=csv")...))).ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(rows(entries), table[1:]); diff != "" {
					t.Errorf("CSV is not what JSON says (-JSON +CSV)\n%s", diff)
				}
				text := run(t, args...)
				if got := strings.Count(text, "\n"); got != len(table) {
					t.Errorf("text has %d lines, CSV %d", got, len(table))
				}
			})
		}
	}
}

func TestListHoldsWhatAFirewallNeeds(t *testing.T) {
	lines := strings.Split(run(t), "\n")
	for _, want := range [][]string{
		{"*.servicebus.windows.net", " 443 ", "Connector", "always"},
		{"*.servicebus.windows.net", " 5671 ", "Connector"},
		{"*.msappproxy.net", " 9090 ", "Operator", "while registering"},
		{"*.msappproxy.net", " 10100-10120 "},
		{"login.microsoftonline.com", " 443 "},
		{"ocsp.digicert.com", " 80 ", "Connector+Operator"},
		{"domain controllers", " 88 ", "UDP+TCP"},
		{"*.servicebus.windows.net", " 9350 ", "if asked for"},
	} {
		if !slices.ContainsFunc(lines, func(line string) bool {
			return !slices.ContainsFunc(want, func(part string) bool { return !strings.Contains(line, part) })
		}) {
			t.Errorf("no line has all of %q", want)
		}
	}
}

func TestMistakesAreExplained(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"a cloud":    {[]string{"--cloud=Moon"}, "use AzurePublic"},
		"a profile":  {[]string{"--ports=All"}, "use Documented or HTTPSOnly"},
		"a format":   {[]string{"--format=xml"}, "use text, json, csv or markdown"},
		"an extra":   {[]string{"please"}, `unexpected argument "please"`},
		"a bad flag": {[]string{"--colour"}, "colour"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Run(tc.args, &bytes.Buffer{}, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}

func TestDocsHoldTheList(t *testing.T) {
	want := page(t)
	if *update {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/firewall.md is not the list; run go test ./connector/internal/firewall -run Docs -update (-want +got)\n%s", diff)
	}
}

func page(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Firewall list

<!-- Generated from connector/config/ports.go. Do not edit:
     go test ./connector/internal/firewall -run Docs -update -->

Everything that the operator and the connectors connect to. Nobody connects to them from outside the cluster. The same list
comes from ` + "`connector firewall`" + `, with ` + "`--format=csv`" + ` or ` + "`--format=json`" + ` for tools, and with ` + "`--cloud=AzureUSGovernment`" + ` for that
cloud. The network policies that the operator applies are made from the same table: see [egress](egress.md).

TLS to the service must not be inspected: connectors prove who they are with a certificate, and inspection breaks that. A
proxy that lets CONNECT through unopened (` + "`spec.service.proxyURL`" + `) needs these openings in the place of the cluster.

A wildcard stands for names of any depth. ` + "`www.microsoft.com`" + ` is needed for ` + "`/pkiops`" + ` alone. The ports of old are what the
service's documentation lists for its first agents; today's service needs 80 and 443.

`)
	for _, section := range []struct {
		title, intro, profile string
	}{
		{"HTTPSOnly", "What `spec.egress.ports: HTTPSOnly` opens.", "HTTPSOnly"},
		{"Documented", "What `spec.egress.ports: Documented` opens: the list above and the ports of old.", "Documented"},
	} {
		b.WriteString("## " + section.title + "\n\n" + section.intro + "\n\n")
		b.WriteString(run(t, "--format=markdown", "--ports="+section.profile))
		b.WriteString("\n")
	}
	b.WriteString("With LDAP validation the only openings towards domain controllers are the ports in the servers' URLs, and name servers.\n")
	return b.String()
}
