// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// count returns how many values v holds, itself included, and how deep they
// are nested.
func count(v any) (values, depth int) {
	var inner []any
	switch v := v.(type) {
	case list:
		inner = v
	case array:
		inner = v
	case mapping:
		for _, p := range v {
			inner = append(inner, p.key, p.value)
		}
	case described:
		inner = []any{v.descriptor, v.value}
	}
	values = 1
	for _, i := range inner {
		n, d := count(i)
		values, depth = values+n, max(depth, d+1)
	}
	return values, depth
}

func FuzzReadFrame(f *testing.F) {
	for _, vector := range transcript(f) {
		f.Add(vector)
	}
	f.Add(emptyFrame)
	f.Add(nested(40))
	f.Add(manyNothings())
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readFrame(bytes.NewReader(data))
		if err != nil {
			return
		}
		values, depth := count(got.body)
		// A described value counts as three of its list's.
		if values > 3*maxValues+3 || depth > 2*maxDepth+2 {
			t.Errorf("read %d values nested %d deep from %d bytes", values, depth, len(data))
		}
		if len(got.payload) > len(data) {
			t.Errorf("a payload of %d bytes from %d", len(got.payload), len(data))
		}
	})
}

// FuzzSession plays arbitrary frames to a connection with its session begun: it
// must end, and withdraw what it announced.
func FuzzSession(f *testing.F) {
	v := transcript(f)
	for _, names := range [][]string{{"attachOut", "attachIn", "flow", "disposition"}, {"attachIn", "attachIn"}, {"flow"}} {
		var all []byte
		for _, name := range names {
			all = append(all, v[name+".client"]...)
		}
		f.Add(all)
	}
	f.Add(encodeFrame(frameAMQP, 0, descDetach, list{uint32(0), true, nil}, 0))
	f.Add(encodeFrame(frameAMQP, 0, descEnd, list{nil}, 0))
	var begin []byte
	for _, b := range [][]byte{headerSASL[:], v["saslInit.client"], headerAMQP[:], v["open.client"], v["begin.client"]} {
		begin = append(begin, b...)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g := &balance{}
		err := Serve(context.Background(), &script{in: io.MultiReader(bytes.NewReader(begin), bytes.NewReader(data))},
			Options{Container: "c", Authorizer: g, Registrar: g})
		if err == nil && len(data) < 11 { // no close frame fits
			t.Error("the connection ended in order although the client did not close it")
		}
		if g.open != 0 {
			t.Errorf("%d listeners were announced and not withdrawn", g.open)
		}
	})
}

// script is a connection whose client has said everything already and listens
// to nothing. It needs no goroutine, so that a run covers the same code again.
type script struct{ in io.Reader }

func (s *script) Read(b []byte) (int, error)       { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error)      { return len(b), nil }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// balance counts listeners.
type balance struct{ open int }

func (b *balance) Authorize(string, string) (Grant, error) {
	return Grant{Expiry: time.Now().Add(time.Hour)}, nil
}
func (b *balance) Attached(*Listener) { b.open++ }
func (b *balance) Detached(*Listener) { b.open-- }
