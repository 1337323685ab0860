// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Arguments of LogonUserW, from winbase.h.
const (
	logon32LogonNetwork    = 3 // for checking passwords: nothing is cached
	logon32ProviderDefault = 0
)

// NewLogonUser returns a validator that uses the system it runs on, or an error
// if that has no LogonUserW.
func NewLogonUser(opts LogonOptions) (*LogonUser, error) {
	// From the system's directory and nowhere else.
	proc := windows.NewLazySystemDLL("advapi32.dll").NewProc("LogonUserW")
	if err := proc.Find(); err != nil {
		return nil, fmt.Errorf("this Windows cannot validate by LogonUser, which needs an image such as Server Core: %w", err)
	}
	return newLogonUser(&system{logonUser: proc}, opts), nil
}

// system is the running Windows.
type system struct {
	logonUser *windows.LazyProc

	mu       sync.Mutex // protects computer
	computer string     // what the identifiers of the computer's own accounts begin with; empty before it is known
}

func (s *system) logon(user, domain, password []uint16) (token, uint32) {
	var handle windows.Handle
	var in unsafe.Pointer
	if domain != nil {
		in = unsafe.Pointer(unsafe.SliceData(domain))
	}
	// The call holds this thread and does not impersonate: no thread is locked.
	ok, _, err := s.logonUser.Call(
		uintptr(unsafe.Pointer(unsafe.SliceData(user))), uintptr(in), uintptr(unsafe.Pointer(unsafe.SliceData(password))),
		logon32LogonNetwork, logon32ProviderDefault, uintptr(unsafe.Pointer(&handle)))
	runtime.KeepAlive(domain) // the others are kept by the call's own rule
	if ok != 0 {
		return token(handle), 0
	}
	if errno, is := err.(windows.Errno); is && errno != 0 { //nolint:errorlint // Call's error is never wrapped
		return 0, uint32(errno)
	}
	return 0, uint32(InternalError) // it failed and does not say why
}

func (s *system) whose(t token) (account, error) {
	user, err := windows.Token(t).GetTokenUser()
	if err != nil {
		return account{}, fmt.Errorf("reading whom the token stands for: %w", err)
	}
	computer, err := s.own()
	if err != nil {
		return account{}, err
	}
	sid := user.User.Sid.String()
	return account{sid: sid, local: strings.HasPrefix(sid, computer+"-")}, nil
}

// own is the security identifier of the computer, which those of its accounts
// begin with. It does not change while the computer runs.
func (s *system) own() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.computer != "" {
		return s.computer, nil
	}
	name, err := windows.ComputerName()
	if err != nil {
		return "", fmt.Errorf("reading the computer's name: %w", err)
	}
	// With the name alone, a domain's account of the same name could be found.
	sid, _, _, err := windows.LookupSID("", name+`\`)
	if err != nil {
		sid, _, _, err = windows.LookupSID("", name)
	}
	if err != nil {
		return "", fmt.Errorf("looking up the computer's own security identifier: %w", err)
	}
	s.computer = sid.String()
	return s.computer, nil
}

func (s *system) end(t token) error { return windows.CloseHandle(windows.Handle(t)) }
