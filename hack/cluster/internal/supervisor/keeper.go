// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/child"
)

const (
	// restartBase and restartMax bound the pauses before a component that died
	// is started again; one that lived for restartReset starts afresh.
	restartBase  = 250 * time.Millisecond
	restartMax   = 10 * time.Second
	restartReset = 30 * time.Second
)

// keeper keeps one component running until it is told to stop.
type keeper struct {
	component component
	program   string
	files     layout
	report    func(format string, arguments ...any)

	stop    context.CancelFunc
	stopped chan struct{}
}

// start begins to keep the component running.
func (k *keeper) start() {
	ctx, stop := context.WithCancel(context.Background())
	k.stop, k.stopped = stop, make(chan struct{})
	go func() {
		defer close(k.stopped)
		k.keep(ctx)
	}()
}

func (k *keeper) keep(ctx context.Context) {
	pause := restartBase
	for {
		began := time.Now()
		err := k.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= restartReset {
			pause = restartBase
		}
		wait := pause/2 + rand.N(pause/2+1)
		k.report("%s ended (%v); starting it again in %s; see %s", k.component.name, err, wait.Round(10*time.Millisecond), k.files.logFile(k.component.name))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		pause = min(2*pause, restartMax)
	}
}

// once runs the component until it ends or ctx does. Its error says how it ended.
func (k *keeper) once(ctx context.Context) error {
	log, err := os.OpenFile(k.files.logFile(k.component.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening its log: %w", err)
	}
	defer func() { _ = log.Close() }()
	command := &exec.Cmd{
		Path: k.program, Args: k.component.argv, Stdout: log, Stderr: log,
		Env: os.Environ(),
	}
	if err := child.Start(command); err != nil {
		return fmt.Errorf("starting it: %w", err)
	}
	pidFile := k.files.pidFile(k.component.name)
	if err := writeFile(pidFile, []byte(strconv.Itoa(command.Process.Pid)+"\n")); err != nil {
		k.report("%v", err)
	}
	defer func() { _ = os.Remove(pidFile) }()

	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = k.end(command, ended)
	}
	child.KillGroup(command.Process.Pid)
	if err == nil {
		err = errors.New("exit status 0")
	}
	return err
}

// end asks the component to stop, and insists after its grace period.
func (k *keeper) end(command *exec.Cmd, ended <-chan error) error {
	_ = command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		return err
	case <-time.After(k.component.grace):
		k.report("%s did not stop within %s and is killed", k.component.name, k.component.grace)
		child.KillGroup(command.Process.Pid)
		return <-ended
	}
}
