// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

// outageOnSignal begins an outage on SIGUSR1 and ends it on SIGUSR2, until stop
// is called. Two signals, because two of a kind may arrive as one.
func outageOnSignal(server *ldapserver.Server) (stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for received := range signals {
			server.SetOutage(received == syscall.SIGUSR1)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
