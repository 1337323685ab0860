// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package diagnosis asks a connector's surroundings, one check after the other,
// whether a connector can work there, and says what each answer means and what to
// do about it. It is what `connector diagnose` prints.
//
// A Check is bounded in time whatever it calls, and nothing it finds contains a
// password, a key or a token: findings are made of names, addresses, dates and
// the errors of libraries. The package brings the checks that need nothing but
// the network; the agent package adds those of the connector's own parts.
package diagnosis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config/prose"
)

// Result is the outcome of a check. The values are API: scripts match them.
type Result string

// The results.
const (
	OK   Result = "ok"
	Warn Result = "warn" // the connector works, or would, and something is not as it should be
	Fail Result = "fail" // the connector cannot work like this
	// Skipped means that nothing was found out; the finding says why.
	Skipped Result = "skipped"
)

// Finding is what a check found out. Sentences have no final stop.
type Finding struct {
	Result Result
	// Found is what was seen, or why nothing could be.
	Found string
	// Meaning and Action are for whoever has to act: what it means for the
	// connector, and what to do. Both are empty if there is nothing to do.
	Meaning, Action string
}

// Good is the finding of a check that found all in order.
func Good(format string, args ...any) Finding {
	return Finding{Result: OK, Found: fmt.Sprintf(format, args...)}
}

// NotAsked is the finding of a check that was not made.
func NotAsked(why string, args ...any) Finding {
	return Finding{Result: Skipped, Found: fmt.Sprintf(why, args...)}
}

// Check is one question.
type Check struct {
	// Kind is what is asked, Subject of whom: a host, a file, a domain.
	Kind    Kind
	Subject string
	// Within bounds the check; zero means DefaultWithin. One that does not return
	// although its context has ended is given up.
	Within time.Duration
	Run    func(ctx context.Context) Finding
}

const (
	// DefaultWithin bounds a check that says nothing else.
	DefaultWithin = 15 * time.Second
	// grace is how long a check may take to notice that its time is over.
	grace = 2 * time.Second
	// maxText bounds each text of an entry, in bytes.
	maxText = 1024
)

// Perform makes the checks at the same time and returns what they found, in
// their order. Those that have not ended when ctx does are reported as skipped.
func Perform(ctx context.Context, checks ...Check) []Entry {
	entries := make([]Entry, len(checks))
	var running sync.WaitGroup
	for i, c := range checks {
		running.Go(func() { entries[i] = c.perform(ctx) })
	}
	running.Wait()
	return entries
}

func (c Check) perform(ctx context.Context) Entry {
	within := c.Within
	if within == 0 {
		within = DefaultWithin
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	found := make(chan Finding, 1)
	go func() { found <- c.Run(limited) }()
	var finding Finding
	select {
	case finding = <-found:
	case <-afterEnd(limited):
		finding = Finding{Result: Fail, Found: fmt.Sprintf("no answer within %s, and the call cannot be cancelled", within),
			Meaning: "whatever is asked hangs", Action: "look at the network between this machine and what is asked, then try again"}
	}
	if ctx.Err() != nil && finding.Result != OK {
		finding = NotAsked("the diagnosis was ended before this was answered: give it more time with --timeout")
	}
	// Others write some of it, such as names in certificates and a proxy's answers.
	return Entry{
		Check: c.Kind, Subject: prose.Line(c.Subject, maxText), Result: finding.Result, Found: prose.Line(finding.Found, maxText),
		Meaning: finding.Meaning, Action: prose.Line(finding.Action, maxText), Milliseconds: time.Since(began).Milliseconds(),
	}
}

// afterEnd tells that ctx has ended a while ago.
func afterEnd(ctx context.Context) <-chan struct{} {
	late := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { close(late) }) })
	return late
}
