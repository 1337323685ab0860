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

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stopWhenServing ends a run as soon as it has logged that it serves.
type stopWhenServing struct {
	bytes.Buffer
	stop context.CancelFunc
}

func (w *stopWhenServing) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(`"msg":"serving"`)) {
		w.stop()
	}
	return w.Buffer.Write(p)
}

func TestWritesTheReadyFileAndStops(t *testing.T) {
	dir := t.TempDir()
	readyFile := filepath.Join(dir, "ready.json")
	ctx, stop := context.WithCancel(t.Context())
	logs := &stopWhenServing{stop: stop}
	if err := run(ctx, []string{"--listen", "127.0.0.1:0", "--dir", filepath.Join(dir, "state"), "--ready-file", readyFile}, logs); err != nil {
		t.Fatalf("it ended with %v; its log: %s", err, logs)
	}
	b, err := os.ReadFile(readyFile)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got["address"], "127.0.0.1:") || strings.HasSuffix(got["address"], ":0") {
		t.Errorf("the address is %q, want the one it listened on", got["address"])
	}
	if want := filepath.Join(dir, "state", "ca.pem"); got["caFile"] != want {
		t.Errorf("the CA file is %q, want %q", got["caFile"], want)
	}
	if _, err := os.Stat(got["caFile"]); err != nil {
		t.Error(err)
	}
}

func TestWrongArguments(t *testing.T) {
	for name, args := range map[string][]string{
		"no directory for the CA": {"--listen", "127.0.0.1:0"},
		"an unknown flag":         {"--dir", t.TempDir(), "--verbose"},
		"an argument left over":   {"--dir", t.TempDir(), "serve"},
	} {
		t.Run(name, func(t *testing.T) {
			var usage usageError
			if err := run(t.Context(), args, io.Discard); !errors.As(err, &usage) {
				t.Errorf("got %v, want a usage error", err)
			}
		})
	}
	var usage usageError
	if err := run(t.Context(), []string{"--dir", t.TempDir(), "--listen", "0.0.0.0:0"}, io.Discard); err == nil || errors.As(err, &usage) {
		t.Errorf("a public address gave %v, want a failure to start", err)
	}
}
