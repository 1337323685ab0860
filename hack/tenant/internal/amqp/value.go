// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

// The Go types of decoded values: nil, bool, uint8 (ubyte), uint16 (ushort),
// uint32 (uint), uint64 (ulong), int8, int16, int32, int64, float32, float64,
// string, []byte (binary), and those below. [appendValue] writes the same.
type (
	// symbol is an ASCII name from a constrained domain.
	symbol string
	// list is a sequence of values; performatives are lists.
	list []any
	// mapping is a map; pairs stay in the order of the wire.
	mapping []pair
	// array is a sequence of values of one type.
	array []any
	// timestamp is in milliseconds since 1970.
	timestamp int64
	// uuid is an identifier in RFC 9562 order.
	uuid [16]byte
	// opaque is a value of a type that no frame of ours needs: a decimal or
	// a char, as its bytes.
	opaque []byte
	// described is a value with a descriptor.
	described struct {
		descriptor any
		value      any
	}
)

type pair struct{ key, value any }

// lookup returns the value of a symbol key, nil if there is none.
func (m mapping) lookup(key symbol) any {
	for _, p := range m {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// field returns the i-th field of a performative; those left off at the end are
// null.
func (l list) field(i int) any {
	if i < len(l) {
		return l[i]
	}
	return nil
}

// number reads an optional unsigned integer of any width.
func number(v any) (uint64, bool) {
	switch n := v.(type) {
	case uint8:
		return uint64(n), true
	case uint16:
		return uint64(n), true
	case uint32:
		return uint64(n), true
	case uint64:
		return n, true
	default:
		return 0, false
	}
}

// number32 reads an optional uint field, with a default for null.
func number32(v any, absent uint32) uint32 {
	n, ok := number(v)
	if !ok || n > 0xFFFFFFFF {
		return absent
	}
	return uint32(n)
}

// text reads a string or symbol; anything else is "".
func text(v any) string {
	switch s := v.(type) {
	case string:
		return s
	case symbol:
		return string(s)
	default:
		return ""
	}
}
