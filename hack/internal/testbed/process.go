// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopWithin is how long a process may take to end after SIGTERM before it is
// killed. The supervisor of the cluster needs the longest: its pods get their
// own grace periods first.
const stopWithin = 45 * time.Second

// Process is one program of the testbed.
type Process struct {
	Name    string
	cmd     *exec.Cmd
	pidFile string
	logFile string
	ended   chan struct{}
	err     error // valid once ended is closed
}

// starter runs functions on one operating system thread that never ends.
// Linux sends a child its parent-death signal when the *thread* that started
// it ends, so children must not be started from a goroutine's passing thread.
var starter = func() chan func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

func (t *Testbed) start(name, program string, args ...string) (*Process, error) {
	p := &Process{
		Name:    name,
		cmd:     exec.Command(program, args...), //nolint:noctx // it outlives the call that starts it; Stop ends it
		pidFile: filepath.Join(t.Dir, "run", name+".pid"),
		logFile: filepath.Join(t.Dir, "logs", name+".log"),
		ended:   make(chan struct{}),
	}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, t.Dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !t.opts.Detached {
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	started := make(chan error)
	starter <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := os.WriteFile(p.pidFile, []byte(strconv.Itoa(p.cmd.Process.Pid)), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("recording the process of %s: %w", name, err), p.cmd.Process.Kill())
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.processes = append(t.processes, p)
	return p, nil
}

// until polls a condition until it holds, the process ends, or ctx does. The
// error holds the end of the process's log, which is what a person looks for.
func (p *Process) until(ctx context.Context, what string, condition func() (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := condition()
		if err != nil {
			return fmt.Errorf("waiting for %s to be %s: %w", p.Name, what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended before it was %s: %w\n%s", p.Name, what, p.err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s was not %s in time: %w\n%s", p.Name, what, ctx.Err(), p.tail())
		case <-tick.C:
		}
	}
}

// untilReady waits for the file that a program writes when it serves, and
// reads it.
func (p *Process) untilReady(ctx context.Context, file string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return p.until(ctx, "ready", func() (bool, error) {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || (err == nil && len(data) == 0) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, json.Unmarshal(data, into)
	})
}

func (p *Process) tail() string {
	data, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

// Stop asks the process to end, kills it if it does not, and returns when it
// has ended. Stopping an ended process is no error.
func (p *Process) Stop() error {
	defer os.Remove(p.pidFile)
	select {
	case <-p.ended:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.Name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopWithin):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.Name, err)
	}
	<-p.ended
	return fmt.Errorf("%s did not stop within %s and was killed", p.Name, stopWithin)
}

// Down ends a testbed that an earlier, detached Start left running in dir. It
// returns the names of what it ended.
func Down(ctx context.Context, dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "run", "*.pid"))
	if err != nil {
		return nil, fmt.Errorf("looking for processes: %w", err)
	}
	var ended []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".pid")
		data, err := os.ReadFile(file)
		if err != nil {
			return ended, fmt.Errorf("reading the process id of %s: %w", name, err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			return ended, fmt.Errorf("%s holds no process id: %w", file, err)
		}
		if ours(pid, dir) {
			if err := endPID(ctx, pid); err != nil {
				return ended, fmt.Errorf("ending %s: %w", name, err)
			}
			ended = append(ended, name)
		}
		if err := os.Remove(file); err != nil {
			return ended, fmt.Errorf("forgetting the process of %s: %w", name, err)
		}
	}
	return ended, nil
}

// ours reports whether a process id still names a process of the testbed, and
// not some other program that was given the number since.
func ours(pid int, dir string) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(cmdline, []byte(dir))
}

func endPID(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			return nil
		}
		return err
	}
	deadline := time.After(stopWithin)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return syscall.Kill(pid, syscall.SIGKILL)
		case <-tick.C:
		}
	}
	return nil
}
