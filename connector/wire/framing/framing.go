// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package framing cuts a bridged stream into the records of .NET Message
// Framing ([MC-NMF]; protocol section 6.4).
//
// The cloud is the initiator: it sends a preamble, the connector answers with
// one acknowledgement byte, and from then on both sides send sized envelopes
// until one sends an end record and the other answers it. Only what the
// protocol uses is spoken: version 1.0, duplex mode, binary encoding with a
// session, no upgrades.
package framing

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// RecordType is the first byte of a record.
type RecordType byte

// The record types of [MC-NMF] section 2.2.1 that the protocol uses.
const (
	RecordVersion       RecordType = 0x00
	RecordMode          RecordType = 0x01
	RecordVia           RecordType = 0x02
	RecordKnownEncoding RecordType = 0x03
	RecordSizedEnvelope RecordType = 0x06
	RecordEnd           RecordType = 0x07
	RecordFault         RecordType = 0x08
	RecordPreambleAck   RecordType = 0x0B
	RecordPreambleEnd   RecordType = 0x0C
)

const (
	// MaxEnvelope bounds the content of a sized envelope, in bytes.
	MaxEnvelope = 65536
	// MaxText bounds a via or fault URI, in bytes.
	MaxText = 2048

	modeDuplex            = 0x02
	encodingBinarySession = 0x08
)

// ErrEndOfStream reports a stream that ended where a record could begin: the
// peer closed without an end record.
var ErrEndOfStream = errors.New("the stream ended without an end record")

// Preamble opens a bridged stream.
type Preamble struct {
	// Via is the address the initiator asked the relay for.
	Via string
}

// Record is one record after the preamble. Payload is the content of a sized
// envelope or the URI of a fault; other types have none.
type Record struct {
	Type    RecordType
	Payload []byte
}

// Reader reads records from one direction of a bridged stream. It is not safe
// for concurrent use.
type Reader struct{ r *bufio.Reader }

// NewReader returns a Reader on a stream that has not been read yet.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReader(r)} }

// ReadPreamble reads up to and including the preamble's end and refuses
// anything but the one kind of stream that the protocol has.
func (r *Reader) ReadPreamble() (Preamble, error) {
	var p Preamble
	for {
		t, err := r.r.ReadByte()
		if err != nil {
			return p, fmt.Errorf("reading the preamble: %w", unexpected(err))
		}
		switch RecordType(t) {
		case RecordVersion:
			err = r.expect("version", 1, 0)
		case RecordMode:
			err = r.expect("mode", modeDuplex)
		case RecordKnownEncoding:
			err = r.expect("encoding", encodingBinarySession)
		case RecordVia:
			p.Via, err = r.text()
		case RecordPreambleEnd:
			if p.Via == "" {
				return p, errors.New("reading the preamble: it names no address")
			}
			return p, nil
		default:
			err = fmt.Errorf("record type %#02x is not supported there", t)
		}
		if err != nil {
			return p, fmt.Errorf("reading the preamble: %w", unexpected(err))
		}
	}
}

// ReadRecord reads the next record after the preamble: an acknowledgement, a
// sized envelope, an end or a fault. A stream that ends between records gives
// ErrEndOfStream.
func (r *Reader) ReadRecord() (Record, error) {
	t, err := r.r.ReadByte()
	if errors.Is(err, io.EOF) {
		return Record{}, ErrEndOfStream
	}
	if err != nil {
		return Record{}, fmt.Errorf("reading a record: %w", err)
	}
	rec := Record{Type: RecordType(t)}
	switch rec.Type {
	case RecordPreambleAck, RecordEnd:
		return rec, nil
	case RecordSizedEnvelope:
		rec.Payload, err = r.sized(MaxEnvelope)
	case RecordFault:
		var uri string
		uri, err = r.text()
		rec.Payload = []byte(uri)
	default:
		return Record{}, fmt.Errorf("reading a record: type %#02x is not supported there", t)
	}
	if err != nil {
		return Record{}, fmt.Errorf("reading a record of type %#02x: %w", t, unexpected(err))
	}
	return rec, nil
}

// unexpected turns the end of the stream inside a record into an error of its
// own; callers must not take it for an orderly end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) expect(what string, want ...byte) error {
	for _, w := range want {
		got, err := r.r.ReadByte()
		if err != nil {
			return err
		}
		if got != w {
			return fmt.Errorf("%s byte is %#02x, want %#02x", what, got, w)
		}
	}
	return nil
}

// size reads a MultiByteInt31.
func (r *Reader) size() (int, error) {
	n := 0
	for shift := 0; shift < 35; shift += 7 {
		b, err := r.r.ReadByte()
		if err != nil {
			return 0, err
		}
		if shift == 28 && b > 0x07 {
			break
		}
		n |= int(b&0x7F) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, errors.New("a length takes more than 31 bits")
}

func (r *Reader) sized(limit int) ([]byte, error) {
	n, err := r.size()
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%d bytes are more than %d", n, limit)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r.r, b)
	return b, err
}

func (r *Reader) text() (string, error) {
	b, err := r.sized(MaxText)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", errors.New("a URI is not valid UTF-8")
	}
	return string(b), nil
}

// AppendPreamble appends the initiator's preamble, its end record included.
func AppendPreamble(b []byte, p Preamble) []byte {
	b = append(b, byte(RecordVersion), 1, 0, byte(RecordMode), modeDuplex, byte(RecordVia))
	b = appendSized(b, []byte(p.Via))
	return append(b, byte(RecordKnownEncoding), encodingBinarySession, byte(RecordPreambleEnd))
}

// AppendPreambleAck appends the receiver's answer to a preamble.
func AppendPreambleAck(b []byte) []byte { return append(b, byte(RecordPreambleAck)) }

// AppendSizedEnvelope appends a sized envelope. content must not be longer
// than MaxEnvelope.
func AppendSizedEnvelope(b, content []byte) []byte {
	return appendSized(append(b, byte(RecordSizedEnvelope)), content)
}

// AppendEnd appends an end record.
func AppendEnd(b []byte) []byte { return append(b, byte(RecordEnd)) }

// AppendFault appends a fault record; uri names the fault ([MC-NMF] section
// 2.2.4.5) and must not be longer than MaxText.
func AppendFault(b []byte, uri string) []byte {
	return appendSized(append(b, byte(RecordFault)), []byte(uri))
}

func appendSized(b, content []byte) []byte {
	n := len(content)
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(append(b, byte(n)), content...)
}
