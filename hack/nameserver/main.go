// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command nameserver answers for the domains that it is given, over UDP and TCP:
// every name in them has the same address. It stands for a cluster's DNS in tests
// whose hosts exist nowhere else.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	lifetime     = 60 // seconds that an answer may be kept
	maxMessage   = 4096
	questionTime = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "nameserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	zones := zones{}
	flags := flag.NewFlagSet("nameserver", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:53", "address and port, for UDP and TCP")
	flags.Func("zone", "domain and the IPv4 address of every name in it, DOMAIN=ADDRESS; repeat for more", zones.set)
	if err := flags.Parse(args); err != nil {
		return err
	}
	datagrams, err := new(net.ListenConfig).ListenPacket(ctx, "udp4", *listen)
	if err != nil {
		return err
	}
	connections, err := new(net.ListenConfig).Listen(ctx, "tcp4", *listen)
	if err != nil {
		return errors.Join(err, datagrams.Close())
	}
	context.AfterFunc(ctx, func() { _, _ = datagrams.Close(), connections.Close() })
	ended := make(chan error, 2)
	go func() { ended <- serveDatagrams(datagrams, zones) }()
	go func() { ended <- serveConnections(connections, zones) }()
	if err := <-ended; ctx.Err() == nil {
		return err
	}
	return nil
}

func serveDatagrams(conn net.PacketConn, zones zones) error {
	buffer := make([]byte, maxMessage)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if answer, err := zones.answer(buffer[:n]); err == nil { // what is no question gets no answer
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func serveConnections(listener net.Listener, zones zones) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for serveOne(conn, zones) == nil {
			}
		}()
	}
}

// serveOne answers one question of a connection (RFC 1035 section 4.2.2).
func serveOne(conn net.Conn, zones zones) error {
	if err := conn.SetDeadline(time.Now().Add(questionTime)); err != nil {
		return err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return err
	}
	answer, err := zones.answer(question)
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// zones are addresses by domain, in lower case with a final dot.
type zones map[string]netip.Addr

func (z zones) set(text string) error {
	domain, value, _ := strings.Cut(text, "=")
	address, err := netip.ParseAddr(value)
	if domain == "" || err != nil || !address.Is4() {
		return fmt.Errorf("%q is not of the form DOMAIN=ADDRESS with an IPv4 address", text)
	}
	z[strings.ToLower(strings.Trim(domain, "."))+"."] = address
	return nil
}

// find looks for the zone that a name is in.
func (z zones) find(name string) (netip.Addr, bool) {
	for name = strings.ToLower(name); name != ""; {
		if address, ok := z[name]; ok {
			return address, true
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return netip.Addr{}, false
}

// answer answers a message with one question. Names outside the zones do not
// exist; names inside have an A record and no other.
func (z zones) answer(message []byte) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(message)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil {
		return nil, err
	}
	if header.Response {
		return nil, errors.New("it is an answer")
	}
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true, OpCode: header.OpCode, RecursionDesired: header.RecursionDesired,
		},
		Questions: []dnsmessage.Question{question},
	}
	address, known := z.find(question.Name.String())
	switch {
	case !known:
		reply.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA:
		reply.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: lifetime},
			Body:   &dnsmessage.AResource{A: address.As4()},
		}}
	}
	return reply.Pack()
}
