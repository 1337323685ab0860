// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package identity

import "crypto/rsa"

// addNative adds nothing: Go's is the only one.
func addNative(map[string]decrypter, *rsa.PrivateKey) error { return nil }
