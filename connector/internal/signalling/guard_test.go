// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"encoding/binary"
	"slices"
	"testing"
)

// transcriptOfServer is all that the relay of the worked transcript sends.
func transcriptOfServer(tb testing.TB) []byte {
	tb.Helper()
	sasl := frames(tb, "sasl-server")
	all := slices.Concat([]byte("AMQP\x03\x01\x00\x00"), sasl[0], sasl[1], []byte("AMQP\x00\x01\x00\x00"))
	for _, name := range []string{"open-server", "begin-server", "attach-server", "transfer-server"} {
		all = append(all, slices.Concat(frames(tb, name)...)...)
	}
	return all
}

func TestFramesAreHeldToTheAgreedSize(t *testing.T) {
	good := transcriptOfServer(t)
	sized := func(size uint32, body int) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), make([]byte, body)...)
	}
	for name, tc := range map[string]struct {
		more []byte
		ok   bool
	}{
		"nothing more":                       {nil, true},
		"an empty frame":                     {emptyFrame, true},
		"the longest frame, and another one": {append(sized(maxFrame, maxFrame-4), emptyFrame...), true},
		"one byte too many":                  {sized(maxFrame+1, 0), false},
		"four gigabytes":                     {sized(0xFFFFFFFF, 4), false},
		"less than a header":                 {sized(7, 3), false},
		"nothing at all, as a frame":         {sized(0, 4), false},
		"a third protocol header":            {[]byte("AMQP\x00\x01\x00\x00"), false},
		"a web page":                         {[]byte("HTTP/1.1 200 OK"), false},
	} {
		t.Run(name, func(t *testing.T) {
			stream := slices.Concat(good, tc.more)
			for _, piece := range []int{1, 3, 8, 1000, len(stream)} {
				var g frameGuard
				var err error
				for part := range slices.Chunk(stream, piece) {
					if err = g.check(part); err != nil {
						break
					}
				}
				if (err == nil) != tc.ok {
					t.Errorf("in pieces of %d: %v, want good: %v", piece, err, tc.ok)
				}
			}
		})
	}
}

// However the bytes are cut, the verdict is the same, and what passes is made of
// frames within the limit.
func FuzzFrameGuard(f *testing.F) {
	f.Add(transcriptOfServer(f), uint8(3))
	f.Add([]byte("AMQP\x03\x01\x00\x00\x00\x00\x00\x08\x02\x01\x00\x00"), uint8(1))
	f.Add([]byte("HTTP/1.1 400"), uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		var whole, parts frameGuard
		want := whole.check(b)
		var got error
		for part := range slices.Chunk(b, int(piece)+1) {
			if got = parts.check(part); got != nil {
				break
			}
		}
		if (want == nil) != (got == nil) {
			t.Fatalf("whole: %v; in pieces of %d: %v", want, int(piece)+1, got)
		}
		if whole.left > maxFrame {
			t.Fatalf("%d bytes are awaited", whole.left)
		}
	})
}
