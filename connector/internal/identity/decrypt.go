// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/rsa"
	"crypto/sha1"
)

// decrypter opens ciphertexts of one key: RSAES-OAEP with SHA-1, no label. It may
// be used from several goroutines. An error says no more than that it failed.
type decrypter interface {
	// decrypt returns what ciphertext holds. The caller wipes it.
	decrypt(ciphertext []byte) ([]byte, error)
	// name says whose code it is.
	name() string
}

// inGo decrypts with Go's own RSA.
type inGo struct{ key *rsa.PrivateKey }

func (inGo) name() string { return "Go" }

func (d inGo) decrypt(ciphertext []byte) ([]byte, error) {
	return rsa.DecryptOAEP(sha1.New(), nil, d.key, ciphertext, nil)
}
