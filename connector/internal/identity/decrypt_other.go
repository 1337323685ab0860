// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package identity

import "crypto/rsa"

// newDecrypter returns what decrypts with the key.
func newDecrypter(key *rsa.PrivateKey) decrypter { return inGo{key} }
