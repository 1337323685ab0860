// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// describe reads a self-relative security descriptor (MS-DTYP 2.4.6), which the
// images' layers hold, and writes it much as SDDL does.
func describe(t *testing.T, encoded string) string {
	t.Helper()
	b := got[[]byte](t)(base64.StdEncoding.DecodeString(encoded))
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	sid := func(at int) string {
		text := fmt.Sprintf("S-%d-%d", b[at], b[at+7])
		for n := range int(b[at+1]) {
			text += fmt.Sprintf("-%d", u32(at+8+4*n))
		}
		return text
	}
	if control := u16(2); b[0] != 1 || control != 0x9004 {
		t.Errorf("revision %d, control %#x", b[0], control)
	}
	if u32(12) != 0 {
		t.Errorf("it has a SACL")
	}
	text := fmt.Sprintf("O:%s G:%s D:P", sid(u32(4)), sid(u32(8)))
	acl := u32(16)
	if acl+u16(acl+2) != len(b) {
		t.Errorf("the list ends at %d of %d bytes", acl+u16(acl+2), len(b))
	}
	at := acl + 8
	for range u16(acl + 4) {
		text += fmt.Sprintf("(%s;%x;%x;%s)", map[byte]string{0: "A", 1: "D"}[b[at]], b[at+1], u32(at+4), sid(at+8))
		at += u16(at + 2)
	}
	if at != len(b) {
		t.Errorf("the entries end at %d of %d bytes", at, len(b))
	}
	return text
}

// What other builders give every file, read by the same reader: it can read what
// others wrote.
func TestDescriptorsOfOthersAreRead(t *testing.T) {
	const users = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA=="
	b := got[[]byte](t)(base64.StdEncoding.DecodeString(users))
	own := sid(32, 545)
	if !strings.HasSuffix(string(b), string(own)+string(own)) {
		t.Errorf("BUILTIN\\Users is % x, others write % x", own, b[20:])
	}
}
