// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxFrame is the largest frame, in bytes, that the server reads; it says so in
// its open.
const MaxFrame = 65536

const (
	frameAMQP = 0x00
	frameSASL = 0x01
)

// Descriptors of the performatives and of what is in them.
const (
	descOpen        = 0x10
	descBegin       = 0x11
	descAttach      = 0x12
	descFlow        = 0x13
	descTransfer    = 0x14
	descDisposition = 0x15
	descDetach      = 0x16
	descEnd         = 0x17
	descClose       = 0x18
	descError       = 0x1D
	descAccepted    = 0x24
	descRejected    = 0x25
	descSource      = 0x28
	descTarget      = 0x29
	descMechanisms  = 0x40
	descInit        = 0x41
	descOutcome     = 0x44
	descData        = 0x75
)

// names are the descriptors as symbols, which a peer may use instead of the
// numbers.
var names = map[symbol]uint64{
	"amqp:open:list": descOpen, "amqp:begin:list": descBegin, "amqp:attach:list": descAttach,
	"amqp:flow:list": descFlow, "amqp:transfer:list": descTransfer, "amqp:disposition:list": descDisposition,
	"amqp:detach:list": descDetach, "amqp:end:list": descEnd, "amqp:close:list": descClose,
	"amqp:error:list": descError, "amqp:accepted:list": descAccepted, "amqp:source:list": descSource,
	"amqp:target:list": descTarget, "amqp:sasl-init:list": descInit,
}

// frame is one frame that was read.
type frame struct {
	kind    byte
	channel uint16
	// code is the descriptor of the performative; zero means that the frame
	// was empty, a keep-alive.
	code uint64
	body list
	// payload is what follows a transfer's performative.
	payload []byte
}

// readFrame reads one frame from a stream, whatever the pieces in which it
// arrives.
func readFrame(r io.Reader) (frame, error) {
	var header [8]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return frame{}, err
	}
	size := binary.BigEndian.Uint32(header[:4])
	if size < 8 || size > MaxFrame {
		return frame{}, fmt.Errorf("a frame has %d bytes; 8 to %d are allowed", size, MaxFrame)
	}
	rest := make([]byte, size-8)
	if _, err := io.ReadFull(r, rest); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	return parseFrame(header, rest)
}

func parseFrame(header [8]byte, rest []byte) (frame, error) {
	f := frame{kind: header[5], channel: binary.BigEndian.Uint16(header[6:])}
	if f.kind != frameAMQP && f.kind != frameSASL {
		return frame{}, fmt.Errorf("a frame is of type %#02x, neither AMQP nor SASL", f.kind)
	}
	offset := int(header[4])*4 - 8 // of the body, after an extended header
	if offset < 0 || offset > len(rest) {
		return frame{}, errors.New("the data offset of a frame points outside of it")
	}
	d := decoder{rest: rest[offset:]}
	if len(d.rest) == 0 {
		return f, nil
	}
	v, err := d.value(0)
	if err != nil {
		return frame{}, fmt.Errorf("reading a performative: %w", err)
	}
	code, body, ok := performative(v)
	if !ok {
		return frame{}, errors.New("a frame does not begin with a performative")
	}
	f.code, f.body, f.payload = code, body, d.rest
	return f, nil
}

// performative splits a described list into the number of its descriptor and
// its fields. Sources, errors and delivery states have the same form.
func performative(v any) (code uint64, fields list, ok bool) {
	d, ok := v.(described)
	if !ok {
		return 0, nil, false
	}
	switch descriptor := d.descriptor.(type) {
	case uint64:
		code = descriptor
	case symbol:
		code = names[descriptor]
	}
	fields, ok = d.value.(list)
	return code, fields, ok && code != 0
}

// encodeFrame writes a frame with a performative. extra bytes of payload will
// follow it in a write of their own; the frame's size covers them.
func encodeFrame(kind byte, channel uint16, code uint64, fields list, extra int) []byte {
	body := appendAll(nil, fields)
	b := append(make([]byte, 0, 64+len(body)), 0, 0, 0, 0, 2, kind, byte(channel>>8), byte(channel))
	b = appendValue(append(b, 0x00), code)
	if code == descAttach {
		// The service writes the long form, whatever the length.
		b = appendCompound32(b, 0xC0, len(fields), body)
	} else {
		b = appendCompound(b, 0xC0, len(fields), body)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)+extra))
	return b
}

// emptyFrame is a keep-alive.
var emptyFrame = []byte{0, 0, 0, 8, 2, 0, 0, 0}
