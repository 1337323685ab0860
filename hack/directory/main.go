// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command directory runs the test directory of package ldapserver: LDAPS on a
// loopback address, with Active Directory's answers, for the demo and the
// end-to-end tests.
//
//	directory --listen 127.0.0.1:0 --dir D --ready-file F [--accept-everything]
//
// When it serves, it writes {"address":"127.0.0.1:NNN","caFile":"D/ca.pem"} to
// the ready file. SIGUSR1 begins an outage and SIGUSR2 ends it. It stops on
// SIGTERM and SIGINT with exit code 0; 1 means that it failed, 2 that it was called wrongly.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stderr)
	var usage usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// usageError is a mistake in the arguments.
type usageError struct{ error }

// ready is what the ready file says.
type ready struct {
	Address string `json:"address"`
	CAFile  string `json:"caFile"`
}

// maxMoreUsers bounds --more-users.
const maxMoreUsers = 10000

// run serves until ctx ends.
func run(ctx context.Context, args []string, logs io.Writer) error {
	flags := flag.NewFlagSet("directory", flag.ContinueOnError)
	flags.SetOutput(logs)
	listen := flags.String("listen", "127.0.0.1:0", "address and port to listen on: loopback or, in a network namespace, kept for documentation; port 0 takes a free one")
	dir := flags.String("dir", "", "directory that keeps the CA (required)")
	readyFile := flags.String("ready-file", "", "file to write address and CA file to, as JSON, when serving")
	acceptEverything := flags.Bool("accept-everything", false, "accept every credential, which connectors must notice and refuse to work with")
	moreUsers := flags.Int("more-users", 0, "how many further good accounts there are: user0, user1 and so on")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if *dir == "" || flags.NArg() > 0 {
		return usageError{errors.New("usage: directory --dir DIR [--listen 127.0.0.1:PORT] [--ready-file FILE] [--accept-everything] [--more-users N]")}
	}
	if *moreUsers < 0 || *moreUsers > maxMoreUsers {
		return usageError{fmt.Errorf("--more-users must be from 0 to %d", maxMoreUsers)}
	}
	users := ldapserver.Users()
	for i := range *moreUsers {
		users = append(users, ldapserver.User{Name: fmt.Sprintf("user%d", i)})
	}

	log := logr.FromSlogHandler(slog.NewJSONHandler(logs, nil))
	server, err := ldapserver.Start(ctx, ldapserver.Options{
		Listen: *listen, Dir: *dir, Users: users, AcceptEverything: *acceptEverything, Logger: log,
	})
	if err != nil {
		return err
	}
	defer server.Close()
	defer outageOnSignal(server)()
	if *readyFile != "" {
		if err := writeReady(*readyFile, ready{Address: server.Addr(), CAFile: server.CAFile()}); err != nil {
			return fmt.Errorf("write the ready file: %w", err)
		}
	}
	log.Info("serving", "address", server.Addr(), "caFile", server.CAFile(), "acceptEverything", *acceptEverything)
	<-ctx.Done()
	log.Info("stopping")
	return nil
}

// writeReady makes the file appear whole.
func writeReady(path string, r ready) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ready-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	if _, err := tmp.Write(b); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
