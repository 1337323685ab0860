// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// flowFrame is a flow as the AMQP library writes it.
func flowFrame(fields ...[]byte) []byte {
	body := slices.Concat(fields...)
	b := slices.Concat([]byte{0, 0, 0, 0, 2, 0, 0, 0, 0x00, 0x53, codeFlow, encodedList8, byte(len(body) + 1), byte(len(fields))}, body)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func TestARenewalRepeatsWhatWasSaidLast(t *testing.T) {
	one, window := []byte{0x52, 1}, []byte{0x70, 0, 0, 0x13, 0x88}
	seven, credit, handle := []byte{0x52, 7}, []byte{0x70, 0, 0, 0x03, 0xE8}, []byte{0x52, 1}
	var f lastFlow
	if _, err := f.frames("t"); !errors.Is(err, errNoFlow) {
		t.Errorf("before the first flow: %v", err)
	}
	first := flowFrame(one, window, one, window, handle, []byte{0x43}, credit)
	later := flowFrame(seven, window, one, window) // the session's own
	f.note(slices.Concat(first, []byte{0, 0, 0, 8, 2, 0, 0, 0}, later))
	got, err := f.frames("SharedAccessSignature x")
	if err != nil {
		t.Fatal(err)
	}
	var handles, credits [][]byte
	for len(got) > 0 {
		size := binary.BigEndian.Uint32(got)
		fields := listOf(got[frameHeader+performative : size])
		if !bytes.Equal(slices.Concat(fields[:4]...), slices.Concat(seven, window, one, window)) {
			t.Errorf("windows % X, want those of the last flow", fields[:4])
		}
		handles, credits = append(handles, fields[4]), append(credits, fields[6])
		if !bytes.Contains(got[:size], []byte("\xa3\x11com.microsoft:swt\xb1\x00\x00\x00\x17SharedAccessSignature x")) {
			t.Errorf("no token in % X", got[:size])
		}
		got = got[size:]
	}
	if len(handles) != 2 || !bytes.Equal(handles[1], handle) || !bytes.Equal(credits[1], credit) || !bytes.Equal(handles[0], []byte{0x43}) {
		t.Errorf("handles % X, credits % X", handles, credits)
	}
}

func FuzzNote(f *testing.F) {
	f.Add(flowFrame([]byte{0x43}, []byte{0x43}, []byte{0x43}, []byte{0x43}, []byte{0x43}, []byte{0x43}, []byte{0x43}))
	f.Add([]byte{0, 0, 0, 8, 2, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 20, 2, 0, 0, 0, 0, 0x53, 0x13, 0xD0, 0, 0, 0, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var last lastFlow
		last.note(b)
		frames, err := last.frames("token")
		if err != nil {
			return
		}
		for len(frames) > 0 { // whole frames, whatever was noted
			size := binary.BigEndian.Uint32(frames)
			if size < frameHeader || int(size) > len(frames) {
				t.Fatalf("frame of %d in % X", size, frames)
			}
			frames = frames[size:]
		}
	})
}
