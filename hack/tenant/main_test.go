// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUsageErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nothing":           {nil, "usage: tenant serve"},
		"another command":   {[]string{"start"}, "usage: tenant serve"},
		"an unknown flag":   {[]string{"serve", "--port", "1"}, "flag provided but not defined"},
		"an extra argument": {[]string{"serve", "now"}, `unexpected argument "now"`},
		"no directory":      {[]string{"serve", "--tenant-id", "6f5e4d3c-2b1a-4908-8716-253443526170"}, "--dir"},
		"a public address":  {[]string{"serve", "--dir", "d", "--tenant-id", "6f5e4d3c-2b1a-4908-8716-253443526170", "--listen", "0.0.0.0"}, "neither a loopback address"},
		"the real service":  {[]string{"serve", "--dir", "d", "--tenant-id", "6f5e4d3c-2b1a-4908-8716-253443526170", "--service-domain", "msappproxy.net"}, "must not stand in"},
		"several faults":    {[]string{"serve", "--tenant-id", "x"}, "--dir must name the directory for the tenant's state\n--tenant-id"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(t.Context(), tc.args, &stderr); code != exitUsage || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("exit code %d, %q; want %d and %q", code, stderr.String(), exitUsage, tc.want)
			}
		})
	}
}

func TestServeUntilStopped(t *testing.T) {
	dir := t.TempDir()
	readyFile := filepath.Join(dir, "run", "ready.json")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--dir", filepath.Join(dir, "state"), "--tenant-id", "6F5E4D3C-2B1A-4908-8716-253443526170", "--ready-file", readyFile}, io.Discard)
	}()
	var ready map[string]string
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ready == nil {
		data, err := os.ReadFile(readyFile)
		if err == nil {
			if err := json.Unmarshal(data, &ready); err != nil {
				t.Fatalf("the ready file appeared before it was whole: %v", err)
			}
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case code := <-ended:
			t.Fatalf("the tenant ended with code %d before it was ready", code)
		case <-deadline:
			t.Fatal("the tenant was not ready in time")
		}
	}
	for _, key := range []string{"tls", "proxy", "web", "caFile", "tenantID", "registrationURL", "bootstrapURL"} {
		if ready[key] == "" {
			t.Errorf("the ready file lacks %s: %v", key, ready)
		}
	}
	if ready["tenantID"] != "6f5e4d3c-2b1a-4908-8716-253443526170" {
		t.Errorf("tenantID is %q, want it in lower case", ready["tenantID"])
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d after a stop, want %d", code, exitOK)
	}
	if _, err := os.Stat(readyFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ready file is still there: %v", err)
	}
}
