// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package framing

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/vectors"
)

func TestPreambleOfTheTranscript(t *testing.T) {
	want := vectors.Bytes("preamble")
	if got := AppendPreamble(nil, Preamble{Via: vectors.Address}); !bytes.Equal(got, want) {
		t.Errorf("AppendPreamble:\n% X\nwant\n% X", got, want)
	}
	// One byte at a time: records do not keep to the boundaries of messages.
	p, err := NewReader(iotest.OneByteReader(bytes.NewReader(want))).ReadPreamble()
	if err != nil || p.Via != vectors.Address {
		t.Errorf("ReadPreamble = %+v, %v", p, err)
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	long := bytes.Repeat([]byte{0x56}, 300)
	stream := AppendPreambleAck(nil)
	stream = AppendSizedEnvelope(stream, long)
	stream = AppendSizedEnvelope(stream, nil)
	stream = AppendFault(stream, "http://schemas.microsoft.com/ws/2006/05/framing/faults/UnsupportedVersion")
	stream = AppendEnd(stream)
	want := []Record{
		{Type: RecordPreambleAck},
		{Type: RecordSizedEnvelope, Payload: long},
		{Type: RecordSizedEnvelope, Payload: []byte{}},
		{Type: RecordFault, Payload: []byte("http://schemas.microsoft.com/ws/2006/05/framing/faults/UnsupportedVersion")},
		{Type: RecordEnd},
	}
	r := NewReader(iotest.HalfReader(bytes.NewReader(stream)))
	var got []Record
	for {
		rec, err := r.ReadRecord()
		if errors.Is(err, ErrEndOfStream) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestReaderRefuses(t *testing.T) {
	preamble := func(b ...byte) func() error {
		return func() error { _, err := NewReader(bytes.NewReader(b)).ReadPreamble(); return err }
	}
	record := func(b ...byte) func() error {
		return func() error { _, err := NewReader(bytes.NewReader(b)).ReadRecord(); return err }
	}
	for name, tc := range map[string]struct {
		read func() error
		want string
	}{
		"version 2":                      {preamble(0, 2, 0), "version"},
		"singleton mode":                 {preamble(0, 1, 0, 1, 1), "mode"},
		"a text encoding":                {preamble(3, 3), "encoding"},
		"an upgrade request":             {preamble(9), "not supported"},
		"a preamble without an address":  {preamble(0x0C), "no address"},
		"a via longer than its bound":    {preamble(2, 0xFF, 0x7F), "more than"},
		"a via that is not UTF-8":        {preamble(2, 1, 0xFF), "UTF-8"},
		"a preamble cut short":           {preamble(0, 1), io.ErrUnexpectedEOF.Error()},
		"an envelope over its bound":     {record(6, 0x81, 0x80, 0x04), "more than"},
		"an envelope cut short":          {record(6, 5, 1, 2), io.ErrUnexpectedEOF.Error()},
		"a length of six bytes":          {record(6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01), "31 bits"},
		"a length of 32 bits":            {record(6, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F), "31 bits"},
		"a record of an unknown type":    {record(0x42), "not supported"},
		"a preamble record afterwards":   {record(0), "not supported"},
		"the end of the stream is named": {record(), "without an end record"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.read(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	f.Add(vectors.Bytes("preamble"))
	f.Add(append(vectors.Bytes("preamble"), vectors.Bytes("ping")...))
	f.Add(append(AppendEnd(vectors.Bytes("preamble")), AppendFault(nil, "urn:x")...))
	f.Add([]byte{6, 0xFF, 0xFF, 0xFF, 0xFF, 7})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewReader(bytes.NewReader(stream))
		if _, err := r.ReadPreamble(); err != nil {
			return
		}
		for {
			rec, err := r.ReadRecord()
			if err != nil {
				return
			}
			if len(rec.Payload) > MaxEnvelope {
				t.Fatalf("a payload of %d bytes", len(rec.Payload))
			}
		}
	})
}
