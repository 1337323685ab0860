// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package nbfx

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
)

// Text record types of [MC-NBFX]; each has an odd twin that also closes the
// element.
const (
	textZero       = 0x80
	textOne        = 0x82
	textFalse      = 0x84
	textTrue       = 0x86
	textInt8       = 0x88
	textInt16      = 0x8A
	textInt32      = 0x8C
	textInt64      = 0x8E
	textFloat      = 0x90
	textDouble     = 0x92
	textDecimal    = 0x94
	textDateTime   = 0x96
	textChars8     = 0x98
	textChars16    = 0x9A
	textChars32    = 0x9C
	textBytes8     = 0x9E
	textBytes16    = 0xA0
	textBytes32    = 0xA2
	textStartList  = 0xA4
	textEndList    = 0xA6
	textEmpty      = 0xA8
	textDictionary = 0xAA
	textUniqueID   = 0xAC
	textTimeSpan   = 0xAE
	textGUID       = 0xB0
	textUint64     = 0xB2
	textBool       = 0xB4
	textWide8      = 0xB6
	textWide16     = 0xB8
	textWide32     = 0xBA
	textQName      = 0xBC
)

// arrayType reports whether a record type may be the type of an array; the
// types on the wire are the odd twins, this protocol's readers accept both.
func arrayType(t byte) bool {
	return slices.Contains([]byte{textBool, textInt16, textInt32, textInt64, textFloat, textDouble, textDecimal, textDateTime, textTimeSpan, textGUID}, t&^1)
}

// value reads the value of the (even) text record type t.
func (p *parser) value(t byte) (Value, error) {
	switch t {
	case textZero, textOne:
		return Value{kind: kindNumber, number: int64(t-textZero) / 2}, nil
	case textFalse, textTrue:
		return Value{kind: kindBool, number: int64(t-textFalse) / 2}, nil
	case textInt8, textInt16, textInt32, textInt64:
		n, err := p.int(1 << ((t - textInt8) / 2))
		return Value{kind: kindNumber, number: n}, err
	case textChars8, textChars16, textChars32:
		return p.chars(t-textChars8, p.reader.text)
	case textWide8, textWide16, textWide32:
		return p.chars(t-textWide8, p.utf16)
	case textBytes8, textBytes16, textBytes32:
		n, err := p.length(t - textBytes8)
		if err != nil {
			return Value{}, err
		}
		b, err := p.bytes(n)
		return Value{kind: kindBytes, bytes: slices.Clone(b)}, err
	case textEmpty:
		return Value{}, nil
	case textDictionary:
		s, err := p.dictionary()
		p.text += len(s)
		return Value{text: s}, err
	case textUniqueID:
		id, err := p.guid()
		return Value{kind: kindUniqueID, id: id}, err
	case textGUID:
		id, err := p.guid()
		return Value{kind: kindGUID, id: id}, err
	case textBool:
		b, err := p.byte()
		return Value{kind: kindBool, number: int64(min(b, 1))}, err
	default:
		return p.rareValue(t)
	}
}

// rareValue reads the types that this protocol defines but is not known to
// send.
func (p *parser) rareValue(t byte) (Value, error) {
	switch t {
	case textFloat:
		v, err := p.uint(4)
		return formatFloat(float64(math.Float32frombits(uint32(v))), 32), err //nolint:gosec // four bytes
	case textDouble:
		v, err := p.uint(8)
		return formatFloat(math.Float64frombits(v), 64), err
	case textDecimal:
		b, err := p.bytes(16)
		return Value{text: "decimal:" + hex.EncodeToString(b)}, err
	case textDateTime:
		v, err := p.uint(8)
		return formatDateTime(v), err
	case textTimeSpan:
		v, err := p.int(8)
		return formatTimeSpan(v), err
	case textUint64:
		v, err := p.uint(8)
		return Value{text: fmt.Sprint(v)}, err
	case textQName:
		prefix, err := p.byte()
		if err != nil {
			return Value{}, err
		}
		if prefix >= 26 {
			return Value{}, fmt.Errorf("prefix number %d of a qualified name is not a letter", prefix)
		}
		s, err := p.dictionary()
		p.text += len(s)
		return Value{text: string(rune('a'+prefix)) + ":" + s}, err
	default:
		return Value{}, fmt.Errorf("text record type %#02x is unknown", t)
	}
}

// length reads a length of 1, 2 or 4 bytes: distance 0, 2, 4 from the first
// record type of its family.
func (p *parser) length(distance byte) (int, error) {
	n, err := p.uint(1 << (distance / 2))
	if err != nil {
		return 0, err
	}
	if n > MaxString {
		return 0, fmt.Errorf("a value of %d bytes is longer than %d", n, MaxString)
	}
	return int(n), nil
}

func (p *parser) chars(distance byte, read func(int) (string, error)) (Value, error) {
	n, err := p.length(distance)
	if err != nil {
		return Value{}, err
	}
	s, err := read(n)
	return Value{text: s}, err
}
