// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"errors"
	"syscall"
)

// wsaConnRefused is WSAECONNREFUSED. What package syscall calls ECONNREFUSED on
// Windows is a number of its own, which no system call returns.
const wsaConnRefused syscall.Errno = 10061

func isRefused(err error) bool { return errors.Is(err, wsaConnRefused) }
