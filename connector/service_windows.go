// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// serviceName is the name of the service and of the source of its events.
const serviceName = "PassthroughConnector"

// stopHint is how long the service manager is told that stopping may take. It is
// told again as long as it does.
const stopHint = 20 * time.Second

// hosted runs the program as what it was started as: a service, which the service
// manager ends, or, in a container or on a console, a program that is ended by a
// signal.
func hosted(run func(context.Context) error) error {
	// An error means that it could not be found out, and a service would not be
	// asked twice.
	if is, err := svc.IsWindowsService(); err != nil || !is {
		return onConsole(run)
	}
	s := &service{run: run}
	if err := svc.Run(serviceName, s); err != nil {
		return fmt.Errorf("running as a service: %w", err)
	}
	// A service has no standard error that anybody reads.
	if log := openEvents(); s.err != nil && log != nil {
		_ = log.Error(eventError, "connector: "+s.err.Error())
	}
	return s.err
}

// service runs the program for the service manager.
type service struct {
	run func(context.Context) error
	err error // what it ended with
}

// Execute implements svc.Handler. A stop or the end of Windows ends the program's
// context, after which it finishes what it holds.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()

	now := svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	status <- now
	still := time.NewTicker(stopHint / 2)
	defer still.Stop()
	for {
		select {
		case s.err = <-ended:
			return true, uint32(exitCode(s.err))
		case <-still.C:
			if now.State == svc.StopPending {
				now.CheckPoint++
				status <- now
			}
		case request := <-requests:
			if request.Cmd == svc.Stop || request.Cmd == svc.Shutdown {
				now = svc.Status{State: svc.StopPending, WaitHint: uint32(stopHint.Milliseconds())}
				stop()
			}
			status <- now // else it is an interrogation: nothing else is accepted
		}
	}
}

// eventKey is where sources of events are registered.
const eventKey = `SYSTEM\CurrentControlSet\Services\EventLog\Application\` + serviceName

// openEvents opens the event log if the program's source is registered there;
// else nil. It is never closed: it lasts as long as the process.
func openEvents() events {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, eventKey, registry.QUERY_VALUE)
	if err != nil {
		return nil
	}
	defer key.Close()
	log, err := eventlog.Open(serviceName)
	if err != nil {
		return nil
	}
	return log
}

// registerEvents registers or removes the source. It needs an administrator.
func registerEvents(register bool) error {
	if !register {
		if err := eventlog.Remove(serviceName); err != nil && !errors.Is(err, registry.ErrNotExist) {
			return fmt.Errorf("removing the source of events: %w", err)
		}
		return nil
	}
	if err := eventlog.InstallAsEventCreate(serviceName, eventlog.Info|eventlog.Warning|eventlog.Error); err != nil {
		return fmt.Errorf("registering the source of events, which needs an administrator: %w", err)
	}
	return nil
}
