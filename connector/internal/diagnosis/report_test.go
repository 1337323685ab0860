// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files and the catalogue in docs/diagnose.md")

// example has every result and every member.
func example() *Report {
	r := &Report{
		APIVersion: APIVersion, Version: "v1.2.3", Time: time.Date(2026, 11, 25, 10, 30, 0, 0, time.UTC),
		TenantID: "6f5e4d3c-2b1a-4908-8716-253443526170", ConnectorID: "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5", MachineName: "corp-0",
		System: "windows/amd64", Transport: "WebSocket", Method: "LDAP", Ports: "HTTPSOnly",
	}
	r.Add(
		Entry{Check: IdentityFiles, Subject: `C:\identity\tls.crt`, Result: OK, Found: "certificate 00AA of connector 0c1d", Milliseconds: 3},
		Entry{Check: NamesSRV, Subject: "_ldap._tcp.dc._msdcs.contoso.example", Result: Skipped, Found: "none need to be", Milliseconds: 12},
		Entry{Check: Clock, Subject: "t.bootstrap.example", Result: Warn, Found: "this machine is 2m0s ahead of the service", Meaning: "beyond five minutes <tokens> & tickets are refused", Action: "set the clock", Milliseconds: 40},
		Entry{Check: Ports, Subject: "ns.servicebus.example:443", Result: Fail, Found: "no answer within 6s", Meaning: "the connector cannot reach what it needs", Action: "open TCP 443", Milliseconds: 6001},
	)
	return r
}

func TestReportsKeepTheirForm(t *testing.T) {
	for format, file := range map[string]string{"table": "report.txt", "json": "report.json"} {
		t.Run(format, func(t *testing.T) {
			var b bytes.Buffer
			if err := example().Write(&b, format); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", file)
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("the form of reports has changed, which scripts read (-want +got):\n%s", diff)
			}
		})
	}
	if err := example().Write(&bytes.Buffer{}, "xml"); err == nil || !strings.Contains(err.Error(), "use table or json") {
		t.Errorf("another format: %v", err)
	}
}

// What an earlier version wrote is read by this one without a loss.
func TestReportsAreReadBack(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var got Report
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), &got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOnlyAFailureFails(t *testing.T) {
	for _, tc := range []struct {
		results []Result
		failed  bool
		verdict string
	}{
		{[]Result{OK, Skipped}, false, "1 ok, 0 warn, 0 fail, 1 skipped: nothing stands"},
		{[]Result{OK, Warn}, false, "can serve; look at the warnings"},
		{[]Result{OK, Warn, Fail}, true, "cannot serve"},
	} {
		r := &Report{}
		for _, result := range tc.results {
			r.Add(Entry{Result: result})
		}
		if r.Failed() != tc.failed || !strings.Contains(r.verdict(), tc.verdict) {
			t.Errorf("%v: failed %t, %q", tc.results, r.Failed(), r.verdict())
		}
	}
}

// docsFile is the page that the catalogue is written out to.
var docsFile = filepath.Join("..", "..", "..", "docs", "diagnose.md")

func TestDocsHoldTheCatalogue(t *testing.T) {
	page, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- catalogue: go test ./connector/internal/diagnosis -run Docs -update -->\n", "<!-- end of the catalogue -->"
	before, rest, found := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the catalogue", docsFile)
	}
	var b strings.Builder
	b.WriteString("| Check | What it proves |\n|---|---|\n")
	for _, e := range Catalogue() {
		b.WriteString("| `" + string(e.Kind) + "` | " + e.Proves + " |\n")
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(page)); diff != "" {
		t.Errorf("docs/diagnose.md is not the catalogue; run this test with -update (-want +got)\n%s", diff)
	}
}
