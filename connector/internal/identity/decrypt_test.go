// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// decrypters are all that run here, by name.
func decrypters(key *rsa.PrivateKey) (map[string]decrypter, error) {
	all := map[string]decrypter{"Go": inGo{key}, "what is used": newDecrypter(key)}
	return all, addNative(all, key)
}

// Whoever decrypts, the results are the same.
func TestDecryptersAgree(t *testing.T) {
	for _, bits := range []int{2048, 3072, 4096} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			key, err := rsa.GenerateKey(rand.Reader, bits)
			must(t, err)
			other, err := rsa.GenerateKey(rand.Reader, bits)
			must(t, err)
			all, err := decrypters(key)
			must(t, err)
			longest := key.Size() - 2*sha1.Size - 2
			for name, d := range all {
				for _, plaintext := range []string{"", "x", "C4nary-Bird! pässwörd", strings.Repeat("\x00", 20), strings.Repeat("p", longest)} {
					got, err := d.decrypt(encrypt(t, key, plaintext))
					if err != nil || string(got) != plaintext {
						t.Errorf("%s: %d bytes became %d, %v", name, len(plaintext), len(got), err)
					}
				}
				good := encrypt(t, key, "x")
				another, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, []byte("x"), nil)
				must(t, err)
				labelled, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, []byte("x"), []byte("label"))
				must(t, err)
				old, err := rsa.EncryptPKCS1v15(rand.Reader, &key.PublicKey, []byte("x")) //nolint:staticcheck // it must be refused
				must(t, err)
				for what, ciphertext := range map[string][]byte{
					"nothing": nil, "a byte": {1}, "a byte less": good[:len(good)-1], "a byte more": append(bytes.Clone(good), 0),
					"zeros": make([]byte, len(good)), "the largest number": bytes.Repeat([]byte{0xff}, len(good)),
					"a flipped bit": append([]byte{good[0] ^ 1}, good[1:]...), "for another key": encrypt(t, other, "x"),
					"another hash": another, "a label": labelled, "another padding": old,
				} {
					if got, err := d.decrypt(ciphertext); err == nil {
						t.Errorf("%s: %s became %q", name, what, got)
					}
				}
			}
		})
	}
}

func TestDecryptersMayBeUsedByMany(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	all, err := decrypters(key)
	must(t, err)
	for name, d := range all {
		var group sync.WaitGroup
		for i := range 8 {
			want := strings.Repeat("p", i)
			ciphertext := encrypt(t, key, want)
			group.Go(func() {
				for range 20 {
					if got, err := d.decrypt(ciphertext); err != nil || string(got) != want {
						t.Errorf("%s: got %q, %v", name, got, err)
					}
				}
			})
		}
		group.Wait()
	}
}

// BenchmarkDecrypt compares what decrypts: go test -bench Decrypt, on Windows.
func BenchmarkDecrypt(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	all, err := decrypters(key)
	if err != nil {
		b.Fatal(err)
	}
	ciphertext, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, []byte("x"), nil)
	if err != nil {
		b.Fatal(err)
	}
	for name, d := range all {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := d.decrypt(ciphertext); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
