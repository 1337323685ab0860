// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// requests are what a client sent to the API server, by HTTP method.
type requests map[string]float64

var requestLine = regexp.MustCompile(`^rest_client_requests_total\{.*method="([A-Z]+)".*\} ([0-9.e+]+)$`)

// parseRequests reads the counters of client-go from metrics.
func parseRequests(metrics io.Reader) (requests, error) {
	found := requests{}
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		m := requestLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", lines.Text(), err)
		}
		found[m[1]] += n
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("the metrics hold no rest_client_requests_total")
	}
	return found, nil
}

// countRequests asks the operator at an address.
func countRequests(ctx context.Context, address string) (requests, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("asking for metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking for metrics: %w", err)
	}
	defer resp.Body.Close()
	return parseRequests(resp.Body)
}

// since are the requests after an earlier count.
func (r requests) since(earlier requests) requests {
	difference := requests{}
	for method, n := range r {
		difference[method] = n - earlier[method]
	}
	return difference
}

func (r requests) reads() float64 { return r[http.MethodGet] }

// writes are all that is not read, dry runs among them.
func (r requests) writes() float64 {
	sum := 0.0
	for method, n := range r {
		if method != http.MethodGet {
			sum += n
		}
	}
	return sum
}

// peakMemory is the largest resident set that a process had, in MiB.
func peakMemory(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the operator's memory: %w", err)
	}
	return parsePeak(string(status))
}

func parsePeak(status string) (float64, error) {
	for l := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(l, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err != nil {
				return 0, fmt.Errorf("reading %q: %w", l, err)
			}
			return kib / 1024, nil
		}
	}
	return 0, fmt.Errorf("the process status holds no VmHWM")
}
