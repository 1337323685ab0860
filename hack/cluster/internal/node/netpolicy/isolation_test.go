// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package netpolicy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/sandbox"
)

// insideVariable tells this program that it is in a network namespace of its own.
const insideVariable = "NETPOLICY_TEST_INSIDE"

func TestMain(m *testing.M) {
	if target := os.Getenv("NETPOLICY_TEST_DIAL"); target != "" {
		conn, err := net.DialTimeout("tcp", target, 10*time.Second)
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		_ = conn.Close()
		name, _ := os.Hostname()
		resolver, _ := os.ReadFile("/etc/resolv.conf")
		fmt.Print(name, " ", string(resolver))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestRulesHold loads what Compile writes, and tries it from sandboxes.
func TestRulesHold(t *testing.T) {
	if os.Getenv(insideVariable) == "" {
		inside(t)
		return
	}
	if err := sandbox.Possible(); err != nil {
		t.Fatal(err)
	}
	if err := sandbox.IP("link set lo up", "addr add 10.9.32.1/32 dev lo", "addr add 203.0.113.10/32 dev lo"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"203.0.113.10:443", "203.0.113.10:444", "10.9.32.1:443"} {
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
	}
	limited, free, unknown := open(t, connector.IP), open(t, other.IP), open(t, netip.MustParseAddr("10.9.32.9"))
	peer := listenIn(t, free, other.IP)

	s := state(t, `{podSelector: {matchLabels: {app: corp}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.10/32}}], ports: [{port: 443}]}]}`)
	apply(t, s)
	expect(t, limited, map[string]bool{"203.0.113.10:443": true, "203.0.113.10:444": false, "10.9.32.1:443": false, peer: false})
	expect(t, free, map[string]bool{"203.0.113.10:443": true, "203.0.113.10:444": true, "10.9.32.1:443": true})
	expect(t, unknown, map[string]bool{"203.0.113.10:443": false, "10.9.32.1:443": false, peer: false})

	conn, err := net.Dial("tcp4", "10.9.32.1:443") // from the same address
	if err != nil {
		t.Fatalf("the node cannot reach itself: %v", err)
	}
	_ = conn.Close()

	s.Policies = nil
	apply(t, s)
	expect(t, limited, map[string]bool{"203.0.113.10:443": true, "203.0.113.10:444": true, "10.9.32.1:443": true, peer: true})
}

// inside runs the test again in a network namespace without a way out.
func inside(t *testing.T) {
	t.Helper()
	if why := missing(); why != "" {
		if os.Getenv("REQUIRE_ISOLATION") != "" {
			t.Fatal("this test must run here, but ", why)
		}
		t.Skip(why)
	}
	command := exec.Command(os.Args[0], "-test.run=^TestRulesHold$", "-test.v")
	command.Env = append(os.Environ(), insideVariable+"=1")
	runtime.LockOSThread() // the signal is sent when the thread ends
	defer runtime.UnlockOSThread()
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}

// missing says what the test needs and does not have.
func missing() string {
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	for program, source := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("the program %s is missing: install the package %s", program, source)
		}
	}
	return ""
}

func open(t *testing.T, address netip.Addr) *sandbox.Sandbox {
	t.Helper()
	resolver := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolver, []byte("nameserver 10.96.0.10\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := sandbox.Open(sandbox.Spec{Hostname: "corp-0", Address: address, Gateway: netip.MustParseAddr("10.9.32.1"), Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if err := exec.Command("ip", "link", "show", fmt.Sprintf("pod%x", address.As4())).Run(); err == nil {
			t.Errorf("the interface of %s is still there", address)
		}
	})
	return s
}

// listenIn listens inside a sandbox.
func listenIn(t *testing.T, s *sandbox.Sandbox, ip netip.Addr) string {
	t.Helper()
	address := netip.AddrPortFrom(ip, 9000).String()
	err := s.Do(func() error {
		listener, err := net.Listen("tcp4", address)
		if err == nil {
			t.Cleanup(func() { _ = listener.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func apply(t *testing.T, s State) {
	t.Helper()
	ruleset, problems := Compile(s)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if err := load(t.Context(), ruleset); err != nil {
		t.Fatalf("%v\n%s", err, ruleset)
	}
}

// expect dials from a process inside the sandbox.
func expect(t *testing.T, s *sandbox.Sandbox, want map[string]bool) {
	t.Helper()
	for address, reachable := range want {
		command := exec.Command(os.Args[0])
		command.Env = []string{"NETPOLICY_TEST_DIAL=" + address}
		var output strings.Builder
		command.Stdout = &output
		if err := s.Start(command); err != nil {
			t.Fatal(err)
		}
		err := command.Wait()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
			t.Fatal(err)
		}
		if (err == nil) != reachable {
			t.Errorf("%s reachable: %t, want %t: %s", address, err == nil, reachable, output.String())
		}
		if err == nil && output.String() != "corp-0 nameserver 10.96.0.10\n" {
			t.Errorf("inside, host name and resolver are %q", output.String())
		}
	}
}
