// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package main

import "github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"

// outageOnSignal does nothing where there is no SIGUSR1 and SIGUSR2.
func outageOnSignal(*ldapserver.Server) (stop func()) { return func() {} }
