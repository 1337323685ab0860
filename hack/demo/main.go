// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo runs the whole system on this machine and signs users in: what
// `make demo` starts.
//
//	demo up [--keep] [--dir .demo]   run it; --keep leaves it running
//	demo down [--dir .demo]          end what --keep left running
//
// It needs Go and nothing else: no container engine, no root. The first run
// builds a Kubernetes control plane from source, which takes minutes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1) //nolint:gocritic // the process ends here, and with it the signal handler
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	dir := flags.String("dir", ".demo", "directory of the demo's programs, state and logs")
	keep := flags.Bool("keep", false, "leave everything running at the end")
	if len(args) == 0 {
		return errors.New("say `demo up` or `demo down`")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return fmt.Errorf("resolving --dir: %w", err)
	}
	switch args[0] {
	case "up":
		return up(ctx, abs, *keep)
	case "down":
		return down(ctx, abs)
	default:
		return fmt.Errorf("%q is neither up nor down", args[0])
	}
}

func down(ctx context.Context, dir string) error {
	ended, err := testbed.Down(ctx, dir)
	for _, name := range ended {
		fmt.Println("ended", name)
	}
	if err == nil && len(ended) == 0 {
		fmt.Println("nothing was running")
	}
	return err
}

// up runs the seven steps. Whatever happens, it leaves nothing running unless
// the demo reached its end and was asked to stay.
func up(ctx context.Context, dir string, keep bool) (err error) {
	if ended, err := testbed.Down(ctx, dir); err != nil {
		return fmt.Errorf("ending the previous demo: %w", err)
	} else if len(ended) > 0 {
		fmt.Println("ended the demo that was still running")
	}
	// A demo starts from nothing; the programs that were built stay cached.
	for _, old := range []string{"cluster", "tenant", "directory", "logs", "run"} {
		if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
			return fmt.Errorf("removing the previous demo's state: %w", err)
		}
	}
	out := newPrinter(os.Stdout)
	out.step("Building and starting the system (no container engine, no root; everything on loopback)")
	bed, err := testbed.Start(ctx, testbed.Options{Dir: dir, Progress: out.waiting, Detached: keep})
	if err != nil {
		return err
	}
	stayed := false
	defer func() {
		if stayed {
			return
		}
		out.step("Tearing everything down")
		err = errors.Join(err, bed.Stop())
		if err == nil {
			out.done("nothing is left running")
		}
	}()
	d := &demo{bed: bed, out: out, namespace: testbed.ConnectorNamespace}
	if err := d.show(ctx); err != nil {
		out.fail(err)
		return fmt.Errorf("%w\n(logs are in %s)", err, dir)
	}
	if keep {
		// Leave it in its most interesting state: the resource applied again.
		if err := d.applyAndWait(ctx, 2); err != nil {
			return err
		}
		stayed = true
		d.explainHowToLookAround()
	}
	return nil
}

// within runs one step with a limit of its own, so that a demo that cannot
// succeed ends with a reason and not with silence.
func within(ctx context.Context, limit time.Duration, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return step(ctx)
}
