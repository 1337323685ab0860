// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package process runs a container as a process of this machine.
package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/child"
)

// outputDelay bounds the wait for output that something started by the process
// keeps open after the process itself has ended.
const outputDelay = 2 * time.Second

// Spec says what to run.
type Spec struct {
	// Path is the program, Args its arguments without the program's name.
	Path string
	Args []string
	// Env is the whole environment.
	Env []string
	// Dir is the working directory.
	Dir string
	// Stdout and Stderr take the output; they are not closed.
	Stdout, Stderr io.Writer
}

// Exit says how a process ended.
type Exit struct {
	// Code is the exit code, or 128 and the signal's number.
	Code int
	// Signal is the signal that ended it, or 0.
	Signal int
}

// Process is a running container.
type Process struct {
	command *exec.Cmd
	exited  chan struct{}
	exit    Exit // readable once exited is closed
}

// Start starts the process. It is killed when this program ends.
func Start(spec Spec) (*Process, error) { return StartBy(child.Start, spec) }

// StartBy starts the process by a function that starts commands: that of a
// [child.Thread], for one.
func StartBy(start func(*exec.Cmd) error, spec Spec) (*Process, error) {
	command := &exec.Cmd{
		Path: spec.Path, Args: append([]string{spec.Path}, spec.Args...), Env: spec.Env, Dir: spec.Dir,
		Stdout: spec.Stdout, Stderr: spec.Stderr, WaitDelay: outputDelay,
	}
	if err := start(command); err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Path, err)
	}
	process := &Process{command: command, exited: make(chan struct{})}
	go process.wait()
	return process, nil
}

// Pid identifies the process.
func (p *Process) Pid() int { return p.command.Process.Pid }

// Exited is closed when the process has ended and its output is complete.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Exit returns how the process ended. Call it after Exited is closed.
func (p *Process) Exit() Exit { return p.exit }

// Terminate asks the process to end.
func (p *Process) Terminate() { _ = p.command.Process.Signal(syscall.SIGTERM) }

// Kill ends the process and all it has started.
func (p *Process) Kill() { child.KillGroup(p.Pid()) }

func (p *Process) wait() {
	err := p.command.Wait()
	// What the process started must not outlive the container.
	child.KillGroup(p.Pid())
	p.exit = exitOf(p.command.ProcessState, err)
	close(p.exited)
}

func exitOf(state *os.ProcessState, err error) Exit {
	if state == nil || err != nil && !errors.As(err, new(*exec.ExitError)) && !errors.Is(err, exec.ErrWaitDelay) {
		return Exit{Code: 255}
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return Exit{Code: 128 + int(status.Signal()), Signal: int(status.Signal())}
	}
	return Exit{Code: state.ExitCode()}
}
