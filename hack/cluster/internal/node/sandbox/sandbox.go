// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sandbox gives a pod namespaces of its own: a network with one
// interface and the pod's address, a host name, and an /etc/resolv.conf.
//
// A sandbox is a thread of the node. The thread enters new namespaces and starts
// the pod's containers, which inherit them. Nothing has a name that could stay
// behind: the kernel removes namespaces, interface and routes when the thread
// and the containers have ended, also when the node is killed.
package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/child"
)

const (
	// resolverFile is what the resolvers of C libraries and of Go read.
	resolverFile = "/etc/resolv.conf"
	// ipTimeout bounds one batch of ip(8), which takes milliseconds.
	ipTimeout = 20 * time.Second
)

// Spec says what a sandbox looks like from inside and where it is attached.
type Spec struct {
	// Hostname is what the kernel says it is called.
	Hostname string
	// Address is the pod's own; Gateway the node's, to which all its traffic goes.
	Address, Gateway netip.Addr
	// Resolver is a file to be seen as /etc/resolv.conf.
	Resolver string
}

// Sandbox is one pod's. Its containers are started with Start.
type Sandbox struct {
	*child.Thread
	link string
}

// Open makes a sandbox and attaches it to the network namespace of the caller,
// which needs root.
func Open(spec Spec) (*Sandbox, error) {
	s := &Sandbox{Thread: child.NewThread(), link: linkName(spec.Address)}
	if err := s.make(spec); err != nil {
		s.Close()
		return nil, fmt.Errorf("making a sandbox for %s: %w", spec.Address, err)
	}
	return s, nil
}

// Close removes the sandbox and kills what still runs in it.
func (s *Sandbox) Close() {
	_ = IP("link delete " + s.link) // at once, not when the kernel gets to it
	s.End()
}

func (s *Sandbox) make(spec Spec) error {
	thread := 0
	err := s.Do(func() (err error) {
		thread, err = enter(spec)
		return err
	})
	if err != nil {
		return err
	}
	// Each end of the pair is configured where it is. The pod has one neighbour,
	// the node, which routes everything: so no packet gets around the node's rules.
	err = IP(
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", s.link, thread),
		fmt.Sprintf("link set %s up", s.link),
		fmt.Sprintf("route replace %s/32 dev %s src %s", spec.Address, s.link, spec.Gateway),
	)
	if err != nil {
		return err
	}
	return s.Do(func() error {
		return IP(
			"link set lo up",
			fmt.Sprintf("addr add %s/32 dev eth0", spec.Address),
			"link set eth0 up",
			fmt.Sprintf("route add %s dev eth0 scope link", spec.Gateway),
			fmt.Sprintf("route add default via %s", spec.Gateway),
		)
	})
}

// enter takes the calling thread into new namespaces and returns its id.
func enter(spec Spec) (thread int, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return 0, fmt.Errorf("entering new namespaces: %w", err)
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return 0, fmt.Errorf("setting the host name %q: %w", spec.Hostname, err)
	}
	// What is mounted from here on must not be seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 0, fmt.Errorf("detaching the mounts: %w", err)
	}
	if err := unix.Mount(spec.Resolver, resolverFile, "", unix.MS_BIND, ""); err != nil {
		return 0, fmt.Errorf("putting %s in the place of %s: %w", spec.Resolver, resolverFile, err)
	}
	return unix.Gettid(), WithoutIPv6()
}

// WithoutIPv6 turns IPv6 off in the network namespace of the calling thread: no
// rule looks at it here, so nothing may get through by it.
func WithoutIPv6() error {
	for _, name := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6 has no such file
			return fmt.Errorf("turning IPv6 off: %w", err)
		}
	}
	return nil
}

// linkName is unique on the machine's part that the cluster has, and fits the 15
// characters of an interface name.
func linkName(address netip.Addr) string { return fmt.Sprintf("pod%x", address.As4()) }

// IP runs commands of ip(8), one per line of a batch, in the network namespace of
// the calling thread. The first that fails ends the batch.
func IP(commands ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), ipTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "ip", "-batch", "-")
	command.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is not for it
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip: %w: %s (of %q)", err, bytes.TrimSpace(output), commands)
	}
	return nil
}
