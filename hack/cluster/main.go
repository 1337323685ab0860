// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubecluster is a Kubernetes cluster in one program: etcd, the API
// server, the controller manager, the scheduler, kubectl, and nodes that run
// containers as plain processes. It needs no container engine and no root.
//
// Called by the name of one of these programs, by a link or as its first
// argument, it is that program; `kubecluster up` runs them all together.
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

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/supervisor"
)

const usage = `kubecluster runs a Kubernetes cluster without container engine and without root.

  kubecluster up --dir D --image NAME=/path/to/program ...   run a cluster until interrupted
  kubecluster wait --dir D [--timeout 2m]                    wait until it is ready
  kubecluster node ...                                       one node; up starts these

Give a command the flag -h to see its flags. The programs inside can be called
as well: kubecluster kubectl get nodes, or through links that bear their names:
etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl.
`

const (
	exitFailure = 1
	exitUsage   = 2
)

// errUsage marks errors in what was typed.
var errUsage = errors.New("usage")

func main() {
	if component, ok := components[filepath.Base(os.Args[0])]; ok {
		os.Exit(component())
	}
	if len(os.Args) > 1 {
		if component, ok := components[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			os.Exit(component())
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:]); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(os.Stderr, "kubecluster: %v\n", err)
		os.Exit(exitUsage)
	default:
		_, _ = fmt.Fprintf(os.Stderr, "kubecluster: %v\n", err)
		os.Exit(exitFailure)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		_, _ = fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("%w: a command is missing", errUsage)
	}
	switch command, rest := arguments[0], arguments[1:]; command {
	case "up":
		if len(components) == 0 {
			return errors.New("this program was built without Kubernetes in it; build it with hack/cluster/build.sh")
		}
		options, err := supervisor.ParseUp(rest)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return supervisor.Up(ctx, options, os.Stderr)
	case "wait":
		options, err := supervisor.ParseWait(rest)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return supervisor.Wait(ctx, options, os.Stderr)
	case "node":
		return node.Main(ctx, rest)
	case "help", "-h", "--help":
		_, _ = fmt.Fprint(os.Stderr, usage)
		return nil
	default:
		return fmt.Errorf("%w: there is no command %q; see kubecluster help", errUsage, command)
	}
}
