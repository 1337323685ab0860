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

// From the system's directory and nowhere else.
var (
	advapi32                  = windows.NewLazySystemDLL("advapi32.dll")
	logonUser                 = advapi32.NewProc("LogonUserW")
	lsaOpenPolicy             = advapi32.NewProc("LsaOpenPolicy")
	lsaQueryInformationPolicy = advapi32.NewProc("LsaQueryInformationPolicy")
	lsaFreeMemory             = advapi32.NewProc("LsaFreeMemory")
	lsaClose                  = advapi32.NewProc("LsaClose")
)

// Arguments of LogonUserW, from winbase.h.
const (
	logon32LogonNetwork    = 3 // for checking passwords: nothing is cached
	logon32ProviderDefault = 0
)

// NewLogonUser returns a validator that uses the system it runs on. A system
// that has no LogonUserW shows in every result.
func NewLogonUser(opts LogonOptions) (*LogonUser, error) {
	return newLogonUser(&system{}, opts), nil
}

// system is the running Windows.
type system struct {
	mu       sync.Mutex // protects computer
	computer string     // what the identifiers of the computer's own accounts begin with; empty before it is known
}

// check looks for what a logon needs. It takes next to no time once it has
// succeeded.
func (s *system) check() error {
	if err := logonUser.Find(); err != nil {
		return fmt.Errorf("this Windows cannot validate by LogonUser, which needs an image such as Server Core: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.computer != "" {
		return nil
	}
	var err error
	if s.computer, err = computerSID(); err != nil {
		return fmt.Errorf("without its own security identifier the connector could not tell the computer's accounts from a domain's: %w", err)
	}
	return nil
}

func (s *system) logon(user, domain, password []uint16) (token, uint32) {
	var handle windows.Handle
	var in unsafe.Pointer
	if domain != nil {
		in = unsafe.Pointer(unsafe.SliceData(domain))
	}
	// The call holds this thread and does not impersonate: no thread is locked.
	ok, _, err := logonUser.Call(
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
	s.mu.Lock()
	defer s.mu.Unlock()
	sid := user.User.Sid.String()
	return account{sid: sid, local: strings.HasPrefix(sid, s.computer+"-")}, nil
}

func (s *system) end(t token) error { return windows.CloseHandle(windows.Handle(t)) }

// From ntsecapi.h.
const (
	policyViewLocalInformation     = 1
	policyAccountDomainInformation = 5
)

// lsaObjectAttributes has a size and nothing else in it.
type lsaObjectAttributes struct {
	length                   uint32
	rootDirectory            windows.Handle
	objectName               uintptr
	attributes               uint32
	securityDescriptor       uintptr
	securityQualityOfService uintptr
}

// accountDomain is POLICY_ACCOUNT_DOMAIN_INFO.
type accountDomain struct {
	name windows.NTUnicodeString
	sid  *windows.SID
}

// computerSID is the security identifier of the computer, which those of its
// accounts begin with. The local security authority is asked rather than names
// looked up, which could find a domain's account of the computer's name.
func computerSID() (string, error) {
	attributes := lsaObjectAttributes{length: uint32(unsafe.Sizeof(lsaObjectAttributes{}))}
	var policy windows.Handle
	if err := lsaCall(lsaOpenPolicy, 0, uintptr(unsafe.Pointer(&attributes)), policyViewLocalInformation, uintptr(unsafe.Pointer(&policy))); err != nil {
		return "", fmt.Errorf("asking the local security authority: %w", err)
	}
	defer lsaCall(lsaClose, uintptr(policy)) //nolint:errcheck // nothing can be done about it
	var info *accountDomain
	if err := lsaCall(lsaQueryInformationPolicy, uintptr(policy), policyAccountDomainInformation, uintptr(unsafe.Pointer(&info))); err != nil {
		return "", fmt.Errorf("asking the local security authority for the computer's own accounts: %w", err)
	}
	defer lsaCall(lsaFreeMemory, uintptr(unsafe.Pointer(info))) //nolint:errcheck // nothing can be done about it
	if info == nil || info.sid == nil || !info.sid.IsValid() {
		return "", fmt.Errorf("the local security authority knows no identifier of the computer")
	}
	return info.sid.String(), nil
}

// lsaCall calls a function that returns an NTSTATUS.
//
//go:uintptrescapes
func lsaCall(proc *windows.LazyProc, args ...uintptr) error {
	if err := proc.Find(); err != nil {
		return err
	}
	if status, _, _ := proc.Call(args...); uint32(status) != 0 {
		return windows.NTStatus(status)
	}
	return nil
}
