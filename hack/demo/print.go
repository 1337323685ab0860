// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// printer writes for a person who watches: one line per step, what is being
// waited for and for how long, commands as they would be typed.
type printer struct {
	w       io.Writer
	colour  bool
	steps   int
	started time.Time
}

func newPrinter(f *os.File) *printer {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &printer{w: f, colour: terminal && os.Getenv("NO_COLOR") == "", started: time.Now()}
}

func (p *printer) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *printer) elapsed() string {
	return fmt.Sprintf("%4.0fs", time.Since(p.started).Seconds())
}

func (p *printer) step(title string) {
	p.steps++
	fmt.Fprintf(p.w, "\n%s %s\n", p.paint("1;36", fmt.Sprintf("[%d]", p.steps)), p.paint("1", title))
}

func (p *printer) waiting(what string) {
	fmt.Fprintf(p.w, "  %s  %s\n", p.elapsed(), what)
}

func (p *printer) done(what string) {
	fmt.Fprintf(p.w, "  %s  %s %s\n", p.elapsed(), p.paint("32", "✔"), what)
}

func (p *printer) fail(err error) {
	fmt.Fprintf(p.w, "  %s  %s %v\n", p.elapsed(), p.paint("31", "✘"), err)
}

func (p *printer) command(line string) {
	fmt.Fprintf(p.w, "  %s\n", p.paint("2", "$ "+line))
}

func (p *printer) output(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(p.w, "    %s\n", strings.TrimRight(line, "\n"))
	}
}

// table is rows under a heading, aligned when printed.
type table struct{ rows [][]string }

func newTable(heading ...string) *table { return &table{rows: [][]string{heading}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (p *printer) table(t *table) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for i, row := range t.rows {
		if i == 0 {
			row = mapStrings(row, strings.ToUpper)
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a strings.Builder takes everything
	p.output(b.String())
}

func mapStrings(in []string, f func(string) string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = f(s)
	}
	return out
}
