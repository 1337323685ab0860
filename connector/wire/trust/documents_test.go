// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a document with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(strings.TrimSuffix(string(want), "\n"), string(got)); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", file, diff)
	}
}

func testdata(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

var server1 = SystemSettings{
	MachineName: "server1.contoso.example",
	OSLanguage:  "1033",
	OSLocale:    "0409",
	OSSKU:       "8",
	OSVersion:   "10.0.20348",
}

// fakeDER stands for a request or certificate where only its way through the
// document matters.
var fakeDER = []byte("\x30\x0Bnot a thing")

func registration() RegistrationRequest {
	return RegistrationRequest{
		CSR:           fakeDER,
		Token:         "synthetic.token.value",
		TenantID:      "6f5e4d3c-2b1a-4908-8716-253443526170",
		UserAgent:     "PassthroughAuthenticationConnector/1.5.3437.0",
		ModuleVersion: "1.5.3437.0",
		System:        server1,
	}
}

func TestRegistrationRequest(t *testing.T) {
	want := registration()
	doc, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "registration-request.xml", doc)
	got, err := ParseRegistrationRequest(doc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// The documents of other implementations differ in wrapping, namespaces and
// order; the meaning must not.
func TestRegistrationRequestOfAnotherClient(t *testing.T) {
	got, err := ParseRegistrationRequest(testdata(t, "registration-request-other-client.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(registration(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRenewalRequest(t *testing.T) {
	want := RenewalRequest{CSR: fakeDER, ConnectorVersion: "1.5.2482.0", System: server1}
	doc, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "renewal-request.xml", doc)
	got, err := ParseRenewalRequest(doc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestResults(t *testing.T) {
	for name, tc := range map[string]struct {
		file    string
		result  Result
		marshal func(Result) ([]byte, error)
	}{
		"a registration that succeeded": {"registration-result.xml", Result{Certificate: fakeDER, Successful: true}, MarshalRegistrationResult},
		"a registration that failed":    {"registration-result-failed.xml", Result{ErrorMessage: "The token has <expired>."}, MarshalRegistrationResult},
		"a renewal that succeeded":      {"renewal-result.xml", Result{Certificate: fakeDER, Successful: true}, MarshalRenewalResult},
		"a renewal that failed":         {"renewal-result-failed.xml", Result{ErrorMessage: "Not due."}, MarshalRenewalResult},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := tc.marshal(tc.result)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tc.file, doc)
			got, err := ParseResult(doc)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.result, got); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadersRefuse(t *testing.T) {
	registration := func(b []byte) error { _, err := ParseRegistrationRequest(b); return err }
	renewal := func(b []byte) error { _, err := ParseRenewalRequest(b); return err }
	result := func(b []byte) error { _, err := ParseResult(b); return err }
	for name, tc := range map[string]struct {
		parse func([]byte) error
		in    string
		want  string
	}{
		"a registration without a CSR":        {registration, "<RegistrationRequest/>", "Base64Csr"},
		"a registration with a broken CSR":    {registration, "<RegistrationRequest><Base64Csr>!</Base64Csr></RegistrationRequest>", "base64"},
		"a renewal where a registration is":   {registration, "<TrustRenewalRequest/>", "TrustRenewalRequest"},
		"a renewal without a CSR":             {renewal, "<TrustRenewalRequest/>", "Base64Csr"},
		"a registration with an entity":       {registration, `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><RegistrationRequest><Base64Csr>&x;</Base64Csr></RegistrationRequest>`, "document type"},
		"a result that is HTML":               {result, "<html><body>Bad gateway</body></html>", "html"},
		"a success without a certificate":     {result, "<RegistrationResult><IsSuccessful>true</IsSuccessful></RegistrationResult>", "no certificate"},
		"a success with a broken certificate": {result, "<RegistrationResult><Certificate>!</Certificate><IsSuccessful>true</IsSuccessful></RegistrationResult>", "base64"},
		"a result that is neither":            {result, "<RegistrationResult><IsSuccessful>perhaps</IsSuccessful></RegistrationResult>", "perhaps"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.parse([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestWritersRefuse(t *testing.T) {
	without := func(change func(*RegistrationRequest)) func() error {
		return func() error { r := registration(); change(&r); _, err := r.Marshal(); return err }
	}
	for name, marshal := range map[string]func() error{
		"a registration without a CSR":    without(func(r *RegistrationRequest) { r.CSR = nil }),
		"a registration without a token":  without(func(r *RegistrationRequest) { r.Token = "" }),
		"a registration without a tenant": without(func(r *RegistrationRequest) { r.TenantID = "" }),
		"a renewal without a CSR":         func() error { _, err := RenewalRequest{}.Marshal(); return err },
		"a success without a certificate": func() error { _, err := MarshalRenewalResult(Result{Successful: true}); return err },
		"a failure with a certificate":    func() error { _, err := MarshalRenewalResult(Result{Certificate: fakeDER}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			if marshal() == nil {
				t.Error("no error")
			}
		})
	}
}

func TestNoPrintingRevealsTheToken(t *testing.T) {
	r := registration()
	asJSON, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{r, &r, []RegistrationRequest{r}} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, r.Token) || strings.Contains(out, fmt.Sprintf("%x", r.Token)) {
				t.Errorf("%s prints %s", verb, out)
			}
		}
	}
	if bytes.Contains(asJSON, []byte(r.Token)) {
		t.Errorf("JSON is %s", asJSON)
	}
}

func FuzzParseRegistrationRequest(f *testing.F) {
	f.Add(testdata(f, "registration-request.xml"))
	f.Add(testdata(f, "registration-request-other-client.xml"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRegistrationRequest(data)
		if err != nil {
			return
		}
		doc, err := r.Marshal()
		if err != nil {
			return // it lacks what we would send
		}
		again, err := ParseRegistrationRequest(doc)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}

func FuzzParseRenewalRequest(f *testing.F) {
	f.Add(testdata(f, "renewal-request.xml"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRenewalRequest(data)
		if err != nil {
			return
		}
		doc, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRenewalRequest(doc)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}

func FuzzParseResult(f *testing.F) {
	for _, name := range []string{"registration-result.xml", "registration-result-failed.xml", "renewal-result.xml", "renewal-result-failed.xml"} {
		f.Add(testdata(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseResult(data)
		if err != nil {
			return
		}
		doc, err := MarshalRenewalResult(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseResult(doc)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}
