// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package child starts processes that cannot outlive this one.
//
// Linux sends a process its parent-death signal when the *thread* that
// started it ends, not the parent process. Go ends threads when it pleases,
// so every process is started from one goroutine that is locked to its thread
// and never returns. Each process leads a group of its own: a terminal's
// Ctrl-C then reaches only the supervisor, which stops things in order, and a
// whole group can be killed at once.
package child

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

type request struct {
	command *exec.Cmd
	result  chan error
}

var starter = sync.OnceValue(func() chan<- request {
	requests := make(chan request)
	go func() {
		runtime.LockOSThread()
		for r := range requests { // never closed: the thread must not end
			r.result <- r.command.Start()
		}
	}()
	return requests
})

// Start starts the command. The process gets SIGKILL when this process ends,
// however it ends. Wait for it as for any command. Attributes already set in
// SysProcAttr are kept.
func Start(command *exec.Cmd) error {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setpgid = true
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	r := request{command: command, result: make(chan error, 1)}
	starter() <- r
	return <-r.result
}

// KillGroup kills the process group that pid leads. Call it also after the
// leader has ended, so that nothing it started stays behind; a group that is
// gone already is no error.
func KillGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}
