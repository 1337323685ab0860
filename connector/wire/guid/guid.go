// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package guid holds the 16-byte identifiers of the wire protocol.
//
// The service writes an identifier in two ways: as text
// (6f5e4d3c-2b1a-4908-8716-253443526170) and as the 16 bytes of a .NET Guid,
// whose first three fields are little-endian. The second form appears in the
// certificate extension that names a connector, in subjectUniqueID, and in the
// UniqueId and Uuid records of binary XML. Keeping the conversion in one type
// keeps byte order out of every other package.
package guid

import (
	"fmt"

	"github.com/google/uuid"
)

// GUID is an identifier in the byte order of its text form (RFC 9562). The
// zero value is the nil identifier, which the protocol uses for "no session".
type GUID [16]byte

// New returns a random (version 4) identifier. It panics only if the
// operating system's source of randomness fails.
func New() GUID { return GUID(uuid.New()) }

// Parse reads the 36-character dashed form, in either case. Other spellings
// (braces, urn:uuid:, no dashes) are refused: the protocol does not use them
// where this function is called.
func Parse(s string) (GUID, error) {
	if len(s) != 36 {
		return GUID{}, fmt.Errorf("identifier %.48q is not a GUID of the form 00000000-0000-0000-0000-000000000000", s)
	}
	u, err := uuid.Parse(s)
	if err != nil {
		return GUID{}, fmt.Errorf("identifier %.48q is not a GUID: %w", s, err)
	}
	return GUID(u), nil
}

// String returns the lower-case dashed form.
func (g GUID) String() string { return uuid.UUID(g).String() }

// IsZero reports whether g is the nil identifier.
func (g GUID) IsZero() bool { return g == GUID{} }

// DotNet returns the bytes as a .NET Guid stores them.
func (g GUID) DotNet() [16]byte { return swap(g) }

// FromDotNet reads bytes stored by a .NET Guid.
func FromDotNet(b [16]byte) GUID { return swap(b) }

func swap(b [16]byte) [16]byte {
	b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
	b[4], b[5] = b[5], b[4]
	b[6], b[7] = b[7], b[6]
	return b
}
