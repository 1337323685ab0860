// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package nbfx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

// ErrTruncated reports a document that ends in the middle of a record.
var ErrTruncated = errors.New("the document ends in the middle of a record")

// reader takes primitive values off the front of a byte slice.
type reader struct{ rest []byte }

func (r *reader) bytes(n int) ([]byte, error) {
	if n < 0 || n > len(r.rest) {
		return nil, ErrTruncated
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b, nil
}

func (r *reader) byte() (byte, error) {
	b, err := r.bytes(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// number reads a MultiByteInt31: 7 bits a byte, low ones first.
func (r *reader) number() (uint32, error) {
	n, size, err := DecodeMultiByteInt31(r.rest)
	r.rest = r.rest[size:]
	return n, err
}

func (r *reader) string() (string, error) {
	n, err := r.number()
	if err != nil {
		return "", err
	}
	return r.text(int(n))
}

// text reads n bytes of UTF-8.
func (r *reader) text(n int) (string, error) {
	if n > MaxString {
		return "", fmt.Errorf("a string of %d bytes is longer than %d", n, MaxString)
	}
	b, err := r.bytes(n)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", errors.New("a string is not valid UTF-8")
	}
	return string(b), nil
}

// utf16 reads n bytes of little-endian UTF-16.
func (r *reader) utf16(n int) (string, error) {
	if n > MaxString || n%2 != 0 {
		return "", fmt.Errorf("a UTF-16 string of %d bytes is odd or longer than %d", n, MaxString)
	}
	b, err := r.bytes(n)
	if err != nil {
		return "", err
	}
	units := make([]uint16, n/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

func (r *reader) uint(width int) (uint64, error) {
	b, err := r.bytes(width)
	if err != nil {
		return 0, err
	}
	var v [8]byte
	copy(v[:], b)
	return binary.LittleEndian.Uint64(v[:]), nil
}

// int reads a little-endian two's complement integer of 1, 2, 4 or 8 bytes.
func (r *reader) int(width int) (int64, error) {
	v, err := r.uint(width)
	shift := 64 - 8*width
	return int64(v<<shift) >> shift, err //nolint:gosec // this is how the sign bit is extended
}

func (r *reader) guid() (guid.GUID, error) {
	b, err := r.bytes(16)
	if err != nil {
		return guid.GUID{}, err
	}
	return guid.FromDotNet([16]byte(b)), nil
}

// DecodeMultiByteInt31 reads the number at the front of b and tells how many
// bytes it takes: at most five, together at most 31 bits.
func DecodeMultiByteInt31(b []byte) (value uint32, size int, err error) {
	for size < len(b) && size < 5 {
		c := b[size]
		if size == 4 && c > 0x07 {
			break
		}
		value |= uint32(c&0x7F) << (7 * size)
		size++
		if c < 0x80 {
			return value, size, nil
		}
	}
	if size < len(b) {
		return 0, size, errors.New("a length takes more than 31 bits")
	}
	return 0, size, ErrTruncated
}

// AppendMultiByteInt31 appends a number of at most 31 bits.
func AppendMultiByteInt31(b []byte, n uint32) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}
