// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite docs/reasons.md from the table")

// docsFile is the page that the table is written out to.
var docsFile = filepath.Join("..", "..", "..", "docs", "reasons.md")

func TestDocsHoldTheTable(t *testing.T) {
	want := reasonsPage()
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
		t.Errorf("docs/reasons.md is not the table; run go test ./connector/internal/validation -run Docs -update (-want +got)\n%s", diff)
	}
}

func reasonsPage() string {
	var b strings.Builder
	b.WriteString(`# Reasons and sign-in errors

<!-- Generated from connector/internal/validation/reasons.go. Do not edit:
     go test ./connector/internal/validation -run Docs -update -->

A connector answers each sign-in with yes or with a reason: a Win32 code. For every failure it logs the code with the
request id that is on the user's error page. ` + "`connector explain`" + ` prints the row of a reason, given as a code
(` + "`1328`, `0x530`" + `), a symbol (` + "`INVALID_LOGON_HOURS`" + `) or a sign-in error (` + "`AADSTS80004`" + `).

- **User** reasons are about the name, the password or the account. Another connector would answer the same.
- **Infrastructure** reasons are trouble between the connector and the directory. They are never reported as a wrong
  password, so they lock nobody out. A code that is not in these tables counts as one.

An asterisk marks sign-in errors that are inferred from their wording; the others are documented by the service. The LDAP
column is the ` + "`data`" + ` code by which Active Directory gives the reason when it refuses a bind.

`)
	section(&b, "User", ClassUser)
	section(&b, "Infrastructure", ClassInfrastructure)
	b.WriteString("## Sign-in errors\n\n| Error | Name | Meaning | Reasons | What to do |\n|---|---|---|---|---|\n")
	for _, e := range SignInErrors() {
		var names []string
		for _, row := range e.Reasons() {
			names = append(names, row.Name())
		}
		fmt.Fprintf(&b, "| AADSTS%d | %s | %s | %s | %s |\n", e.Number, e.Name, e.Meaning, strings.Join(names, ", "), e.Action)
	}
	return b.String()
}

func section(b *strings.Builder, title string, class Class) {
	fmt.Fprintf(b, "## %s\n\n| Reason | Symbol | LDAP | Meaning | Sign-in error | What to do |\n|---|---|---|---|---|---|\n", title)
	for _, row := range Rows() {
		if row.Class != class {
			continue
		}
		inferred, data := `\*`, ""
		if row.AADSTSDocumented {
			inferred = ""
		}
		if row.Text == "" {
			data = fmt.Sprintf("%x", uint32(row.Code))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | AADSTS%d%s | %s |\n", row.Name(), row.Symbol, data, row.Meaning, row.AADSTS, inferred, row.Action)
	}
	b.WriteString("\n")
}
