// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// target is what a probe tries to reach: "tcp 203.0.113.50:443".
type target struct{ Network, Address string }

func (t target) String() string { return t.Network + " " + t.Address }

func tcp(host string, port int) target {
	return target{"tcp", net.JoinHostPort(host, fmt.Sprint(port))}
}

const (
	// probers bounds what is tried at a time, probeTimeout each. Refusals come at once;
	// the time is for answers on a busy machine, and for datagrams that are lost.
	probers      = 64
	probeTimeout = 5 * time.Second
)

// probe tries the targets from the network namespace of a process, "self" for the
// one around the cluster, and returns those that answered.
func probe(t *testing.T, pid string, targets []target) map[target]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "nsenter", "--net=/proc/"+pid+"/ns/net", "--", self)
	cmd.Env = append(os.Environ(), probeVariable+"=1")
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("probing from the network of process %s: %v: %s", pid, err, stderr.Bytes())
	}
	var reached []target
	if err := json.Unmarshal(output, &reached); err != nil {
		t.Fatal(err)
	}
	set := map[target]bool{}
	for _, r := range reached {
		set[r] = true
	}
	return set
}

// playProbe is the other side of probe.
func playProbe(in io.Reader, out io.Writer) int {
	var targets []target
	if err := json.NewDecoder(in).Decode(&targets); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var (
		mu      sync.Mutex
		reached = []target{}
		group   sync.WaitGroup
		work    = make(chan target)
	)
	for range probers {
		group.Go(func() {
			for t := range work {
				if try(t) == nil {
					mu.Lock()
					reached = append(reached, t)
					mu.Unlock()
				}
			}
		})
	}
	for _, t := range targets {
		work <- t
	}
	close(work)
	group.Wait()
	if err := json.NewEncoder(out).Encode(reached); err != nil {
		return 1
	}
	return 0
}

// try connects. A datagram has arrived when something came back.
func try(t target) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, t.Network, t.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if t.Network != "udp" {
		return nil
	}
	deadline, _ := ctx.Deadline()
	_, writeErr := conn.Write(question)
	_, readErr := 0, conn.SetReadDeadline(deadline)
	if err := errors.Join(writeErr, readErr); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 512))
	return err
}

// question asks a name server for the address of g1.servicebus.test; what echoes
// sends it back.
var question = append([]byte{7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\x02g1\x0aservicebus\x04test\x00\x00\x01\x00\x01"...)

// listenTCP listens on every port of the host that nobody listens on yet.
func listenTCP(t *testing.T, host string, ports []int) {
	t.Helper()
	for _, port := range ports {
		address := net.JoinHostPort(host, fmt.Sprint(port))
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", address)
		if err != nil {
			if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp4", address); err == nil {
				conn.Close() // the tenant's
				continue
			}
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
	}
}

// echoUDP sends every datagram back.
func echoUDP(t *testing.T, host string, port int) target {
	t.Helper()
	address := net.JoinHostPort(host, fmt.Sprint(port))
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buffer[:n], from)
		}
	}()
	return target{"udp", address}
}
