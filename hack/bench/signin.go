// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// turns is how often both benchmarks run; the median is printed.
const turns = 7

// result is what one benchmark measured, per operation.
type result struct {
	nanoseconds, bytes, allocations []float64
}

// signIns measures what a connector adds to the one thing it cannot avoid. A
// sign-in must at least decrypt one RSA-2048 block, so that is the yardstick.
func signIns(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "measuring sign-ins (about half a minute)...")
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return fmt.Errorf("making a folder for the benchmarks: %w", err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "rendezvous.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, "./connector/internal/rendezvous")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the benchmarks: %w\n%s", err, out)
	}
	// Both are measured by turns, and the ratio is taken turn by turn: whatever
	// else the machine does then slows down both.
	var bare, whole result
	var ratios []float64
	for range turns {
		b, err := measure(ctx, program, "BareOAEP")
		if err != nil {
			return err
		}
		w, err := measure(ctx, program, "SignIn")
		if err != nil {
			return err
		}
		bare, whole = bare.with(b), whole.with(w)
		ratios = append(ratios, w.nanoseconds[0]/b.nanoseconds[0])
	}
	fmt.Printf("one connector sign-in, from the bytes of the signal to the answer's header (network and directory excluded):\n\n")
	fmt.Printf("  %-34s %10s %10s %8s\n", "", "time", "memory", "allocs")
	row("bare RSA-2048 OAEP decryption", bare)
	row("whole sign-in", whole)
	fmt.Printf("\n  ratio  %.2f x the time of one decryption (%.2f to %.2f in %d turns), %+.0f allocations\n",
		median(ratios), slices.Min(ratios), slices.Max(ratios), turns, median(whole.allocations)-median(bare.allocations))
	return nil
}

// with returns r with the measurements of another.
func (r result) with(other result) result {
	return result{
		nanoseconds: append(r.nanoseconds, other.nanoseconds...),
		bytes:       append(r.bytes, other.bytes...),
		allocations: append(r.allocations, other.allocations...),
	}
}

func row(name string, r result) {
	fmt.Printf("  %-34s %7.0f µs %8.0f B %8.0f\n", name, median(r.nanoseconds)/1000, median(r.bytes), median(r.allocations))
}

var line = regexp.MustCompile(`^Benchmark([A-Za-z0-9_]+)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op\s+(?:[0-9.]+ MB/s\s+)?([0-9.]+) B/op\s+([0-9.]+) allocs/op`)

// measure runs one benchmark once.
func measure(ctx context.Context, program, name string) (result, error) {
	cmd := exec.CommandContext(ctx, program, "-test.run", "^$", "-test.bench", "^Benchmark"+name+"$", "-test.benchmem")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("running the benchmark %s: %w\n%s", name, err, out)
	}
	results, err := parse(string(out))
	if err != nil {
		return result{}, err
	}
	r, ok := results[name]
	if !ok {
		return result{}, fmt.Errorf("connector/internal/rendezvous has no benchmark %s:\n%s", name, out)
	}
	return r, nil
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
