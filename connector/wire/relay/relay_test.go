// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/passthrough-dev/connector-operator/connector/wire/nbfx"
	"github.com/passthrough-dev/connector-operator/connector/wire/vectors"
)

const rendezvous = "39aadc47-0000-4000-8000-51ad9e0cca37"

// section returns the document in the transcript's AMQP data section.
func section(tb testing.TB) []byte {
	tb.Helper()
	b := vectors.Bytes("connect")
	if !bytes.Equal(b[:4], []byte{0x00, 0x53, 0x75, 0xB0}) || int(binary.BigEndian.Uint32(b[4:])) != len(b)-8 {
		tb.Fatal("the vector is not an AMQP data section")
	}
	return b[8:]
}

func transcriptConnect() Connect {
	loopback := netip.MustParseAddr("127.0.0.1")
	return Connect{
		Via: vectors.Address, MessageID: "655e645f-0000-4000-8000-c7a17520f929_G7", ID: rendezvous,
		IPAddress: loopback, IPPort: 9352, HTTPAddress: loopback, HTTPPort: 80, HTTPSAddress: loopback, HTTPSPort: 443,
		InstanceDNSAddress: vectors.Instance,
	}
}

func TestConnectOfTheTranscript(t *testing.T) {
	want := section(t)
	if got := EncodeConnect(transcriptConnect()); !bytes.Equal(got, want) {
		t.Errorf("EncodeConnect:\n% X\nwant\n% X", got, want)
	}
	got, err := DecodeConnect(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(transcriptConnect(), got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("DecodeConnect (-want +got):\n%s", diff)
	}
}

func TestAddressesHaveTheFirstOctetLowest(t *testing.T) {
	c := transcriptConnect()
	// The value seen in a live request; it does not fit 32 bits with a sign.
	addr, err := toAddr(2748520724)
	if err != nil {
		t.Fatal(err)
	}
	if addr.String() != "20.25.211.163" {
		t.Errorf("2748520724 is %s, want 20.25.211.163", addr)
	}
	c.HTTPSAddress = addr
	got, err := DecodeConnect(EncodeConnect(c))
	if err != nil || got.HTTPSAddress != addr {
		t.Errorf("round trip = %v, %v", got.HTTPSAddress, err)
	}
}

func TestAcceptOfTheTranscript(t *testing.T) {
	want := vectors.Bytes("accept")
	if got := EncodeAccept(rendezvous); !bytes.Equal(got, want) {
		t.Errorf("EncodeAccept:\n% X\nwant\n% X", got, want)
	}
	if len(want) != 286 {
		t.Errorf("the accept has %d bytes, want 286", len(want))
	}
	if id, err := DecodeAccept(want); err != nil || id != rendezvous {
		t.Errorf("DecodeAccept = %q, %v", id, err)
	}
	reply := vectors.Bytes("accept-reply")
	if got := EncodeAcceptReply(); !bytes.Equal(got, reply) {
		t.Errorf("EncodeAcceptReply:\n% X\nwant\n% X", got, reply)
	}
	if err := DecodeAcceptReply(reply); err != nil {
		t.Errorf("DecodeAcceptReply: %v", err)
	}
}

func TestEveryOtherAnswerToAnAcceptIsARefusal(t *testing.T) {
	var w nbfx.Writer
	startEnvelope(&w, "http://www.w3.org/2005/08/addressing/soap/fault")
	startBody(&w)
	w.Start("s", nbfx.Static("Fault"))
	w.Start("s", nbfx.Static("Reason"))
	w.Start("s", nbfx.Static("Text"))
	w.Text(nbfx.Literal("the rendezvous has ended"))
	w.End()
	w.End()
	w.End()
	fault := endEnvelope(&w)
	for name, answer := range map[string][]byte{
		"a fault":            fault,
		"an accept":          EncodeAccept(rendezvous),
		"no document":        nil,
		"something unlike":   bytes.Repeat([]byte{0xAA}, 170),
		"a reply cut in two": EncodeAcceptReply()[:80],
	} {
		t.Run(name, func(t *testing.T) {
			var refused *RefusedError
			if err := DecodeAcceptReply(answer); !errors.As(err, &refused) {
				t.Errorf("error = %v, want a RefusedError", err)
			}
		})
	}
	var refused *RefusedError
	if errors.As(DecodeAcceptReply(fault), &refused) && refused.Text != "the rendezvous has ended" {
		t.Errorf("the reason of the fault is lost: %+v", refused)
	}
}

func TestPrefixedMessages(t *testing.T) {
	msg := EncodeAccept(rendezvous)
	stream := AppendPrefixed(nil, msg)
	if !bytes.Equal(stream[:4], []byte{0x1E, 0x01, 0, 0}) {
		t.Errorf("prefix % X, want 1E 01 00 00", stream[:4])
	}
	if got, err := ReadPrefixed(bytes.NewReader(stream), MaxMessage); err != nil || !bytes.Equal(got, msg) {
		t.Errorf("ReadPrefixed = % X, %v", got, err)
	}
	for name, b := range map[string][]byte{"too long": {0xFF, 0xFF, 0xFF, 0xFF}, "cut short": {9, 0, 0, 0, 1}, "no length": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadPrefixed(bytes.NewReader(b), MaxMessage); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestDecodeConnectRefuses(t *testing.T) {
	change := func(f func(*Connect)) []byte {
		c := transcriptConnect()
		f(&c)
		return EncodeConnect(c)
	}
	for name, tc := range map[string]struct {
		doc  []byte
		want string
	}{
		"no rendezvous":      {change(func(c *Connect) { c.ID = "" }), "names no rendezvous"},
		"no relay instance":  {change(func(c *Connect) { c.InstanceDNSAddress = "" }), "names no rendezvous"},
		"a port of six dig.": {change(func(c *Connect) { c.HTTPSPort = 100443 }), "not a port"},
		"another message":    {EncodeAccept(rendezvous), "reading a relayed connection request"},
		"nothing":            {nil, "no element"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeConnect(tc.doc); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func FuzzDecodeConnect(f *testing.F) {
	doc := section(f)
	f.Add(doc)
	f.Add(doc[:200])
	f.Add(EncodeConnect(Connect{ID: "x", InstanceDNSAddress: "y"}))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := DecodeConnect(doc)
		if err != nil {
			return
		}
		again, err := DecodeConnect(EncodeConnect(c))
		if len(doc) < 4096 && err == nil && again != c {
			t.Errorf("%+v became %+v", c, again)
		}
	})
}

func FuzzDecodeAccept(f *testing.F) {
	f.Add(vectors.Bytes("accept"))
	f.Add(vectors.Bytes("accept-reply"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if id, err := DecodeAccept(doc); err == nil && id == "" {
			t.Error("an accept without an identifier was accepted")
		}
		_ = DecodeAcceptReply(doc)
	})
}
