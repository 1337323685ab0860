// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures, and prints ratios to something that was measured in the
// same run. Ratios carry over to other machines; the times beside them do not.
//
//	bench [sign-ins] [connector] [scale]
//
// sign-ins: the whole way of a request through a connector, from the bytes of the
// binary signal to the header of the answer, as a multiple of one bare RSA
// decryption.
//
// connector: the CPU time of a connector process for one sign-in, network and
// directory included, as a multiple of one RSA decryption and one TLS handshake;
// with its rate and peak memory at 1, 8 and 64 sign-ins at a time.
//
// scale: the time from applying 100 PassthroughConnectors of 3 replicas until all
// are ready, as a multiple of the time that the same 300 Deployments take that
// kubectl applies by itself; with the operator's API requests and peak memory.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the process ends here, and with it the signal handler
	}
}

func run(ctx context.Context, parts []string) error {
	if len(parts) == 0 {
		parts = []string{"sign-ins", "connector", "scale"}
	}
	for _, part := range parts {
		var err error
		switch part {
		case "sign-ins":
			err = signIns(ctx)
		case "connector":
			err = connectorProcess(ctx)
		case "scale":
			err = scale(ctx)
		default:
			err = fmt.Errorf("%q is none of sign-ins, connector and scale", part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
