// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package child starts processes that cannot outlive this one.
//
// Linux sends a process its parent-death signal when the *thread* that
// started it ends, not the parent process. Go ends threads when it pleases,
// so every process is started from a goroutine that is locked to its thread,
// a [Thread]. Each process leads a group of its own: a terminal's
// Ctrl-C then reaches only the supervisor, which stops things in order, and a
// whole group can be killed at once.
package child

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Thread is an operating system thread of its own, from which processes are
// started. What a function makes of the thread, such as a namespace that it
// enters, its processes inherit. Make it with [NewThread].
type Thread struct {
	work chan func()
}

// NewThread starts a thread.
func NewThread() *Thread {
	t := &Thread{work: make(chan func())}
	go func() {
		// Never unlocked: with the goroutine, the thread ends.
		runtime.LockOSThread()
		for f := range t.work {
			f()
		}
	}()
	return t
}

// Do runs the function on the thread and waits for it.
func (t *Thread) Do(f func() error) error {
	result := make(chan error, 1)
	t.work <- func() { result <- f() }
	return <-result
}

// Start starts the command from the thread. The process gets SIGKILL when the
// thread ends, or this process, however it ends. Wait for it as for any command.
// Attributes already set in SysProcAttr are kept.
func (t *Thread) Start(command *exec.Cmd) error {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setpgid = true
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return t.Do(command.Start)
}

// End ends the thread, and with it what was started from it. The thread must not
// be used afterwards.
func (t *Thread) End() { close(t.work) }

// common is the thread that lives as long as this process.
var common = sync.OnceValue(NewThread)

// Start starts the command from a thread that lives as long as this process.
func Start(command *exec.Cmd) error { return common().Start(command) }

// KillGroup kills the process group that pid leads. Call it also after the
// leader has ended, so that nothing it started stays behind; a group that is
// gone already is no error.
func KillGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}
