// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"encoding/binary"
	"fmt"
)

// appendValue writes a value in its smallest form. It panics for a type that
// this package never writes: that is a mistake in this package.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0x40)
	case bool:
		if v {
			return append(b, 0x41)
		}
		return append(b, 0x42)
	case uint8:
		return append(b, 0x50, v)
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, 0x60), v)
	case uint32:
		switch {
		case v == 0:
			return append(b, 0x43)
		case v <= 0xFF:
			return append(b, 0x52, byte(v))
		default:
			return binary.BigEndian.AppendUint32(append(b, 0x70), v)
		}
	case uint64:
		switch {
		case v == 0:
			return append(b, 0x44)
		case v <= 0xFF:
			return append(b, 0x53, byte(v))
		default:
			return binary.BigEndian.AppendUint64(append(b, 0x80), v)
		}
	case []byte:
		return appendVariable(b, 0xA0, v)
	case string:
		return appendVariable(b, 0xA1, []byte(v))
	case symbol:
		return appendVariable(b, 0xA3, []byte(v))
	case list:
		if len(v) == 0 {
			return append(b, 0x45)
		}
		return appendCompound(b, 0xC0, len(v), appendAll(nil, v))
	case mapping:
		var content []byte
		for _, p := range v {
			content = appendValue(appendValue(content, p.key), p.value)
		}
		return appendCompound(b, 0xC1, 2*len(v), content)
	case []symbol:
		return appendSymbols(b, v)
	case described:
		return appendValue(appendValue(append(b, 0x00), v.descriptor), v.value)
	default:
		panic(fmt.Sprintf("amqp: no encoding for %T", v))
	}
}

func appendAll(b []byte, l list) []byte {
	for _, v := range l {
		b = appendValue(b, v)
	}
	return b
}

// appendVariable writes binary, string or symbol; code is that of the form
// with a one-byte length.
func appendVariable(b []byte, code byte, v []byte) []byte {
	if len(v) <= 0xFF {
		return append(append(b, code, byte(len(v))), v...)
	}
	b = binary.BigEndian.AppendUint32(append(b, code+0x10), uint32(len(v)))
	return append(b, v...)
}

// appendCompound writes a list or map; code is that of the form with one-byte
// size and count. A size covers the count.
func appendCompound(b []byte, code byte, count int, content []byte) []byte {
	if len(content)+1 <= 0xFF && count <= 0xFF {
		return append(append(b, code, byte(len(content)+1), byte(count)), content...)
	}
	return appendCompound32(b, code, count, content)
}

func appendCompound32(b []byte, code byte, count int, content []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, code+0x10), uint32(len(content)+4))
	b = binary.BigEndian.AppendUint32(b, uint32(count))
	return append(b, content...)
}

// appendSymbols writes an array of symbols, each shorter than 256 bytes.
func appendSymbols(b []byte, symbols []symbol) []byte {
	content := []byte{0xA3}
	for _, s := range symbols {
		content = append(append(content, byte(len(s))), s...)
	}
	return appendCompound(b, 0xE0, len(symbols), content)
}
