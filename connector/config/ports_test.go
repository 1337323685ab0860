// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPortsAreThoseThatAreDocumented compares the table with what the service's
// own documentation lists, written down here once more on purpose.
func TestPortsAreThoseThatAreDocumented(t *testing.T) {
	type row struct {
		party Party
		ports string
	}
	for name, tc := range map[string]struct {
		profile PortProfile
		want    map[row]Occasion
	}{
		"Documented": {PortsDocumented, map[row]Occasion{
			{PartyConnector, "80"}: Always, {PartyOperator, "80"}: Always,
			{PartyConnector, "443"}: Always, {PartyOperator, "443"}: Always,
			{PartyConnector, "8080"}: Always, {PartyOperator, "8080"}: Always,
			{PartyOperator, "9090"}:         WhileRegistering,
			{PartyOperator, "9091"}:         Always,
			{PartyConnector, "9352"}:        Always,
			{PartyConnector, "5671"}:        Always,
			{PartyConnector, "9350"}:        IfAskedFor,
			{PartyConnector, "10100-10120"}: Always,
		}},
		"HTTPSOnly": {PortsHTTPSOnly, map[row]Occasion{
			{PartyConnector, "80"}: Always, {PartyOperator, "80"}: Always,
			{PartyConnector, "443"}: Always, {PartyOperator, "443"}: Always,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[row]Occasion{}
			for _, d := range Destinations(tc.profile) {
				if d.Of(PeerDirectory, PeerDNS) {
					continue
				}
				if diff := cmp.Diff([]Protocol{TCP}, d.Protocols); diff != "" {
					t.Errorf("%s %s: the service speaks TCP alone:\n%s", d.Purpose, d.Ports, diff)
				}
				for _, party := range d.NeededBy {
					r := row{party, d.Ports.String()}
					if got[r] == "" || d.Occasion == Always { // needed by one row always
						got[r] = d.Occasion
					}
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestRowsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range Destinations(PortsDocumented) {
		key := string(d.Purpose) + string(d.Peer) + d.Ports.String()
		if seen[key] {
			t.Errorf("%s is in the table twice", key)
		}
		seen[key] = true
		if d.Reason == "" || d.Source == "" || len(d.NeededBy) == 0 || len(d.Protocols) == 0 || d.Occasion == "" {
			t.Errorf("a row is not filled in: %+v", d)
		}
		if d.Ports.First == 0 || d.Ports.Last < d.Ports.First {
			t.Errorf("%s: %s are no ports", d.Purpose, d.Ports)
		}
		if d.Of(PeerDirectory, PeerDNS) && !d.HTTPSOnly {
			t.Errorf("%s %s is not about the service, so it is in both profiles", d.Purpose, d.Ports)
		}
	}
}

func TestDNSAsksByBothProtocols(t *testing.T) {
	for _, d := range Destinations(PortsHTTPSOnly) {
		if d.Of(PeerDNS) && d.Ports.Contains(PortDNS) && slices.Contains(d.Protocols, TCP) && slices.Contains(d.Protocols, UDP) {
			return
		}
	}
	t.Error("there is no row for port 53 by UDP and TCP")
}

func TestHostsOfPeers(t *testing.T) {
	for _, cloud := range []Cloud{AzurePublic, AzureUSGovernment} {
		endpoints, err := CloudEndpoints(cloud)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range Destinations(PortsDocumented) {
			hosts := endpoints.Hosts(d.Peer)
			if unknown := len(hosts) == 0; unknown != d.Of(PeerDirectory, PeerDNS) {
				t.Errorf("%s: the hosts of peer %s are %v", cloud, d.Peer, hosts)
			}
			for _, host := range hosts {
				if name, _ := strings.CutPrefix(host, "*."); !isHostname(name) {
					t.Errorf("%s: %q is not a host name or a wildcard", cloud, host)
				}
			}
		}
	}
	public, _ := CloudEndpoints(AzurePublic)
	if diff := cmp.Diff([]string{"*.msappproxy.net"}, public.Hosts(PeerService)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTheAuthorityIsAmongTheHostsOfLogins: the firewall list is made from the latter.
func TestTheAuthorityIsAmongTheHostsOfLogins(t *testing.T) {
	for _, cloud := range []Cloud{AzurePublic, AzureUSGovernment} {
		endpoints, err := CloudEndpoints(cloud)
		if err != nil {
			t.Fatal(err)
		}
		host, secure := strings.CutPrefix(endpoints.LoginURL, "https://")
		listed := slices.ContainsFunc(endpoints.LoginHosts, func(listed string) bool {
			suffix, wildcard := strings.CutPrefix(listed, "*")
			return host == listed || (wildcard && strings.HasSuffix(host, suffix))
		})
		if !secure || !listed {
			t.Errorf("%s: %s is not among %v", cloud, endpoints.LoginURL, endpoints.LoginHosts)
		}
	}
}
