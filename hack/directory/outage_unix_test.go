// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"log/slog"
	"os"
	"syscall"
	"testing"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

// lines passes on whatever is logged.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestSignalsBeginAndEndAnOutage(t *testing.T) {
	logged := make(lines, 16)
	server, err := ldapserver.Start(t.Context(), ldapserver.Options{
		Listen: "127.0.0.1:0", Dir: t.TempDir(),
		Logger: logr.FromSlogHandler(slog.NewTextHandler(logged, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == "on" {
					return a
				}
				return slog.Attr{}
			},
		})),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	defer outageOnSignal(server)()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		signal syscall.Signal
		want   string
	}{{syscall.SIGUSR1, "on=true\n"}, {syscall.SIGUSR1, "on=true\n"}, {syscall.SIGUSR2, "on=false\n"}} {
		if err := self.Signal(step.signal); err != nil {
			t.Fatal(err)
		}
		if got := <-logged; got != step.want {
			t.Errorf("after %s the outage is %q, want %q", step.signal, got, step.want)
		}
	}
}
