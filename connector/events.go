// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
)

// Identifiers of events; a source of this kind has 1 to 1000.
const (
	eventInfo    = 1
	eventWarning = 2
	eventError   = 3
)

// maxEvent is the longest text that the event log takes, with room to spare.
const maxEvent = 31000

// events is the event log of Windows.
type events interface {
	Info(id uint32, text string) error
	Warning(id uint32, text string) error
	Error(id uint32, text string) error
}

// logHandler writes logs to stderr and, if there is one, to the event log. What
// is tracing (below information) stays out of the latter.
func logHandler(stderr io.Writer, level slog.Level, log events) slog.Handler {
	lines := slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level})
	if log == nil {
		return lines
	}
	return slog.NewMultiHandler(lines, newEventHandler(log))
}

// eventHandler writes each record as one event, whose text is the same JSON as on
// standard error.
type eventHandler struct {
	slog.Handler
	out *eventWriter
}

// eventWriter is shared by the handlers that were made of one another.
type eventWriter struct {
	mu  sync.Mutex // protects buf
	buf bytes.Buffer
	log events
}

func (w *eventWriter) Write(p []byte) (int, error) { return w.buf.Write(p) }

func newEventHandler(log events) slog.Handler {
	out := &eventWriter{log: log}
	return eventHandler{slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelInfo}), out}
}

// Handle implements slog.Handler.
func (h eventHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.buf.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	line := bytes.TrimSpace(h.out.buf.Bytes())
	text := string(line[:min(len(line), maxEvent)])
	switch {
	case r.Level >= slog.LevelError:
		return h.out.log.Error(eventError, text)
	case r.Level >= slog.LevelWarn:
		return h.out.log.Warning(eventWarning, text)
	default:
		return h.out.log.Info(eventInfo, text)
	}
}

// WithAttrs implements slog.Handler.
func (h eventHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return eventHandler{h.Handler.WithAttrs(attrs), h.out}
}

// WithGroup implements slog.Handler.
func (h eventHandler) WithGroup(name string) slog.Handler {
	return eventHandler{h.Handler.WithGroup(name), h.out}
}
