// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	bcrypt                      = windows.NewLazySystemDLL("bcrypt.dll")
	bcryptOpenAlgorithmProvider = bcrypt.NewProc("BCryptOpenAlgorithmProvider")
	bcryptImportKeyPair         = bcrypt.NewProc("BCryptImportKeyPair")
	bcryptDecrypt               = bcrypt.NewProc("BCryptDecrypt")
	bcryptDestroyKey            = bcrypt.NewProc("BCryptDestroyKey")
)

// From bcrypt.h.
const (
	rsaPrivateMagic = 0x32415352 // BCRYPT_RSAPRIVATE_MAGIC, "RSA2"
	padPKCS1        = 2          // BCRYPT_PAD_PKCS1; tests alone use it
	padOAEP         = 4          // BCRYPT_PAD_OAEP
)

// oaepPadding is BCRYPT_OAEP_PADDING_INFO.
type oaepPadding struct {
	hash        *uint16
	label       *byte
	labelLength uint32
}

// newDecrypter returns what decrypts with the key: the system's own cryptography
// (CNG), or Go's if that cannot take the key or does not decrypt rightly with it.
func newDecrypter(key *rsa.PrivateKey) decrypter {
	native, err := newNative(key)
	if err != nil {
		return inGo{key}
	}
	return native
}

// native decrypts with CNG. The key is imported once.
type native struct {
	size int

	mu     sync.Mutex // protects handle: CNG does not promise that a key may be used twice at a time
	handle windows.Handle
}

// provider is CNG's RSA. It is opened once and never closed.
var provider = sync.OnceValues(func() (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString("RSA")
	if err != nil {
		return 0, err
	}
	var handle windows.Handle
	err = call(bcryptOpenAlgorithmProvider, uintptr(unsafe.Pointer(&handle)), uintptr(unsafe.Pointer(name)), 0, 0)
	return handle, err
})

// newNative imports the key and tries it.
func newNative(key *rsa.PrivateKey) (*native, error) {
	n, err := importKey(key)
	if err != nil {
		return nil, err
	}
	return n, n.prove(&key.PublicKey)
}

func importKey(key *rsa.PrivateKey) (*native, error) {
	algorithm, err := provider()
	if err != nil {
		return nil, fmt.Errorf("opening the system's RSA: %w", err)
	}
	kind, err := windows.UTF16PtrFromString("RSAPRIVATEBLOB")
	if err != nil {
		return nil, err
	}
	blob, err := privateBlob(key)
	if err != nil {
		return nil, err
	}
	defer clear(blob)
	n := &native{size: key.Size()}
	if err := call(bcryptImportKeyPair, uintptr(algorithm), 0, uintptr(unsafe.Pointer(kind)), uintptr(unsafe.Pointer(&n.handle)),
		uintptr(unsafe.Pointer(unsafe.SliceData(blob))), uintptr(len(blob)), 0); err != nil {
		return nil, fmt.Errorf("giving the key to the system: %w", err)
	}
	runtime.AddCleanup(n, func(handle windows.Handle) { _ = call(bcryptDestroyKey, uintptr(handle)) }, n.handle)
	return n, nil
}

// prove decrypts something that is known.
func (n *native) prove(public *rsa.PublicKey) error {
	want := []byte(rand.Text())
	ciphertext, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, public, want, nil)
	if err != nil {
		return fmt.Errorf("encrypting something to try the key with: %w", err)
	}
	got, err := n.decrypt(ciphertext)
	if err != nil {
		return fmt.Errorf("trying the key: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("the system decrypts to something else than was encrypted")
	}
	return nil
}

// privateBlob is BCRYPT_RSAPRIVATE_BLOB: a header, and numbers in big-endian order.
func privateBlob(key *rsa.PrivateKey) ([]byte, error) {
	if len(key.Primes) != 2 {
		return nil, errors.New("the key has more than two primes")
	}
	exponent := big.NewInt(int64(key.E)).Bytes()
	// Each prime takes half of the modulus.
	size, half := key.Size(), (key.Size()+1)/2
	blob := make([]byte, 0, 24+len(exponent)+size+2*half)
	for _, n := range []int{rsaPrivateMagic, key.N.BitLen(), len(exponent), size, half, half} {
		blob = binary.LittleEndian.AppendUint32(blob, uint32(n))
	}
	blob = append(blob, exponent...)
	for _, number := range []struct {
		value *big.Int
		size  int
	}{{key.N, size}, {key.Primes[0], half}, {key.Primes[1], half}} {
		if (number.value.BitLen()+7)/8 > number.size {
			clear(blob)
			return nil, errors.New("the key's primes are not of one size")
		}
		end := len(blob) + number.size
		number.value.FillBytes(blob[len(blob):end])
		blob = blob[:end]
	}
	return blob, nil
}

func (*native) name() string { return "CNG" }

func (n *native) decrypt(ciphertext []byte) ([]byte, error) {
	hash, err := windows.UTF16PtrFromString("SHA1")
	if err != nil {
		return nil, err
	}
	return n.open(ciphertext, padOAEP, &oaepPadding{hash: hash})
}

// open decrypts. padding is nil for the paddings that have nothing to say.
func (n *native) open(ciphertext []byte, flags uintptr, padding *oaepPadding) ([]byte, error) {
	if len(ciphertext) != n.size {
		return nil, ErrDecrypt
	}
	plaintext := make([]byte, n.size)
	var length uint32
	n.mu.Lock()
	defer n.mu.Unlock()
	err := call(bcryptDecrypt, uintptr(n.handle), uintptr(unsafe.Pointer(unsafe.SliceData(ciphertext))), uintptr(len(ciphertext)),
		uintptr(unsafe.Pointer(padding)), 0, 0, uintptr(unsafe.Pointer(unsafe.SliceData(plaintext))), uintptr(len(plaintext)),
		uintptr(unsafe.Pointer(&length)), flags)
	runtime.KeepAlive(n)
	if err != nil || int(length) > len(plaintext) {
		clear(plaintext)
		return nil, errors.Join(ErrDecrypt, err)
	}
	return plaintext[:length], nil
}

// call calls a function that returns an NTSTATUS.
//
//go:uintptrescapes
func call(proc *windows.LazyProc, args ...uintptr) error {
	if err := proc.Find(); err != nil {
		return err
	}
	if status, _, _ := proc.Call(args...); uint32(status) != 0 {
		return windows.NTStatus(status)
	}
	return nil
}
