// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

const (
	// reportDeadline bounds one question to a connector, and so what questions add
	// to a pass: they are asked side by side.
	reportDeadline = 2 * time.Second

	// reportsAtOnce bounds how many connectors are asked at the same time.
	reportsAtOnce = 8

	// reportsPerPass bounds how many connectors are asked in one pass. Those that
	// are left are asked in the next.
	reportsPerPass = 16

	// reportLimit bounds an answer.
	reportLimit = 64 << 10
)

// observeReports asks connectors that run: those that are not ready in every
// pass, why; those that are from time to time, what the service says. What they
// tell is remembered until they are asked again.
func (r *Reconciler) observeReports(ctx context.Context, o *observation) {
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, reportsAtOnce)
	)
	for _, in := range r.toAsk(o) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, reportDeadline)
			defer cancel()
			report, err := r.reports.Report(ctx, in.pod.Status.PodIP)
			if err != nil {
				in.reportProblem = err
				return
			}
			in.report = &report
		})
	}
	wg.Wait()
	r.remember(o)
}

// answers reports whether a pod's connector can be asked.
func answers(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != ""
}

// statusReader asks connectors over HTTP.
type statusReader struct{ client *http.Client }

// newStatusReader returns a reporter. It follows no redirect and uses no proxy:
// it speaks to pods by their addresses.
func newStatusReader() statusReader {
	return statusReader{client: &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: reportDeadline}).DialContext,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       reportDeadline,
	}}
}

// Report asks the connector at the IP address.
func (s statusReader) Report(ctx context.Context, address string) (config.Status, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return config.Status{}, errors.New("its pod has no valid address")
	}
	hostPort := net.JoinHostPort(ip.String(), strconv.Itoa(config.DefaultHealthPort))
	return s.read(ctx, "http://"+hostPort+config.StatusPath)
}

func (s statusReader) read(ctx context.Context, url string) (config.Status, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return config.Status{}, fmt.Errorf("asking a connector for its status: %w", err)
	}
	answer, err := s.client.Do(req)
	if err != nil {
		return config.Status{}, errors.New("it does not answer on its status port")
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return config.Status{}, fmt.Errorf("it answers %d when asked for its status", answer.StatusCode)
	}
	var status config.Status
	if err := json.NewDecoder(io.LimitReader(answer.Body, reportLimit)).Decode(&status); err != nil {
		return config.Status{}, errors.New("what it answers when asked for its status is not a connector's")
	}
	return status, nil
}
