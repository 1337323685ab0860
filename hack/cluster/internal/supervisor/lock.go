// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// lock makes sure that one supervisor alone works in the directory. The lock
// goes with the process. (It is a record lock and not flock's kind because
// those cannot be tested for without taking them.)
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the cluster's lock: %w", err)
	}
	wanted := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &wanted); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("another kubecluster is up in this directory: %w", err)
	}
	return func() { _ = file.Close() }, nil
}

// locked says whether another process holds the lock.
func locked(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	question := syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart}
	err = syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &question)
	return err == nil && question.Type != syscall.F_UNLCK
}
