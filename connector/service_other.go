// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package main

import (
	"context"
	"errors"
)

// hosted runs the program as what it was started as.
func hosted(run func(context.Context) error) error { return onConsole(run) }

// openEvents opens the event log of Windows, which other systems have not.
func openEvents() events { return nil }

func registerEvents(bool) error {
	return errors.New("only Windows has an event log: logs are on standard error")
}
