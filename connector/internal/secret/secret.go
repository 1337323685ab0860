// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package secret holds a password while one request is answered.
//
// A [Buffer] owns one slice of bytes. Nothing prints it: every verb of fmt,
// encoding/json, encoding/xml, log/slog and logr show [Placeholder] instead,
// also when the buffer lies inside another struct, exported field or not. Only
// [Buffer.Bytes] reaches the contents.
//
// # Using it
//
// Whoever creates a buffer zeroes it, on every path:
//
//	password := secret.New(plaintext) // plaintext now belongs to the buffer
//	defer password.Zero()
//
// There is one buffer for a password. A call that outlives its caller (a
// Windows logon cannot be cancelled) takes the contents with [Buffer.Move], so
// that the caller's Zero neither pulls the bytes from under it nor leaves a
// second copy behind. Do not convert the bytes to a string: strings cannot be
// zeroed, and the collector may copy them.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// Placeholder is what a buffer prints as.
const Placeholder = "[redacted]"

// Buffer owns the bytes of one secret. The zero value is empty and usable.
// Methods may be called from several goroutines, but the slice that Bytes
// returns is guarded by nothing: its user must be done before Zero is called.
type Buffer struct {
	// open returns the contents, and the methods that print have value
	// receivers. It is a function because fmt cannot call methods on unexported
	// fields: of a Buffer in such a field it prints what it finds by reflection.
	// That stops at a function. It would not at a pointer, which fmt follows
	// when the verb does not fit.
	open func() *contents
}

type contents struct {
	mu    sync.Mutex // protects bytes
	bytes []byte
}

// New returns a buffer that owns b. The caller must not use b afterwards.
func New(b []byte) *Buffer {
	c := &contents{bytes: b}
	return &Buffer{open: func() *contents { return c }}
}

// Bytes returns the secret itself, valid until Zero or Move. Do not keep it, do
// not append to it, do not turn it into a string. A nil or emptied buffer
// returns nil.
func (b *Buffer) Bytes() []byte {
	if b == nil || b.open == nil {
		return nil
	}
	c := b.open()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// Len is the length of the secret in bytes.
func (b *Buffer) Len() int { return len(b.Bytes()) }

// Zero overwrites the secret, to the end of its capacity, and lets go of it. It
// may be called any number of times, and on a nil buffer.
func (b *Buffer) Zero() {
	if b == nil || b.open == nil {
		return
	}
	c := b.open()
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.bytes[:cap(c.bytes)])
	c.bytes = nil
}

// Move returns a new owner of the secret and leaves b empty. The caller must
// see to it that the new buffer is zeroed; Zero on b then does nothing.
func (b *Buffer) Move() *Buffer {
	if b == nil || b.open == nil {
		return New(nil)
	}
	c := b.open()
	c.mu.Lock()
	defer c.mu.Unlock()
	moved := New(c.bytes)
	c.bytes = nil
	return moved
}

// Format writes the placeholder for every verb and flag.
func (Buffer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Placeholder) }

// String returns the placeholder.
func (Buffer) String() string { return Placeholder }

// GoString returns the placeholder.
func (Buffer) GoString() string { return Placeholder }

// MarshalText returns the placeholder.
func (Buffer) MarshalText() ([]byte, error) { return []byte(Placeholder), nil }

// MarshalJSON returns the placeholder as a JSON string.
func (Buffer) MarshalJSON() ([]byte, error) { return []byte(`"` + Placeholder + `"`), nil }

// MarshalBinary refuses: a secret is never stored.
func (Buffer) MarshalBinary() ([]byte, error) {
	return nil, errors.New("a secret cannot be encoded: it lives in memory, for one request")
}

// LogValue is the placeholder, for log/slog.
func (Buffer) LogValue() slog.Value { return slog.StringValue(Placeholder) }

// MarshalLog returns the placeholder, for logr.
func (Buffer) MarshalLog() any { return Placeholder }
