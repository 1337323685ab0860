// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers on loopback, over UDP and, unless it is left out, TCP.
type nameServer struct {
	address  string
	answer   func(question dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.ResourceBody)
	noAnswer bool
}

func (s *nameServer) start(t *testing.T, withTCP bool) {
	t.Helper()
	// The same port for both; another program may have the one of the other kind.
	for range 50 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err != nil {
			tcp.Close()
			continue
		}
		s.address = tcp.Addr().String()
		t.Cleanup(func() { _, _ = udp.Close(), tcp.Close() })
		go s.datagrams(udp)
		if !withTCP {
			tcp.Close()
			return
		}
		go s.connections(tcp)
		return
	}
	t.Fatal("no port is free for both UDP and TCP")
}

func (s *nameServer) datagrams(conn net.PacketConn) {
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if answer := s.reply(buffer[:n]); answer != nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func (s *nameServer) connections(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var size [2]byte
			for {
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				question := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(conn, question); err != nil {
					return
				}
				answer := s.reply(question)
				if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					return
				}
			}
		}()
	}
}

func (s *nameServer) reply(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || s.noAnswer {
		return nil
	}
	code, bodies := s.answer(m.Questions[0])
	m.Response, m.RCode, m.Additionals = true, code, nil
	for _, body := range bodies {
		header := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

// zone is what the test's name server knows: controllers of contoso.example and
// some hosts.
func zone(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.ResourceBody) {
	switch name := q.Name.String(); {
	case strings.HasSuffix(name, "broken.example."):
		return dnsmessage.RCodeServerFailure, nil
	case name == "service.contoso.example." && q.Type == dnsmessage.TypeA:
		return dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{&dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}}
	case name == "service.contoso.example.":
		return dnsmessage.RCodeSuccess, nil
	case name == "_ldap._tcp.dc._msdcs.contoso.example." && q.Type == dnsmessage.TypeSRV:
		var all []dnsmessage.ResourceBody
		for _, host := range []string{"dc1", "dc2"} {
			all = append(all, &dnsmessage.SRVResource{Priority: 1, Port: 389, Target: dnsmessage.MustNewName(host + ".contoso.example.")})
		}
		return dnsmessage.RCodeSuccess, all
	default:
		return dnsmessage.RCodeNameError, nil
	}
}

func TestNames(t *testing.T) {
	whole, datagrams, silent := &nameServer{answer: zone}, &nameServer{answer: zone}, &nameServer{noAnswer: true}
	whole.start(t, true)
	datagrams.start(t, false)
	silent.start(t, false)
	at := func(s *nameServer) Names { return Names{Server: s.address} }
	for name, tc := range map[string]struct {
		check  Check
		result Result
		found  string
	}{
		"a host":                 {at(whole).Host("service.contoso.example", "the service"), OK, "the service is at 192.0.2.7"},
		"an address":             {at(whole).Host("192.0.2.1", "the proxy"), Skipped, "configured by address"},
		"no such host":           {at(whole).Host("nobody.contoso.example", "the service"), Fail, "no such host"},
		"a broken zone":          {at(whole).Host("service.broken.example", "the service"), Fail, "server misbehaving"},
		"nobody answers":         {at(silent).Host("service.contoso.example", "the service"), Fail, "timeout"},
		"TCP":                    {at(whole).OverTCP("service.contoso.example"), OK, "answer over TCP"},
		"TCP, no such host":      {at(whole).OverTCP("nobody.contoso.example"), OK, "answer over TCP"},
		"no TCP":                 {at(datagrams).OverTCP("service.contoso.example"), Warn, "connection refused"},
		"TCP, from a hosts file": {at(whole).OverTCP("localhost"), Skipped, "hosts file"},
		"TCP, without a name":    {at(whole).OverTCP(""), Skipped, "no host is configured by name"},
		"controllers":            {at(whole).Controllers("contoso.example", true), OK, "2 domain controllers are listed: dc1.contoso.example:389, dc2.contoso.example:389"},
		"no controllers, needed": {at(whole).Controllers("fabrikam.example", true), Fail, "no such host"},
		"no controllers":         {at(whole).Controllers("fabrikam.example", false), Skipped, "none need to be"},
		"controllers, broken":    {at(whole).Controllers("broken.example", false), Warn, "server misbehaving"},
		"broken, and needed":     {at(whole).Controllers("broken.example", true), Fail, "server misbehaving"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if name == "nobody answers" { // it would wait for longer than a test should
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				defer cancel()
			}
			got := tc.check.Run(ctx)
			if got.Result != tc.result || !strings.Contains(got.Found, tc.found) {
				t.Errorf("%s: %s; want %s: …%s…", got.Result, got.Found, tc.result, tc.found)
			}
			if needsHelp := got.Result == Fail || got.Result == Warn; needsHelp != (got.Action != "" && got.Meaning != "") {
				t.Errorf("%s with the meaning %q and the action %q", got.Result, got.Meaning, got.Action)
			}
		})
	}
}
