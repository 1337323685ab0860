// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package main

import (
	"os"
	"syscall"
)

// terminate ends a process as the end of its container does.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
