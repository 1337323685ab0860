// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package agent

import "syscall"

// boundUnacknowledged does nothing: Windows by itself gives up on data that is
// not acknowledged after some twenty seconds.
func boundUnacknowledged(string, string, syscall.RawConn) error { return nil }
