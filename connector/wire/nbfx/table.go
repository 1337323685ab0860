// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package nbfx

import (
	"errors"
	"fmt"
)

// Limits of everything this package reads. They follow the quotas of the
// peers (protocol section 6.4) where those are known.
const (
	MaxDocument   = 65536 // bytes of one document
	MaxString     = 61440 // bytes of one string or array
	MaxDepth      = 32    // nested elements
	MaxNodes      = 8192  // elements, attributes and texts of one document
	MaxTableBytes = 65536 // all strings of one session table
	MaxTableCount = 4096  // strings of one session table
)

// ErrTableFull reports a peer that keeps adding strings to its session table.
var ErrTableFull = errors.New("the session string table is full")

// Table holds the session strings that one peer has sent on one connection.
// The zero value is an empty table. A nil *Table stands for a document outside
// any session.
type Table struct {
	strings []string
	size    int
}

// Add appends a string, as the next message of the session does.
func (t *Table) Add(s string) error {
	if len(t.strings) >= MaxTableCount || t.size+len(s) > MaxTableBytes {
		return ErrTableFull
	}
	t.strings = append(t.strings, s)
	t.size += len(s)
	return nil
}

// AddEncoded appends the strings of a message's string table: repeated length
// and UTF-8 text.
func (t *Table) AddEncoded(b []byte) error {
	r := reader{rest: b}
	for len(r.rest) > 0 {
		s, err := r.string()
		if err != nil {
			return fmt.Errorf("reading the session strings of a message: %w", err)
		}
		if err := t.Add(s); err != nil {
			return err
		}
	}
	return nil
}

// Len returns the number of strings.
func (t *Table) Len() int { return len(t.strings) }

// lookup finds a dictionary string by its identifier on the wire: even ones
// are static, odd ones belong to the session.
func (t *Table) lookup(id uint32) (string, error) {
	if id%2 == 0 {
		if int(id/2) < len(staticDictionary) {
			return staticDictionary[id/2], nil
		}
		return "", fmt.Errorf("identifier %d is not in the static dictionary", id)
	}
	if t != nil && int(id/2) < len(t.strings) {
		return t.strings[id/2], nil
	}
	return "", fmt.Errorf("identifier %d is not in the session string table", id)
}

// Interner gives session strings their identifiers on the writing side of one
// connection, and remembers which of them the peer does not know yet. The zero
// value is ready to use.
type Interner struct {
	ids     map[string]uint32
	pending []byte
}

// id returns the identifier of a session string, new or known.
func (in *Interner) id(s string) uint32 {
	if id, ok := in.ids[s]; ok {
		return id
	}
	if in.ids == nil {
		in.ids = map[string]uint32{}
	}
	id := uint32(2*len(in.ids) + 1) //nolint:gosec // a connection sends a few dozen different strings
	in.ids[s] = id
	in.pending = appendString(in.pending, s)
	return id
}

// Flush returns the strings that were used for the first time since the last
// Flush, encoded as a message's string table.
func (in *Interner) Flush() []byte {
	b := in.pending
	in.pending = nil
	return b
}
