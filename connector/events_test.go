// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
)

// eventsFake plays the event log.
type eventsFake struct {
	err error
	got []string
}

func (e *eventsFake) Info(id uint32, text string) error    { return e.note("info", id, text) }
func (e *eventsFake) Warning(id uint32, text string) error { return e.note("warning", id, text) }
func (e *eventsFake) Error(id uint32, text string) error   { return e.note("error", id, text) }

func (e *eventsFake) note(kind string, id uint32, text string) error {
	_, text, _ = strings.Cut(text, `,"level"`) // without the time
	e.got = append(e.got, fmt.Sprintf("%s %d %s", kind, id, text))
	return e.err
}

func TestLogsGoToTheEventLogToo(t *testing.T) {
	fake := &eventsFake{}
	var stderr bytes.Buffer
	handler := logHandler(&stderr, slog.Level(-2), fake)
	log := logr.FromSlogHandler(handler).WithName("part").WithValues("key", "value")
	log.Info("It has started")
	log.V(1).Info("A decision")
	log.Error(errors.New("no way"), "It failed")
	slog.New(handler).WithGroup("group").Warn("Beware", "a", "b")
	want := []string{
		`info 1 :"INFO","msg":"It has started","key":"value","logger":"part"}`,
		`error 3 :"ERROR","msg":"It failed","key":"value","logger":"part","err":"no way"}`,
		`warning 2 :"WARN","msg":"Beware","group":{"a":"b"}}`,
	}
	if diff := cmp.Diff(want, fake.got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := strings.Count(stderr.String(), "\n"); n != 4 {
		t.Errorf("%d lines on standard error, want all 4:\n%s", n, &stderr)
	}
}

func TestAnEventLogThatFailsTakesNothingFromStandardError(t *testing.T) {
	var stderr bytes.Buffer
	log := logr.FromSlogHandler(logHandler(&stderr, slog.LevelInfo, &eventsFake{err: errors.New("full")}))
	log.Info("one")
	log.Info(strings.Repeat("x", 2*maxEvent))
	if n := strings.Count(stderr.String(), "\n"); n != 2 {
		t.Errorf("%d lines on standard error, want 2", n)
	}
}

func TestWithoutAnEventLogThereIsStandardErrorAlone(t *testing.T) {
	var stderr bytes.Buffer
	logr.FromSlogHandler(logHandler(&stderr, slog.LevelInfo, nil)).Info("one")
	if !strings.Contains(stderr.String(), `"msg":"one"`) {
		t.Errorf("got %s", &stderr)
	}
}
