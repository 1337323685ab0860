// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"golang.org/x/sys/windows"
)

// withoutOAEP tells the error of Wine 8, whose CNG imports keys and knows no OAEP.
func withoutOAEP(err error) bool { return errors.Is(err, windows.STATUS_NOT_IMPLEMENTED) }

// addNative adds the system's own.
func addNative(all map[string]decrypter, key *rsa.PrivateKey) error {
	native, err := newNative(key)
	switch {
	case err == nil:
		all["CNG"] = native
	case withoutOAEP(err):
		return nil
	}
	return err
}

func TestTheSystemIsUsedIfItCanBe(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	want := "CNG"
	if _, err := newNative(key); withoutOAEP(err) {
		want = "Go"
	}
	if got := newDecrypter(key).name(); got != want {
		t.Errorf("%s decrypts, want %s", got, want)
	}
}

// The padding that Wine knows, too, shows that the key is imported as it is.
func TestTheSystemTakesTheKey(t *testing.T) {
	for _, bits := range []int{2048, 3072, 4096} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		must(t, err)
		n, err := importKey(key)
		must(t, err)
		ciphertext, err := rsa.EncryptPKCS1v15(rand.Reader, &key.PublicKey, []byte("C4nary")) //nolint:staticcheck // the one that Wine knows
		must(t, err)
		if got, err := n.open(ciphertext, padPKCS1, nil); err != nil || string(got) != "C4nary" {
			t.Errorf("%d bits: got %q, %v", bits, got, err)
		}
	}
}

func TestAKeyThatTheSystemCannotTakeIsUsedByGo(t *testing.T) {
	key, err := rsa.GenerateMultiPrimeKey(rand.Reader, 3, 2048) //nolint:staticcheck // it is the key that is not taken
	must(t, err)
	d := newDecrypter(key)
	if got, err := d.decrypt(encrypt(t, key, "x")); d.name() != "Go" || err != nil || string(got) != "x" {
		t.Errorf("%s: got %q, %v", d.name(), got, err)
	}
}
