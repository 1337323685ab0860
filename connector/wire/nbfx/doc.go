// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package nbfx reads and writes binary XML as .NET services speak it: the
// records of [MC-NBFX], the static dictionary of [MC-NBFS] and the session
// string tables of [MC-NBFSE].
//
// # Reading
//
// Parse turns a document into a tree of Elements. It is structural and
// tolerant: callers look for elements by local name and ask for their text as
// a string, a number or an identifier, whatever record type carried it. It is
// also bounded (see the Max constants), allocates in proportion to its input,
// and never panics: everything it reads comes from the network.
//
// # Writing
//
// The peers of this protocol were measured byte for byte, so the writer leaves
// each choice that shows on the wire to the caller: whether a name is an entry
// of the static dictionary (Static), of the session table (Session), or
// written out (Literal).
//
// # Sessions
//
// On a bridged connection each direction has a table of strings that grows
// with every message. Strings of a message are appended to it, and the k-th
// string ever sent has the identifier 2k+1. Table holds one direction's
// strings for a reader, and Interner for a writer.
package nbfx
