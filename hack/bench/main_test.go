// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReadsWhatGoTestPrints(t *testing.T) {
	got, err := parse("goos: linux\nBenchmarkSignIn-2 \t 1000\t 1500000 ns/op\t 9000 B/op\t 120 allocs/op\n" +
		"BenchmarkSignIn-2 \t 1000\t 1400000 ns/op\t 9001 B/op\t 121 allocs/op\n" +
		"BenchmarkBareOAEP \t 1000\t 1000000 ns/op\t 100 B/op\t 10 allocs/op\nPASS\n")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]result{
		"SignIn":   {[]float64{1500000, 1400000}, []float64{9000, 9001}, []float64{120, 121}},
		"BareOAEP": {[]float64{1000000}, []float64{100}, []float64{10}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("parse (-want +got):\n%s", diff)
	}
}

func TestMedianIsNotMovedByOneSlowRun(t *testing.T) {
	if got := median([]float64{3, 900, 1, 2, 4}); got != 3 {
		t.Errorf("median = %v, want 3", got)
	}
}

func TestRequestsAreCountedByMethod(t *testing.T) {
	read := func(gets, patches string) requests {
		t.Helper()
		r, err := parseRequests(strings.NewReader("# TYPE rest_client_requests_total counter\n" +
			`rest_client_requests_total{code="200",host="127.0.0.1:6443",method="GET"} ` + gets + "\n" +
			`rest_client_requests_total{code="404",host="127.0.0.1:6443",method="GET"} 2` + "\n" +
			`rest_client_requests_total{code="200",host="127.0.0.1:6443",method="PATCH"} ` + patches + "\n" +
			"go_goroutines 12\n"))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	difference := read("1.5e+03", "30").since(read("500", "10"))
	if difference.reads() != 1000 || difference.writes() != 20 {
		t.Errorf("%v reads and %v writes, want 1000 and 20", difference.reads(), difference.writes())
	}
	if _, err := parseRequests(strings.NewReader("go_goroutines 12\n")); err == nil {
		t.Error("metrics without a counter were accepted: nothing would look like no requests")
	}
}

func TestPeakMemory(t *testing.T) {
	got, err := parsePeak("Name:\toperator\nVmPeak:\t 1300000 kB\nVmHWM:\t  102400 kB\nVmRSS:\t 90000 kB\n")
	if err != nil || got != 100 {
		t.Errorf("got %v (%v), want 100 MiB", got, err)
	}
	if _, err := parsePeak("Name:\toperator\n"); err == nil {
		t.Error("a status without a peak was accepted")
	}
}
