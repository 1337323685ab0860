// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command tenant is the cloud side of pass-through authentication on one
// machine, for development, tests and demonstrations: registration, bootstrap,
// renewal, relay, response endpoint, sign-in page and API, wire compatible with
// the service that connectors are made for. It listens on loopback addresses
// only and takes only users and host names that cannot exist. See README.md.
//
//	tenant serve --dir DIR --tenant-id GUID [--ready-file FILE]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/statefile"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// stopTimeout bounds the wait for requests under way.
const stopTimeout = 5 * time.Second

const usage = `usage: tenant serve --dir DIR --tenant-id GUID [flags]

Serves the cloud side of pass-through authentication on loopback, for tests.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	if len(args) == 0 || args[0] != "serve" {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	opts, readyFile, level, err := parse(args[1:], stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		return exitUsage // the flag package has said why
	}
	if err := opts.Validate(); err != nil {
		fmt.Fprintf(stderr, "tenant: %v\n", err)
		return exitUsage
	}
	// logr's level 1 is slog's -1.
	opts.Log = logr.FromSlogHandler(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.Level(-level)}))
	if err := serve(ctx, opts, readyFile); err != nil {
		opts.Log.Error(err, "The tenant failed")
		return exitError
	}
	return exitOK
}

func parse(args []string, stderr io.Writer) (opts cloud.Options, readyFile string, level int, err error) {
	flags := flag.NewFlagSet("tenant serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&opts.Dir, "dir", "", "directory for the tenant's state; start again with the same one to get the same tenant (required)")
	flags.StringVar(&opts.TenantID, "tenant-id", "", "the tenant's GUID (required)")
	flags.StringVar(&opts.Listen, "listen", "127.0.0.1", "address to listen on: a loopback address or, in a network namespace, one kept for documentation")
	flags.StringVar(&opts.Web, "web", "", "loopback address and port of pages and API (default: the last start's, or a free port)")
	flags.StringVar(&opts.ServiceDomain, "service-domain", "msappproxy.test", "domain of the service hosts, under a reserved top-level domain")
	flags.StringVar(&opts.RelayDomain, "relay-domain", "servicebus.test", "domain of the relay hosts, under a reserved top-level domain")
	flags.DurationVar(&opts.BootstrapInterval, "bootstrap-interval", 10*time.Minute, "how often connectors are told to bootstrap; one that misses three is inactive")
	flags.DurationVar(&opts.CertificateLifetime, "certificate-lifetime", 180*24*time.Hour, "lifetime of connector certificates")
	flags.StringVar((*string)(&opts.Ports), "ports", "https", "ports of the service's hosts: https (all on 443) or documented (registration 9090, renewal 9091, bootstrap 8080 and 443, AMQP 5671, rendezvous 9352, responses 10100 to 10120, revocation list 80); those that are taken or not allowed are on a free port, behind the proxy")
	flags.IntVar(&opts.Namespaces, "namespaces", 4, "number of relay namespaces")
	flags.StringVar((*string)(&opts.Endpoints), "endpoints", "", "plain or reliable: offer only endpoints of that kind (default: both in each namespace)")
	flags.DurationVar(&opts.SessionIdle, "session-idle", time.Minute, "how long a reliable session without a request stays open")
	flags.StringVar((*string)(&opts.Delivery), "delivery", "auto", "how requests reach connectors: auto (as the service), inline, connect (fetched from the proxy host) or connect-bytes")
	flags.DurationVar(&opts.AcceptTimeout, "accept-timeout", 5*time.Second, "how long a connector may take to accept a request before the next one is tried")
	flags.DurationVar(&opts.ResponseTimeout, "response-timeout", 15*time.Second, "how long a sign-in waits for its verdict")
	flags.StringVar(&readyFile, "ready-file", "", "file to write, when the tenant is ready, with its addresses as JSON")
	flags.IntVar(&level, "v", 0, "log level: 0 for changes, 1 for decisions")
	if err := flags.Parse(args); err != nil {
		return cloud.Options{}, "", 0, err
	}
	if flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintf(stderr, "tenant: %v\n", err)
	}
	return opts, readyFile, level, err
}

// serve runs the tenant until ctx ends.
func serve(ctx context.Context, opts cloud.Options, readyFile string) (err error) {
	if readyFile != "" {
		if err := remove(readyFile); err != nil {
			return err
		}
	}
	tenant, err := cloud.Start(opts)
	if err != nil {
		return fmt.Errorf("starting the tenant: %w", err)
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if stopErr := tenant.Stop(stopping); stopErr != nil {
			opts.Log.Info("Stopped with requests under way", "why", stopErr.Error())
		}
		if readyFile != "" {
			err = errors.Join(err, remove(readyFile))
		}
	}()
	ready := tenant.Ready()
	opts.Log.Info("The tenant is ready", "tenantID", ready.TenantID, "web", ready.Web, "proxy", ready.Proxy, "tls", ready.TLS, "caFile", ready.CAFile)
	if readyFile != "" {
		if err := statefile.WriteJSON(readyFile, ready); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		opts.Log.Info("The tenant is stopping")
		return nil
	case err := <-tenant.Failed():
		return err
	}
}

// remove deletes a file that may not be there.
func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the old ready file: %w", err)
	}
	return nil
}
