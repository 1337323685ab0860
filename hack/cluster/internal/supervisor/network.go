// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/sandbox"
)

const (
	// The second byte of the cluster's addresses. 127.0 and 127.1 are used by
	// others: localhost, and resolvers that listen on 127.0.0.53 and the like.
	firstBlock, lastBlock = 2, 254
	// nodeBits makes room for 15 nodes of 4096 addresses beside the control plane.
	nodeBits = 20
)

// network is the cluster's part of the loopback network, 127.N.0.0/16, or of the
// private 10.N.0.0/16 in a network namespace of its own. No two
// clusters of a machine share one, so the pods of one never take the ports of
// another's.
type network struct {
	// Block is the N.
	Block int `json:"block"`
	// Ports are what was free when the cluster was made, by component.
	Ports map[string]int `json:"ports"`

	isolated bool
	claim    net.Listener
}

// claimNetwork takes the block and ports that the state file remembers, or
// others where somebody has taken them meanwhile. The claim lasts until this
// process ends.
func claimNetwork(ctx context.Context, state string, specs []nodeSpec, isolated bool) (*network, error) {
	claimed := &network{isolated: isolated}
	data, err := os.ReadFile(state)
	if err == nil {
		err = json.Unmarshal(data, claimed)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the cluster's state (delete the directory to start over): %w", err)
	}
	if err := claimed.claimBlock(ctx); err != nil {
		return nil, err
	}
	if isolated {
		if err := claimed.lay(specs); err != nil {
			return nil, err
		}
	}
	if claimed.Ports == nil {
		claimed.Ports = map[string]int{}
	}
	wanted := map[string]netip.Addr{etcdName: claimed.controlPlane(), apiServerName: claimed.controlPlane()}
	for _, spec := range specs {
		wanted[spec.name] = claimed.nodeAddress(spec.index)
	}
	for component, address := range wanted {
		if claimed.Ports[component], err = freePort(address, claimed.Ports[component]); err != nil {
			return nil, err
		}
	}
	data, err = json.MarshalIndent(claimed, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the cluster's state: %w", err)
	}
	return claimed, writeFile(state, append(data, '\n'))
}

// claimBlock tries the remembered block first and then others in random
// order. An abstract socket is the claim: it is seen by exactly those who
// share the loopback network, and goes when this process does.
func (n *network) claimBlock(ctx context.Context) error {
	candidates := rand.Perm(lastBlock - firstBlock + 1)
	for i := range candidates {
		candidates[i] += firstBlock
	}
	if n.Block >= firstBlock && n.Block <= lastBlock {
		candidates = append([]int{n.Block}, candidates...)
	}
	var listen net.ListenConfig
	var problem error
	for _, candidate := range candidates {
		claim, err := listen.Listen(ctx, "unix", fmt.Sprintf("@kubecluster-127.%d", candidate))
		if err == nil {
			n.Block, n.claim = candidate, claim
			return nil
		}
		problem = err
	}
	return fmt.Errorf("claiming a part of the loopback network: %w", problem)
}

// lay gives the control plane and the nodes their addresses, and makes this
// network namespace the router between pods.
func (n *network) lay(specs []nodeSpec) error {
	if err := sandbox.Possible(); err != nil {
		return err
	}
	commands := []string{"link set lo up", fmt.Sprintf("addr replace %s/32 dev lo", n.controlPlane())}
	for _, spec := range specs {
		commands = append(commands, fmt.Sprintf("addr replace %s/32 dev lo", n.nodeAddress(spec.index)))
	}
	if err := sandbox.IP(commands...); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("making this network namespace a router: %w", err)
	}
	return sandbox.WithoutIPv6()
}

// first is the first byte of all addresses.
func (n *network) first() byte {
	if n.isolated {
		return 10
	}
	return 127
}

// controlPlane is the address of everything but nodes and pods.
func (n *network) controlPlane() netip.Addr {
	return netip.AddrFrom4([4]byte{n.first(), byte(n.Block), 0, 1})
}

// nodeBlock is where the pods of a node get their addresses from.
func (n *network) nodeBlock(index int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{n.first(), byte(n.Block), byte((index + 1) << (24 - nodeBits)), 0}), nodeBits)
}

// nodeAddress is the node's own, the first of its block.
func (n *network) nodeAddress(index int) netip.Addr { return n.nodeBlock(index).Addr().Next() }

func (n *network) endpoint(component string) string {
	return net.JoinHostPort(n.controlPlane().String(), strconv.Itoa(n.Ports[component]))
}

// freePort returns the preferred port if it can be listened on, else another.
func freePort(address netip.Addr, preferred int) (int, error) {
	for _, port := range []int{preferred, 0} {
		listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(address, uint16(port))))
		if err != nil {
			continue
		}
		free := listener.Addr().(*net.TCPAddr).Port
		return free, listener.Close()
	}
	return 0, fmt.Errorf("no port of %s can be listened on", address)
}
