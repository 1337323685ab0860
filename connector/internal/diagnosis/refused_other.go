// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package diagnosis

import (
	"errors"
	"syscall"
)

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
