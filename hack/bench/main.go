// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what a connector adds to the one thing it cannot
// avoid. A sign-in must at least decrypt one RSA-2048 block, so that is the
// yardstick: the whole way of a request through the connector, from the bytes
// of the binary signal to the header of the answer, is printed as a multiple
// of one bare decryption measured in the same run. Ratios carry over to other
// machines; the times beside them do not.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// repeats is how often each benchmark runs; the median is printed.
const repeats = 7

// result is what one benchmark measured, per operation.
type result struct {
	nanoseconds, bytes, allocations []float64
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the process ends here, and with it the signal handler
	}
}

func run(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "measuring (about a minute)...")
	results, err := measure(ctx, "./connector/internal/rendezvous", "^Benchmark(SignIn|BareOAEP)$")
	if err != nil {
		return err
	}
	whole, ok1 := results["SignIn"]
	bare, ok2 := results["BareOAEP"]
	if !ok1 || !ok2 {
		return errors.New("BenchmarkSignIn and BenchmarkBareOAEP are not both in connector/internal/rendezvous")
	}
	fmt.Printf("one connector sign-in, from the bytes of the signal to the answer's header (validator excluded):\n\n")
	fmt.Printf("  %-34s %10s %10s %8s\n", "", "time", "memory", "allocs")
	row("bare RSA-2048 OAEP decryption", bare)
	row("whole sign-in", whole)
	fmt.Printf("\n  ratio  %.2f x the time of one decryption, %+.0f allocations\n",
		median(whole.nanoseconds)/median(bare.nanoseconds), median(whole.allocations)-median(bare.allocations))
	return nil
}

func row(name string, r result) {
	fmt.Printf("  %-34s %7.0f µs %8.0f B %8.0f\n", name, median(r.nanoseconds)/1000, median(r.bytes), median(r.allocations))
}

var line = regexp.MustCompile(`^Benchmark([A-Za-z0-9_]+)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op\s+(?:[0-9.]+ MB/s\s+)?([0-9.]+) B/op\s+([0-9.]+) allocs/op`)

func measure(ctx context.Context, pkg, pattern string) (map[string]result, error) {
	cmd := exec.CommandContext(ctx, "go", "test", pkg, "-run", "^$", "-bench", pattern, "-benchmem", "-count", strconv.Itoa(repeats))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running the benchmarks: %w\n%s%s", err, out, stderr.String())
	}
	return parse(string(out))
}

func parse(out string) (map[string]result, error) {
	results := map[string]result{}
	for l := range strings.Lines(out) {
		m := line.FindStringSubmatch(strings.TrimSpace(l))
		if m == nil {
			continue
		}
		var numbers [3]float64
		for i := range numbers {
			n, err := strconv.ParseFloat(m[i+2], 64)
			if err != nil {
				return nil, fmt.Errorf("reading %q: %w", l, err)
			}
			numbers[i] = n
		}
		r := results[m[1]]
		r.nanoseconds = append(r.nanoseconds, numbers[0])
		r.bytes = append(r.bytes, numbers[1])
		r.allocations = append(r.allocations, numbers[2])
		results[m[1]] = r
	}
	return results, nil
}

// median returns the middle of a non-empty list.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
