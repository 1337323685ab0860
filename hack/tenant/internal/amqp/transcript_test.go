// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// transcript returns the vectors of testdata/transcript.txt by name.
func transcript(tb testing.TB) map[string][]byte {
	tb.Helper()
	data, err := os.ReadFile("testdata/transcript.txt")
	if err != nil {
		tb.Fatal(err)
	}
	vectors := map[string][]byte{}
	name := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			name = strings.Trim(line, "[]")
		default:
			b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
			if err != nil {
				tb.Fatalf("vector %s: %v", name, err)
			}
			vectors[name] = append(vectors[name], b...)
		}
	}
	if len(vectors) != 15 {
		tb.Fatalf("the transcript has %d vectors, want 15", len(vectors))
	}
	return vectors
}

// TestTranscriptReadsAndWrites decodes every frame of both sides and encodes it
// again: that proves both codecs, for what they agree on is the wire.
func TestTranscriptReadsAndWrites(t *testing.T) {
	vectors := transcript(t)
	whole := append(bytes.Clone(vectors["transferHead.server"]), vectors["transferPayload.server"]...)
	delete(vectors, "transferHead.server")
	delete(vectors, "transferPayload.server")
	vectors["transfer.server"] = whole
	for name, vector := range vectors {
		t.Run(name, func(t *testing.T) {
			f, err := readFrame(bytes.NewReader(vector))
			if err != nil {
				t.Fatal(err)
			}
			body := make(list, len(f.body))
			for i, v := range f.body {
				if symbols, ok := v.(array); ok { // the one array there is
					typed := make([]symbol, len(symbols))
					for j, s := range symbols {
						typed[j] = s.(symbol)
					}
					v = typed
				}
				body[i] = v
			}
			got := append(encodeFrame(f.kind, f.channel, f.code, body, len(f.payload)), f.payload...)
			if !bytes.Equal(got, vector) {
				t.Errorf("read and written again:\n% X\nwant\n% X", got, vector)
			}
		})
	}
}
