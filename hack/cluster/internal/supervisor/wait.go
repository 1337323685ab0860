// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// patience is how long Wait gives a supervisor to appear in the directory.
const patience = 10 * time.Second

// Wait waits until the cluster in the directory is ready, and passes on to
// messages what its supervisor reports. It is an error when no supervisor is
// there, or when the timeout comes first.
func Wait(ctx context.Context, options WaitOptions, messages io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	files := layout(options.Dir)
	began, told := time.Now(), ""
	for {
		up := locked(files.lock())
		if up {
			if line := latest(files); line != told {
				told = line
				_, _ = fmt.Fprintln(messages, line)
			}
			if _, err := os.Stat(files.ready()); err == nil {
				return nil
			}
		}
		if !up && time.Since(began) > patience {
			return fmt.Errorf("no kubecluster is up in %s; start one with: kubecluster up --dir %s", options.Dir, options.Dir)
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("the cluster in %s is not ready after %s; the last that was heard: %s", options.Dir, options.Timeout, told)
			}
			return ctx.Err()
		case <-time.After(askEvery):
		}
	}
}

func latest(files layout) string {
	data, err := os.ReadFile(files.progress())
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
