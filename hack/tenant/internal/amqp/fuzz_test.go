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
	f.Add(appendFrame(nil, frameAMQP, 0, descDetach, list{uint32(0), true, nil}, 0))
	f.Add(appendFrame(nil, frameAMQP, 0, descEnd, list{nil}, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		client, server := net.Pipe()
		g := &balance{}
		ended := make(chan error, 1)
		go func() {
			ended <- Serve(context.Background(), server, Options{Container: "c", Authorizer: g, Registrar: g, HandshakeTimeout: 10 * time.Second})
		}()
		go io.Copy(io.Discard, client) //nolint:errcheck // ends with the connection
		for _, b := range [][]byte{headerSASL[:], v["saslInit.client"], headerAMQP[:], v["open.client"], v["begin.client"], data} {
			if _, err := client.Write(b); err != nil {
				break // the server has hung up
			}
		}
		client.Close()
		<-ended
		if g.open != 0 {
			t.Errorf("%d listeners were announced and not withdrawn", g.open)
		}
	})
}

// balance counts listeners.
type balance struct{ open int }

func (b *balance) Authorize(string, string) (Grant, error) {
	return Grant{Expiry: time.Now().Add(time.Hour)}, nil
}
func (b *balance) Attached(*Listener) { b.open++ }
func (b *balance) Detached(*Listener) { b.open-- }
