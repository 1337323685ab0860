// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mustLog writes the text as one stream of a fresh log.
func mustLog(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c", "0.log")
	log, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	stdout := log.Stream("stdout")
	if _, err := io.WriteString(stdout, text); err != nil {
		t.Fatal(err)
	}
	if err := stdout.Close(); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustCopy(t *testing.T, path string, options Options) string {
	t.Helper()
	var output bytes.Buffer
	if err := Copy(t.Context(), &output, path, options, func() bool { return true }, func() {}); err != nil {
		t.Fatal(err)
	}
	return output.String()
}

func TestCopy(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	two, none := int64(2), int64(0)
	tests := map[string]struct {
		text    string
		options Options
		want    string
	}{
		"everything, with a last line that has no end": {text: "a\nb\nc", want: "a\nb\nc\n"},
		"the last lines":                 {text: "a\nb\nc\n", options: Options{Tail: &two}, want: "b\nc\n"},
		"more last lines than there are": {text: "a\n", options: Options{Tail: &two}, want: "a\n"},
		"no last lines":                  {text: "a\n", options: Options{Tail: &none}, want: ""},
		"nothing that is too old":        {text: "a\n", options: Options{Since: time.Now().Add(time.Hour)}, want: ""},
		"what is young enough":           {text: "a\n", options: Options{Since: time.Now().Add(-time.Hour)}, want: "a\n"},
		"a line too long is whole again": {text: long + "\nb\n", want: long + "\nb\n"},
		"empty lines stay":               {text: "\n\na\n", want: "\n\na\n"},
		"no more bytes than the limit":   {text: "abc\ndef\n", options: Options{LimitBytes: 5}, want: "abc\nd"},
		"an empty log":                   {},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := mustCopy(t, mustLog(t, test.text), test.options); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCopyWithTimestamps(t *testing.T) {
	got := mustCopy(t, mustLog(t, "a b\n"), Options{Timestamps: true})
	stamp, text, _ := strings.Cut(got, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || text != "a b\n" {
		t.Errorf("got %q, want a time and the line", got)
	}
}

func TestCopyFollowsUntilTheContainerEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	log, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	reader, writer := io.Pipe()
	var ended atomic.Bool
	result := make(chan error, 1)
	go func() {
		err := Copy(context.Background(), writer, path, Options{Follow: true}, ended.Load, func() {})
		_ = writer.Close()
		result <- err
	}()
	stdout := log.Stream("stdout")
	for _, line := range []string{"first\n", "second\n"} {
		if _, err := io.WriteString(stdout, line); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(line))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != line {
			t.Fatalf("read %q, %v; want %q", got, err, line)
		}
	}
	if _, err := io.WriteString(stdout, "last\n"); err != nil {
		t.Fatal(err)
	}
	ended.Store(true)
	rest, err := io.ReadAll(reader)
	if err != nil || string(rest) != "last\n" {
		t.Errorf("read %q, %v; want the last line and the end", rest, err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestTailIsEmptyWithoutALog(t *testing.T) {
	if got := Tail(filepath.Join(t.TempDir(), "absent"), 10, 10); got != "" {
		t.Errorf("got %q", got)
	}
	path := mustLog(t, "one\ntwo\nthree\n")
	if got := Tail(path, 2, 7); got != "\nthree\n" {
		t.Errorf("got %q", got)
	}
}
