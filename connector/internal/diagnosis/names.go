// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// Names looks names up. The zero value asks as programs on this machine do.
type Names struct {
	// Server is address and port of a name server to ask in the place of the
	// machine's own; empty: the machine's.
	Server string
}

func (n Names) resolver() *net.Resolver {
	if n.Server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: n.dial}
}

// dial opens a connection to a name server.
func (n Names) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, cmp.Or(n.Server, address))
}

// Host checks that a host has an address. who says what it is, such as "the
// proxy".
func (n Names) Host(host, who string) Check {
	return Check{Kind: NamesHosts, Subject: host, Run: func(ctx context.Context) Finding {
		if isAddress(host) {
			return NotAsked("%s is configured by address, so there is no name to look up", who)
		}
		addresses, err := n.resolver().LookupHost(ctx, host)
		if err != nil {
			return Finding{Fail, fmt.Sprintf("looking up %s: %v", who, err), who + " cannot be dialled", actionForNames(err, host)}
		}
		return Good("%s is at %s", who, some(addresses))
	}}
}

// OverTCP checks that the name servers answer over TCP, by looking up a host.
func (n Names) OverTCP(host string) Check {
	return Check{Kind: NamesTCP, Subject: cmp.Or(host, "name servers"), Run: func(ctx context.Context) Finding {
		if host == "" || isAddress(host) {
			return NotAsked("no host is configured by name")
		}
		var asked atomic.Bool
		// Go's own resolver, since no system's can be told to use TCP.
		overTCP := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			asked.Store(true)
			return n.dial(ctx, "tcp", address)
		}}
		_, err := overTCP.LookupHost(ctx, host)
		switch {
		case !asked.Load():
			return NotAsked("the name was found without asking a name server, as in a hosts file")
		case err != nil && !isNotFound(err):
			return Finding{Warn, fmt.Sprintf("over TCP: %v", err),
				"answers that do not fit a datagram, such as long lists of domain controllers, cannot be had",
				"open TCP 53 to the name servers beside UDP, in network policies and firewalls"}
		}
		return Good("the name servers answer over TCP")
	}}
}

// Controllers checks that a domain's controllers are listed in DNS, as Windows
// looks for them. needed says that validation depends on that list.
func (n Names) Controllers(domain string, needed bool) Check {
	name := "_ldap._tcp.dc._msdcs." + domain
	return Check{Kind: NamesSRV, Subject: name, Run: func(ctx context.Context) Finding {
		_, records, err := n.resolver().LookupSRV(ctx, "", "", name)
		switch {
		case err == nil && len(records) > 0:
			hosts := make([]string, 0, len(records))
			for _, r := range records {
				hosts = append(hosts, strings.TrimSuffix(r.Target, ".")+":"+fmt.Sprint(r.Port))
			}
			return Good("%d domain controllers are listed: %s", len(hosts), some(hosts))
		case !needed && (err == nil || isNotFound(err)):
			return NotAsked("no domain controllers are listed, and none need to be: the configuration names the servers to ask")
		case !needed:
			return Finding{Warn, fmt.Sprintf("looking up the domain's controllers: %v", err),
				"the name servers have trouble with this domain; validation by LDAP does not need the list, since the configuration names the servers",
				"have the cluster's name servers forward the domain's zone to its own name servers"}
		default:
			return Finding{Fail, fmt.Sprintf("looking up the domain's controllers: %v", errOrNone(err)),
				"Windows finds no domain controller, so that no password can be checked",
				"have the cluster's name servers forward the domain's zone to its own name servers, over UDP and TCP 53"}
		}
	}}
}

func errOrNone(err error) error {
	if err == nil {
		return errors.New("none is listed")
	}
	return err
}

func actionForNames(err error, host string) string {
	if isNotFound(err) {
		return "correct the name, or have the name servers of the cluster know " + host
	}
	return "open UDP and TCP 53 to the name servers, and see that they run; see `connector firewall`"
}

func isNotFound(err error) bool {
	var failed *net.DNSError
	return errors.As(err, &failed) && failed.IsNotFound
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// some lists the first few.
func some(all []string) string {
	const most = 4
	all = slices.Clone(all)
	slices.Sort(all)
	if len(all) > most {
		return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
	}
	return strings.Join(all, ", ")
}
