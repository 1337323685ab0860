// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package containerlog keeps what a container's process wrote, in the format
// container runtimes use: one line per line, each with its time and stream.
//
//	2026-11-23T14:05:06.123456789Z stderr F {"msg":"serving"}
//
// A [Writer] makes such a file, [Copy] answers `kubectl logs` from it.
package containerlog

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	timeFormat = time.RFC3339Nano
	// maxLine is where a line without an end is cut into parts.
	maxLine = 16 << 10
	full    = "F"
	partial = "P"
)

// Writer writes one container's log file. It is safe for concurrent use.
type Writer struct {
	mu   sync.Mutex // protects file
	file *os.File
}

// Create makes the log file and its directory.
func Create(path string) (*Writer, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the log directory: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("making the log file: %w", err)
	}
	return &Writer{file: file}, nil
}

// Stream returns a writer for the process's "stdout" or "stderr". Close it
// when the process has ended, so that a last line without its end is kept.
func (w *Writer) Stream(name string) io.WriteCloser { return &stream{log: w, name: name} }

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }

func (w *Writer) line(stream, tag string, text []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := fmt.Fprintf(w.file, "%s %s %s %s\n", time.Now().UTC().Format(timeFormat), stream, tag, text)
	return err
}

// stream cuts bytes into lines. It is used by one goroutine.
type stream struct {
	log     *Writer
	name    string
	pending []byte
}

func (s *stream) Write(data []byte) (int, error) {
	s.pending = append(s.pending, data...)
	for {
		end := bytes.IndexByte(s.pending, '\n')
		tag, next := full, end+1
		switch {
		case end < 0 && len(s.pending) < maxLine:
			return len(data), nil
		case end < 0 || end > maxLine:
			tag, end, next = partial, maxLine, maxLine
		}
		if err := s.log.line(s.name, tag, s.pending[:end]); err != nil {
			return 0, err
		}
		s.pending = s.pending[next:]
	}
}

func (s *stream) Close() error {
	if len(s.pending) == 0 {
		return nil
	}
	err := s.log.line(s.name, full, s.pending)
	s.pending = nil
	return err
}
