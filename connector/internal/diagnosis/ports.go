// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

const (
	// portWithin is how long a port may take to answer. Firewalls that drop answer
	// nothing, so that this is what each such port costs.
	portWithin = 6 * time.Second
	// maxRange is the longest range that is tried port by port. What is longer is
	// made of ports of which a host opens a few, at random.
	maxRange = 64
)

// Dial opens a TCP connection as the connector does: through its proxy, if it
// has one.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// Target is a port, or a range of them, at a host.
type Target struct {
	Host  string
	Ports config.PortRange
	// Purposes say what for, in words.
	Purposes []string
	// Needed tells how bad it is if a port is not open.
	Needed Need
	// UDP says that the table lists the port for UDP as well, which cannot be
	// tried: nothing answers an empty datagram.
	UDP bool
}

// Need is how much depends on a port.
type Need int

// The needs, from least to most.
const (
	NotNeeded  Need = iota // open only where a site asks for it
	Documented             // in the service's documentation; today's service and this configuration do without
	Needed                 // nothing works without it
)

// Subject is host:port or host:first-last.
func (t Target) Subject() string {
	if t.Ports.First == t.Ports.Last {
		return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Ports.First)))
	}
	return t.Host + ":" + t.Ports.String()
}

// Merge unites targets that are the same ports of the same host, for several
// purposes.
func Merge(targets []Target) []Target {
	var merged []Target
	for _, t := range targets {
		at := slices.IndexFunc(merged, func(m Target) bool { return strings.EqualFold(m.Host, t.Host) && m.Ports == t.Ports })
		if at < 0 {
			t.Purposes = slices.Clone(t.Purposes)
			merged = append(merged, t)
			continue
		}
		m := &merged[at]
		for _, p := range t.Purposes {
			if !slices.Contains(m.Purposes, p) {
				m.Purposes = append(m.Purposes, p)
			}
		}
		m.Needed, m.UDP = max(m.Needed, t.Needed), m.UDP || t.UDP
	}
	return merged
}

// Open checks that a target's ports take connections.
func Open(dial Dial, t Target) Check {
	return Check{Kind: Ports, Subject: t.Subject(), Within: portWithin + grace, Run: func(ctx context.Context) Finding {
		count := int(t.Ports.Last) - int(t.Ports.First) + 1
		if count > maxRange {
			return NotAsked("a range of %d ports, of which a host uses a few that it chooses itself: they cannot be tried one by one", count)
		}
		ctx, cancel := context.WithTimeout(ctx, portWithin)
		defer cancel()
		closed := tryAll(ctx, dial, t)
		if len(closed) == 0 {
			return Good("open, for %s%s", strings.Join(t.Purposes, ", "), t.udpNote())
		}
		return t.shut(closed, count)
	}}
}

func (t Target) udpNote() string {
	if t.UDP {
		return "; UDP was not tried"
	}
	return ""
}

// closedPort is a port that took no connection.
type closedPort struct {
	port int
	why  error
}

func tryAll(ctx context.Context, dial Dial, t Target) []closedPort {
	var closed []closedPort
	var mu sync.Mutex // protects closed
	var trying sync.WaitGroup
	for port := int(t.Ports.First); port <= int(t.Ports.Last); port++ {
		trying.Go(func() {
			conn, err := dial(ctx, net.JoinHostPort(t.Host, strconv.Itoa(port)))
			if err == nil {
				conn.Close()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			closed = append(closed, closedPort{port, err})
		})
	}
	trying.Wait()
	slices.SortFunc(closed, func(a, b closedPort) int { return a.port - b.port })
	return closed
}

// shut is the finding about a target of which some ports are closed.
func (t Target) shut(closed []closedPort, count int) Finding {
	found := cause(closed[0].why)
	if count > 1 {
		var ports []string
		for _, c := range closed {
			ports = append(ports, strconv.Itoa(c.port))
		}
		found = fmt.Sprintf("%d of %d ports are closed (%s): %s", len(closed), count, some(ports), found)
	}
	purposes := strings.Join(t.Purposes, ", ")
	switch t.Needed {
	case NotNeeded:
		return NotAsked("not open, for %s, which nothing needs unless it is asked for (%s)", purposes, found)
	case Documented:
		return Finding{Warn, found,
			"the service's documentation lists this for " + purposes + "; this configuration and today's service do without it",
			"open it if you mean the profile " + string(config.PortsDocumented) + ", or leave it and use --ports=" + string(config.PortsHTTPSOnly)}
	default:
		return Finding{Fail, found, "the connector cannot reach what it needs for " + purposes,
			"open TCP " + t.Ports.String() + " to " + t.Host + " in network policies (spec.egress) and on the site's firewall; see `connector firewall`"}
	}
}

// cause tells what kept a connection from being made. The error is named as
// well, since it knows more than its kind.
func cause(err error) string {
	var network net.Error
	switch {
	case isRefused(err):
		return fmt.Sprintf("refused: the host, or a firewall in its name, says that nothing listens (%v)", err)
	case isNotFound(err):
		return fmt.Sprintf("the host has no address (%v)", err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("no answer within %s, as where a firewall drops what it does not let through (%v)", portWithin, err)
	default:
		return err.Error()
	}
}
