// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

// ctrlShutdownEvent is what Windows sends to the processes of a container that is
// being stopped.
const ctrlShutdownEvent = 6

// terminate ends a process as the end of its container does: by a thread in it
// that runs the system's own routine, which calls the handlers of the process.
func terminate(p *os.Process) error {
	process, err := windows.OpenProcess(windows.PROCESS_CREATE_THREAD|windows.PROCESS_QUERY_INFORMATION|
		windows.PROCESS_VM_OPERATION|windows.PROCESS_VM_READ|windows.PROCESS_VM_WRITE, false, uint32(p.Pid))
	if err != nil {
		return err
	}
	defer windows.CloseHandle(process) //nolint:errcheck // a test
	// The library is at the same address in every process.
	routine := windows.NewLazySystemDLL("kernelbase.dll").NewProc("CtrlRoutine")
	if err := routine.Find(); err != nil {
		return err
	}
	thread, _, err := windows.NewLazySystemDLL("kernel32.dll").NewProc("CreateRemoteThread").
		Call(uintptr(process), 0, 0, routine.Addr(), ctrlShutdownEvent, 0, 0)
	if thread == 0 {
		return err
	}
	return windows.CloseHandle(windows.Handle(thread))
}

func TestTheServiceManagerEndsTheProgram(t *testing.T) {
	for name, tc := range map[string]struct {
		cmd  svc.Cmd
		ends error
		code uint32
	}{
		"a stop":                {svc.Stop, nil, 0},
		"the end of Windows":    {svc.Shutdown, nil, 0},
		"a stop that goes awry": {svc.Stop, errors.New("no way"), exitFailed},
		"wrong usage":           {svc.Stop, usageError{errors.New("no file")}, exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			finish := make(chan struct{})
			s := &service{run: func(ctx context.Context) error {
				<-ctx.Done()
				<-finish // what it holds
				return tc.ends
			}}
			requests, status := make(chan svc.ChangeRequest), make(chan svc.Status)
			code := make(chan uint32, 1)
			go func() {
				_, c := s.Execute(nil, requests, status)
				code <- c
			}()
			if got := <-status; got.State != svc.Running || got.Accepts&(svc.AcceptStop|svc.AcceptShutdown) != svc.AcceptStop|svc.AcceptShutdown {
				t.Errorf("first it is %+v", got)
			}
			requests <- svc.ChangeRequest{Cmd: svc.Interrogate}
			if got := <-status; got.State != svc.Running {
				t.Errorf("asked, it is %+v", got)
			}
			requests <- svc.ChangeRequest{Cmd: tc.cmd}
			if got := <-status; got.State != svc.StopPending || got.WaitHint == 0 {
				t.Errorf("told to stop, it is %+v", got)
			}
			close(finish)
			if got := <-code; got != tc.code || !errors.Is(s.err, tc.ends) {
				t.Errorf("it ended with %d, %v", got, s.err)
			}
		})
	}
}

func TestAProgramThatEndsByItselfEndsItsService(t *testing.T) {
	s := &service{run: func(context.Context) error { return errors.New("no way") }}
	status := make(chan svc.Status, 1)
	if _, code := s.Execute(nil, nil, status); code != exitFailed {
		t.Errorf("it ended with %d", code)
	}
}

func TestEventsAreOffUnlessRegistered(t *testing.T) {
	if log := openEvents(); log != nil {
		t.Skip("the source is registered on this computer")
	}
	if err := registerEvents(true); err != nil {
		t.Skipf("this needs an administrator: %v", err)
	}
	defer func() {
		if err := registerEvents(false); err != nil {
			t.Error(err)
		}
		if openEvents() != nil {
			t.Error("the source outlived its removal")
		}
	}()
	log := openEvents()
	if log == nil {
		t.Fatal("the source is registered, and not found")
	}
	if err := log.Info(eventInfo, "a test of the connector"); err != nil {
		t.Error(err)
	}
}
