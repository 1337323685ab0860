// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package validation

import "errors"

// NewLogonUser fails: other systems have no such logon.
func NewLogonUser(LogonOptions) (*LogonUser, error) {
	return nil, errors.New("validation by LogonUser needs Windows: run the connector there, or use the method LDAP")
}
