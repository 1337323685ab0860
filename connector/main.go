// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command connector is the agent that checks passwords for cloud sign-in.
//
//	connector run --config=FILE [--bind-address=IP]   serve until SIGTERM (the default command)
//	connector diagnose --config=FILE [-o table|json]  look at everything that the connector depends on
//	connector explain CODE                            what a reason or AADSTS code means, and what to do
//	connector firewall [--format=text|json|csv]       what the site's firewall has to let out
//	connector event-log register|unregister           on Windows: logs to the event log, too; needs an administrator
//	connector version
//
// Exit codes: 0 stopped cleanly, 1 failed while running or found a failure, 2
// wrong usage or configuration. Logs are JSON on standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/internal/agent"
	"github.com/passthrough-dev/connector-operator/connector/internal/firewall"
	"github.com/passthrough-dev/connector-operator/connector/internal/validation"
)

// version is set by the build.
var version = "dev"

const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is the caller's mistake, as opposed to a failure while running.
type usageError struct{ error }

func main() {
	err := hosted(func(ctx context.Context) error { return run(ctx, os.Args[1:], os.Stdout, os.Stderr) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "connector:", err)
		os.Exit(exitCode(err))
	}
}

// onConsole runs until a signal ends it.
func onConsole(run func(context.Context) error) error {
	// On Windows the runtime turns the end of a container into SIGTERM.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx)
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return exitUsage
	default:
		return exitFailed
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	switch command {
	case "run":
		return serve(ctx, args, stderr)
	case "diagnose":
		return diagnose(ctx, args, stdout, stderr)
	case "explain":
		if len(args) != 1 {
			return usageError{errors.New("explain takes one code, for example: connector explain 1328")}
		}
		page, err := validation.Explain(args[0])
		if err != nil {
			return usageError{err}
		}
		fmt.Fprint(stdout, page)
		return nil
	case "firewall":
		if err := firewall.Run(args, stdout, stderr); err != nil {
			return usageError{err}
		}
		return nil
	case "event-log":
		if len(args) != 1 || args[0] != "register" && args[0] != "unregister" {
			return usageError{errors.New("event-log takes one word: register or unregister")}
		}
		return registerEvents(args[0] == "register")
	case "version":
		fmt.Fprintln(stdout, version)
		return nil
	default:
		return usageError{fmt.Errorf("there is no command %q: use run, diagnose, explain, firewall, event-log or version", command)}
	}
}

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("connector run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", "", "the configuration `file` (required)")
	bind := flags.String("bind-address", "", "`IP` address of the status pages (default: all addresses)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	if *bind != "" {
		if _, err := netip.ParseAddr(*bind); err != nil {
			return usageError{fmt.Errorf("--bind-address %q is not an IP address", *bind)}
		}
	}
	c, err := load(*file)
	if err != nil {
		return err
	}
	// logr's level n is slog's -n.
	log := logr.FromSlogHandler(logHandler(stderr, slog.Level(-c.Log.Level), openEvents()))
	return agent.Run(ctx, agent.Options{Config: c, BindIP: *bind, Version: version, Log: log})
}
