// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signalling

import (
	"encoding/binary"
	"errors"
	"slices"
)

// What an AMQP flow frame is made of (AMQP 1.0 sections 1.6, 2.3 and 2.7.4).
const (
	frameHeader    = 8
	performative   = 3 // bytes: described, small ulong, code
	codeFlow       = 0x13
	encodedNull    = 0x40
	encodedFalse   = 0x42
	encodedZero    = 0x43 // uint
	encodedList8   = 0xC0
	encodedList32  = 0xD0
	encodedMap32   = 0xD1
	encodedSymbol8 = 0xA3
	encodedText32  = 0xB1
	tokenProperty  = "com.microsoft:swt"
)

// errNoFlow means that the AMQP library has not granted credit yet.
var errNoFlow = errors.New("the link has not been granted credit yet")

// lastFlow is what the AMQP library said last about windows and credit. Saying the
// same again changes nothing, whatever has been received meanwhile: both sides
// reckon with sums of these numbers (AMQP 2.5.6 and 2.6.7). So a new token can
// travel in a flow of this package's own, for which the library has no function.
//
// It reads frames that the library has made and takes no other ones.
type lastFlow struct {
	head    []byte   // the frame's header behind the size
	session [][]byte // next-incoming-id, incoming-window, next-outgoing-id, outgoing-window
	in      [][]byte // handle, delivery-count, link-credit of the receiving link
}

// note looks at whole frames on their way out.
func (f *lastFlow) note(b []byte) {
	for len(b) >= frameHeader+performative {
		size := binary.BigEndian.Uint32(b)
		if size < frameHeader || uint64(size) > uint64(len(b)) {
			return
		}
		frame := b[:size]
		b = b[size:]
		if len(frame) < frameHeader+performative || frame[4] != 2 || frame[frameHeader+2] != codeFlow {
			continue
		}
		fields := listOf(frame[frameHeader+performative:])
		if len(fields) < 4 {
			continue
		}
		f.head, f.session = slices.Clone(frame[4:frameHeader]), fields[:4]
		if len(fields) >= 7 && fields[4][0] != encodedNull {
			f.in = fields[4:7]
		}
	}
}

// listOf takes a list of simple values apart; nil if it cannot.
func listOf(b []byte) [][]byte {
	switch {
	case len(b) > 3 && b[0] == encodedList8:
		b = b[3:]
	case len(b) > 9 && b[0] == encodedList32:
		b = b[9:]
	default:
		return nil
	}
	var fields [][]byte
	for len(b) > 0 {
		width, ok := map[byte]int{4: 0, 5: 1, 6: 2, 7: 4, 8: 8}[b[0]>>4] // AMQP 1.2
		if !ok || len(b) < 1+width {
			break // what follows is not needed
		}
		fields = append(fields, slices.Clone(b[:1+width]))
		b = b[1+width:]
	}
	return fields
}

// frames returns one flow for each link that carries the token (protocol section
// 5.8): the receiving one, and the sending one with the other handle of the pair.
func (f *lastFlow) frames(token string) ([]byte, error) {
	if f.in == nil {
		return nil, errNoFlow
	}
	out := [][]byte{{encodedZero}, {encodedZero}, {encodedZero}} // the first link of the session; nothing was sent on it
	return slices.Concat(f.frame(out, token), f.frame(f.in, token)), nil
}

func (f *lastFlow) frame(link [][]byte, token string) []byte {
	fields := slices.Concat(slices.Concat(f.session...), slices.Concat(link...), []byte{
		encodedZero,  // available
		encodedFalse, // drain
		encodedFalse, // echo
	}, properties(token))
	b := slices.Concat([]byte{0, 0, 0, 0}, f.head, []byte{0x00, 0x53, codeFlow, encodedList32})
	b = binary.BigEndian.AppendUint32(b, uint32(len(fields)+4)) //nolint:gosec // a token has some hundred bytes
	b = binary.BigEndian.AppendUint32(b, 11)
	b = append(b, fields...)
	binary.BigEndian.PutUint32(b, uint32(len(b))) //nolint:gosec // a token has some hundred bytes
	return b
}

// properties is the map of the token.
func properties(token string) []byte {
	pair := append([]byte{encodedSymbol8, byte(len(tokenProperty))}, tokenProperty...)
	pair = append(pair, encodedText32)
	pair = binary.BigEndian.AppendUint32(pair, uint32(len(token))) //nolint:gosec // a token has some hundred bytes
	pair = append(pair, token...)
	b := []byte{encodedMap32}
	b = binary.BigEndian.AppendUint32(b, uint32(len(pair)+4)) //nolint:gosec // a token has some hundred bytes
	b = binary.BigEndian.AppendUint32(b, 2)
	return append(b, pair...)
}
