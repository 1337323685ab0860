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

// outageOnSignal toggles the outage on every SIGUSR1 until stop is called.
func outageOnSignal(server *ldapserver.Server) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			server.ToggleOutage()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
