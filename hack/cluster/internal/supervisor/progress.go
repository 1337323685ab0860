// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// askEvery is the pause between questions while waiting.
	askEvery = 100 * time.Millisecond
	// remindAfter is how long a person waits before being told why.
	remindAfter = 5 * time.Second
)

// progress tells people what happens, on a stream and in a file that Wait reads.
type progress struct {
	files layout
	began time.Time

	mu       sync.Mutex // protects messages
	messages io.Writer
}

func newProgress(files layout, messages io.Writer) *progress {
	return &progress{files: files, messages: messages, began: time.Now()}
}

func (p *progress) elapsed() string { return fmt.Sprintf("%.1fs", time.Since(p.began).Seconds()) }

func (p *progress) report(format string, arguments ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("[%6s] ", p.elapsed()) + fmt.Sprintf(format, arguments...)
	_, _ = fmt.Fprintln(p.messages, line)
	_ = writeFile(p.files.progress(), []byte(line+"\n")) // a person's comfort, no more
}

// wait asks until the answer is nil. It is false when the context ended first.
func (r *run) wait(ctx context.Context, what string, ask func(context.Context) error) bool {
	r.progress.report("waiting for %s", what)
	remind := time.Now().Add(remindAfter)
	for {
		err := ask(ctx)
		if err == nil {
			return true
		}
		if time.Now().After(remind) {
			r.progress.report("still waiting for %s: %v", what, err)
			remind = time.Now().Add(remindAfter)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(askEvery):
		}
	}
}
