// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/virtual-kubelet/virtual-kubelet/errdefs"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/containerlog"
)

// fakeLogs knows one container.
type fakeLogs struct{ path string }

func (f fakeLogs) logPath(_ context.Context, namespace, pod, container string, previous bool) (string, func() bool, error) {
	switch {
	case namespace+"/"+pod != "ns/p":
		return "", nil, errdefs.NotFound("no such pod")
	case container != "c":
		return "", nil, errors.New("container is waiting to start")
	case previous:
		return f.path + ".previous", func() bool { return true }, nil
	}
	return f.path, func() bool { return true }, nil
}

func TestHandler(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	log := "2026-11-23T14:00:00Z stdout F one\n2026-11-23T14:00:01Z stdout F two\n"
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler(fakeLogs{path}))
	defer server.Close()
	tests := map[string]struct {
		path     string
		wantCode int
		want     string
	}{
		"a whole log":                     {"/containerLogs/ns/p/c", http.StatusOK, "one\ntwo\n"},
		"the last line":                   {"/containerLogs/ns/p/c?tailLines=1&timestamps=true", http.StatusOK, "2026-11-23T14:00:01Z two\n"},
		"lines since a time":              {"/containerLogs/ns/p/c?sinceTime=2026-11-23T14:00:01Z", http.StatusOK, "two\n"},
		"a followed log that has ended":   {"/containerLogs/ns/p/c?follow=true", http.StatusOK, "one\ntwo\n"},
		"a pod that is not here":          {"/containerLogs/ns/other/c", http.StatusNotFound, "no such pod\n"},
		"a container that has not begun":  {"/containerLogs/ns/p/other", http.StatusBadRequest, "container is waiting to start\n"},
		"a log that is gone":              {"/containerLogs/ns/p/c?previous=true", http.StatusBadRequest, "the container has no such log\n"},
		"a parameter that makes no sense": {"/containerLogs/ns/p/c?tailLines=x", http.StatusBadRequest, "the parameter tailLines is not a number: \"x\"\n"},
		"a command":                       {"/exec/ns/p/c", http.StatusNotImplemented, unserved + "\n"},
		"health":                          {"/healthz", http.StatusOK, "ok"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.wantCode || string(body) != test.want {
				t.Errorf("got %d %q, want %d %q", response.StatusCode, body, test.wantCode, test.want)
			}
		})
	}
}

func TestParseLogOptions(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	tail := int64(10)
	tests := map[string]struct {
		query     string
		want      containerlog.Options
		wantError string
	}{
		"nothing":    {},
		"everything": {query: "follow=true&timestamps=true&tailLines=10&limitBytes=5&sinceSeconds=60", want: containerlog.Options{Follow: true, Timestamps: true, Tail: &tail, LimitBytes: 5, Since: now.Add(-time.Minute)}},
		"a bad time": {query: "sinceTime=yesterday", wantError: "sinceTime is not a time"},
		"a bad age":  {query: "sinceSeconds=x", wantError: "sinceSeconds is not a number"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			query, err := url.ParseQuery(test.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseLogOptions(query, now)
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Errorf("error %v, want one with %q", err, test.wantError)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("options (-want +got), error %v:\n%s", err, diff)
			}
		})
	}
}
