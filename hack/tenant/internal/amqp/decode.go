// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	// maxDepth bounds the nesting of values. The deepest value of the
	// protocol, an attach whose source holds a filter map, needs six.
	maxDepth = 16
	// maxValues bounds the values in one frame, of which an attach has about
	// sixty. The bytes of a frame do not: an array of nulls needs none, and
	// arrays nest.
	maxValues = 4096
)

var (
	errShort = errors.New("the value ends beyond its frame")
	errMany  = fmt.Errorf("the frame holds more than %d values", maxValues)
)

// decoder reads values from the bytes of one frame.
type decoder struct {
	rest   []byte
	values int // read so far
}

// reserve counts values that are about to be read.
func (d *decoder) reserve(n int) error {
	if n > maxValues-d.values {
		return errMany
	}
	d.values += n
	return nil
}

// take returns the next n bytes, which stay those of the frame.
func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || n > len(d.rest) {
		return nil, errShort
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}

// size reads a length or count of one or four bytes.
func (d *decoder) size(width int) (int, error) {
	b, err := d.take(width)
	if err != nil {
		return 0, err
	}
	if width == 1 {
		return int(b[0]), nil
	}
	n := binary.BigEndian.Uint32(b)
	if n > math.MaxInt32 {
		return 0, errShort
	}
	return int(n), nil
}

// value reads one value with its constructor.
func (d *decoder) value(depth int) (any, error) {
	code, descriptor, err := d.constructor(depth)
	if err != nil {
		return nil, err
	}
	v, err := d.body(code, depth)
	if err != nil {
		return nil, err
	}
	if descriptor != nil {
		return described{descriptor, v}, nil
	}
	return v, nil
}

// constructor reads a format code and, if there is one, the descriptor before
// it. A described value whose value is described again is refused: no frame
// needs it.
func (d *decoder) constructor(depth int) (code byte, descriptor any, err error) {
	if depth > maxDepth {
		return 0, nil, fmt.Errorf("values are nested more than %d deep", maxDepth)
	}
	b, err := d.take(1)
	if err != nil {
		return 0, nil, err
	}
	if b[0] != 0x00 {
		return b[0], nil, nil
	}
	if descriptor, err = d.value(depth + 1); err != nil {
		return 0, nil, err
	}
	if descriptor == nil {
		return 0, nil, errors.New("a descriptor is null")
	}
	if b, err = d.take(1); err != nil {
		return 0, nil, err
	}
	if b[0] == 0x00 {
		return 0, nil, errors.New("a described value is described again")
	}
	return b[0], descriptor, nil
}

// body reads a value without its constructor.
func (d *decoder) body(code byte, depth int) (any, error) {
	switch code >> 4 {
	case 0x4:
		return empty(code)
	case 0x5, 0x6, 0x7, 0x8, 0x9:
		return d.fixed(code)
	case 0xA, 0xB:
		return d.variable(code)
	case 0xC, 0xD:
		return d.compound(code, depth)
	case 0xE, 0xF:
		return d.array(code, depth)
	default:
		return nil, fmt.Errorf("format code %#02x is not one of AMQP 1.0", code)
	}
}

func empty(code byte) (any, error) {
	switch code {
	case 0x40:
		return nil, nil // null is a value
	case 0x41:
		return true, nil
	case 0x42:
		return false, nil
	case 0x43:
		return uint32(0), nil
	case 0x44:
		return uint64(0), nil
	case 0x45:
		return list{}, nil
	default:
		return nil, fmt.Errorf("format code %#02x is not one of AMQP 1.0", code)
	}
}

func (d *decoder) fixed(code byte) (any, error) {
	width := 1 << (code>>4 - 5)
	b, err := d.take(width)
	if err != nil {
		return nil, err
	}
	switch code {
	case 0x50:
		return b[0], nil
	case 0x51:
		return int8(b[0]), nil
	case 0x52:
		return uint32(b[0]), nil
	case 0x53:
		return uint64(b[0]), nil
	case 0x54:
		return int32(int8(b[0])), nil
	case 0x55:
		return int64(int8(b[0])), nil
	case 0x56:
		return b[0] != 0, nil
	case 0x60:
		return binary.BigEndian.Uint16(b), nil
	case 0x61:
		return int16(binary.BigEndian.Uint16(b)), nil
	case 0x70:
		return binary.BigEndian.Uint32(b), nil
	case 0x71:
		return int32(binary.BigEndian.Uint32(b)), nil
	case 0x72:
		return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
	case 0x80:
		return binary.BigEndian.Uint64(b), nil
	case 0x81:
		return int64(binary.BigEndian.Uint64(b)), nil
	case 0x82:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case 0x83:
		return timestamp(binary.BigEndian.Uint64(b)), nil
	case 0x98:
		return uuid(b), nil
	case 0x73, 0x74, 0x84, 0x94: // char, decimals
		return opaque(b), nil
	default:
		return nil, fmt.Errorf("format code %#02x is not one of AMQP 1.0", code)
	}
}

func (d *decoder) variable(code byte) (any, error) {
	n, err := d.size(sizeWidth(code))
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	if err != nil {
		return nil, err
	}
	switch code & 0xF {
	case 0x0:
		return b, nil
	case 0x1:
		return string(b), nil
	case 0x3:
		return symbol(b), nil
	default:
		return nil, fmt.Errorf("format code %#02x is not one of AMQP 1.0", code)
	}
}

// compound reads a list or map by its count; its size is only skipped.
func (d *decoder) compound(code byte, depth int) (any, error) {
	width := sizeWidth(code)
	if _, err := d.take(width); err != nil {
		return nil, err
	}
	count, err := d.size(width)
	if err != nil {
		return nil, err
	}
	if count > len(d.rest) { // each element has at least a constructor
		return nil, errShort
	}
	if err := d.reserve(count); err != nil {
		return nil, err
	}
	elements := make(list, 0, count)
	for range count {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
	}
	switch code & 0xF {
	case 0x0:
		return elements, nil
	case 0x1:
		if count%2 != 0 {
			return nil, errors.New("a map has a key without a value")
		}
		m := make(mapping, 0, count/2)
		for i := 0; i < count; i += 2 {
			m = append(m, pair{elements[i], elements[i+1]})
		}
		return m, nil
	default:
		return nil, fmt.Errorf("format code %#02x is not one of AMQP 1.0", code)
	}
}

func (d *decoder) array(code byte, depth int) (any, error) {
	if code != 0xE0 && code != 0xF0 {
		return nil, fmt.Errorf("format code %#02x is not one of AMQP 1.0", code)
	}
	width := sizeWidth(code)
	if _, err := d.take(width); err != nil {
		return nil, err
	}
	count, err := d.size(width)
	if err != nil {
		return nil, err
	}
	if err := d.reserve(count); err != nil {
		return nil, err
	}
	element, descriptor, err := d.constructor(depth + 1)
	if err != nil {
		return nil, err
	}
	elements := make(array, 0, count)
	for range count {
		v, err := d.body(element, depth+1)
		if err != nil {
			return nil, err
		}
		if descriptor != nil {
			v = described{descriptor, v}
		}
		elements = append(elements, v)
	}
	return elements, nil
}

// sizeWidth tells how many bytes the size of a variable, compound or array
// value has: one for the even classes A, C, E, four for B, D, F.
func sizeWidth(code byte) int {
	if code>>4&1 == 0 {
		return 1
	}
	return 4
}
