// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// pollInterval is how often a followed file is looked at for more.
const pollInterval = 100 * time.Millisecond

// Options selects part of a log, as kubectl logs asks for it. The zero value
// is all there is now.
type Options struct {
	// Tail is the number of last lines; negative or nil is all.
	Tail *int64
	// Since leaves out older lines, if not zero.
	Since time.Time
	// Timestamps puts the time before each line.
	Timestamps bool
	// Follow waits for more until the container has ended.
	Follow bool
	// LimitBytes stops after so many bytes, if positive.
	LimitBytes int64
}

// Copy writes the selected part of the log file to output. With Follow it
// returns when ended says the writer has finished and everything is copied, or
// when the context ends. flush is called when output should reach the reader.
func Copy(ctx context.Context, output io.Writer, path string, options Options, ended func() bool, flush func()) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer func() { _ = file.Close() }()
	if options.Tail != nil && *options.Tail >= 0 {
		if err := seekTail(file, *options.Tail); err != nil {
			return fmt.Errorf("finding the last lines of the log: %w", err)
		}
	}
	lines := &lineReader{source: bufio.NewReader(file)}
	limited := &limiter{output: output, left: options.LimitBytes, unlimited: options.LimitBytes <= 0}
	for {
		// Asked before reading: what is written before the end is then seen.
		finished := !options.Follow || ended()
		if err := lines.copyAvailable(limited, options); err != nil || limited.done() {
			flush()
			return err
		}
		flush()
		if finished {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pollInterval):
		}
	}
}

// Tail returns at most maxBytes of the end of the log's text, for termination
// messages. A log that cannot be read is an empty one.
func Tail(path string, lines int64, maxBytes int) string {
	var text bytes.Buffer
	err := Copy(context.Background(), &text, path, Options{Tail: &lines}, func() bool { return true }, func() {})
	if err != nil {
		return ""
	}
	data := text.Bytes()
	return string(data[max(0, len(data)-maxBytes):])
}

// lineReader keeps the beginning of a line whose end is not written yet.
type lineReader struct {
	source  *bufio.Reader
	pending []byte
}

func (l *lineReader) copyAvailable(output io.Writer, options Options) error {
	for {
		part, err := l.source.ReadBytes('\n')
		l.pending = append(l.pending, part...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
		if _, err := output.Write(render(l.pending, options)); err != nil {
			return fmt.Errorf("sending the log: %w", err)
		}
		l.pending = l.pending[:0]
	}
}

// render turns a stored line into what the reader asked for: nothing if it is
// too old.
func render(line []byte, options Options) []byte {
	fields := bytes.SplitN(line, []byte(" "), 4)
	if len(fields) != 4 {
		return line
	}
	if !options.Since.IsZero() {
		written, err := time.Parse(timeFormat, string(fields[0]))
		if err == nil && written.Before(options.Since) {
			return nil
		}
	}
	text := fields[3]
	if string(fields[2]) == partial {
		text = bytes.TrimSuffix(text, []byte("\n"))
	}
	if options.Timestamps {
		return bytes.Join([][]byte{fields[0], text}, []byte(" "))
	}
	return text
}

// seekTail positions the file at the start of its last n lines, reading
// backwards in blocks.
func seekTail(file *os.File, n int64) error {
	position, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	ends := int64(0) // line ends seen; the file's own last one counts
	for position > 0 {
		size := min(position, int64(len(block)))
		position -= size
		if _, err := file.ReadAt(block[:size], position); err != nil {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if block[i] != '\n' {
				continue
			}
			if ends++; ends == n+1 {
				_, err = file.Seek(position+i+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

// limiter cuts the output off after a number of bytes.
type limiter struct {
	output    io.Writer
	left      int64
	unlimited bool
}

func (l *limiter) done() bool { return !l.unlimited && l.left <= 0 }

func (l *limiter) Write(data []byte) (int, error) {
	if l.unlimited {
		return l.output.Write(data)
	}
	allowed := data[:min(int64(len(data)), max(0, l.left))]
	l.left -= int64(len(allowed))
	if _, err := l.output.Write(allowed); err != nil {
		return 0, err
	}
	return len(data), nil
}
