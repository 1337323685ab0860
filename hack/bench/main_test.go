// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
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
