// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"
)

// Ports of the service and of domain controllers. Those of the service are the
// documented ones (protocol 1.2); today's service needs 80 and 443 alone.
const (
	PortHTTP          = 80
	PortHTTPS         = 443
	PortBootstrap     = 8080
	PortRegistration  = 9090
	PortRenewal       = 9091
	PortAMQP          = 5671 // links for incoming requests, AMQP over TLS
	PortRendezvous    = 9352 // relayed connections
	PortPerformance   = 9350 // relayed connections, one way; optional
	PortResponseFirst = 10100
	PortResponseLast  = 10120
	PortDNS           = 53
	PortLDAP          = 389
	PortLDAPS         = 636
)

// PortProfile says which ports of the service are used.
type PortProfile string

// The profiles.
const (
	// PortsDocumented is every port that the service's documentation lists.
	PortsDocumented PortProfile = "Documented"
	// PortsHTTPSOnly is 443, and 80 for revocation lists: what today's service
	// needs. Links are WebSockets then.
	PortsHTTPSOnly PortProfile = "HTTPSOnly"
)

// Peer is whom a destination belongs to. [Endpoints.Hosts] names its hosts.
type Peer string

// The peers.
const (
	PeerService    Peer = "Service"    // registration, bootstrap, renewal and responses
	PeerRelay      Peer = "Relay"      // signalling and rendezvous
	PeerLogin      Peer = "Login"      // tokens and device codes
	PeerRevocation Peer = "Revocation" // lists and responders of the certificate authorities
	PeerDirectory  Peer = "Directory"  // domain controllers; known to the site alone
	PeerDNS        Peer = "DNS"        // the cluster's name servers
)

// Party is a program that connects.
type Party string

// The parties.
const (
	PartyConnector Party = "Connector"
	PartyOperator  Party = "Operator"
)

// Occasion says when a destination is needed.
type Occasion string

// The occasions.
const (
	// Always is at any time, without being asked for.
	Always Occasion = "Always"
	// WhileRegistering is only until every connector is registered.
	WhileRegistering Occasion = "WhileRegistering"
	// IfAskedFor is never, unless the site asks for it.
	IfAskedFor Occasion = "IfAskedFor"
)

// Protocol is a transport protocol, spelt as in a NetworkPolicy.
type Protocol string

// The protocols.
const (
	TCP Protocol = "TCP"
	UDP Protocol = "UDP"
)

// PortRange is one port, or all from First to Last.
type PortRange struct {
	First, Last uint16
}

// Contains reports whether a port is in the range.
func (r PortRange) Contains(port int) bool { return int(r.First) <= port && port <= int(r.Last) }

// String is 443 or 10100-10120.
func (r PortRange) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

func port(p uint16) PortRange { return PortRange{p, p} }

// Purpose identifies what destinations are for, in one word.
type Purpose string

// The purposes.
const (
	PurposeRevocation      Purpose = "Revocation"
	PurposeAuthentication  Purpose = "Authentication"
	PurposeRegistration    Purpose = "Registration"
	PurposeBootstrap       Purpose = "Bootstrap"
	PurposeRenewal         Purpose = "Renewal"
	PurposeSignalling      Purpose = "Signalling"
	PurposeRendezvous      Purpose = "Rendezvous"
	PurposePerformance     Purpose = "Performance"
	PurposeResponse        Purpose = "Response"
	PurposeNames           Purpose = "Names"
	PurposeKerberos        Purpose = "Kerberos"
	PurposeRPC             Purpose = "RPC"
	PurposeLDAP            Purpose = "LDAP"
	PurposeGlobalCatalogue Purpose = "GlobalCatalogue"
	PurposeSMB             Purpose = "SMB"
	PurposePasswordChange  Purpose = "PasswordChange"
)

// Destination is one row of the table of everything that the programs connect
// to.
type Destination struct {
	Purpose   Purpose
	Reason    string // for whoever keeps the firewall; no final stop
	Peer      Peer
	Ports     PortRange
	Protocols []Protocol
	NeededBy  []Party
	Occasion  Occasion
	// HTTPSOnly says that the profile of that name has the row, too. Rows that
	// are not about the service are in both profiles.
	HTTPSOnly bool
	Source    string // where it is documented
}

var (
	tcp       = []Protocol{TCP}
	udpAndTCP = []Protocol{UDP, TCP}
	both      = []Party{PartyConnector, PartyOperator}
	connector = []Party{PartyConnector}
	operator  = []Party{PartyOperator}
)

// What the rows rest on.
const (
	sourceHosts     = "protocol 1.1"
	sourcePorts     = "protocol 1.2"
	sourceDirectory = "Microsoft KB 179442"
)

// destinations is the table. Policies, firewall lists and documentation are all
// made from it.
var destinations = []Destination{
	{PurposeRevocation, "whether certificates of the service are revoked (HTTP by design: lists and answers are signed)", PeerRevocation, port(PortHTTP), tcp, both, Always, true, sourcePorts},
	{PurposeAuthentication, "tokens and device codes of the administrator who registers connectors", PeerLogin, port(PortHTTPS), tcp, operator, WhileRegistering, true, sourceHosts},
	{PurposeRegistration, "certificates for new connectors", PeerService, port(PortHTTPS), tcp, operator, WhileRegistering, true, sourceHosts},
	{PurposeRegistration, "certificates for new connectors, on its port of old", PeerService, port(PortRegistration), tcp, operator, WhileRegistering, false, sourcePorts},
	{PurposeBootstrap, "settings and relay addresses, every ten minutes", PeerService, port(PortHTTPS), tcp, both, Always, true, sourceHosts},
	{PurposeBootstrap, "settings and relay addresses, on its port of old", PeerService, port(PortBootstrap), tcp, both, Always, false, sourcePorts},
	{PurposeRenewal, "new certificates before the old ones end", PeerService, port(PortHTTPS), tcp, operator, Always, true, sourceHosts},
	{PurposeRenewal, "new certificates before the old ones end, on its port of old", PeerService, port(PortRenewal), tcp, operator, Always, false, sourcePorts},
	{PurposeSignalling, "long-lived links on which requests arrive, as WebSockets", PeerRelay, port(PortHTTPS), tcp, connector, Always, true, sourceHosts},
	{PurposeSignalling, "long-lived links on which requests arrive, as AMQP over TLS", PeerRelay, port(PortAMQP), tcp, connector, Always, false, sourcePorts},
	{PurposeRendezvous, "one connection for each request, as a WebSocket", PeerRelay, port(PortHTTPS), tcp, connector, Always, true, sourceHosts},
	{PurposeRendezvous, "one connection for each request, as a relayed connection", PeerRelay, port(PortRendezvous), tcp, connector, Always, false, sourcePorts},
	{PurposePerformance, "one-way relayed connections, said to be faster", PeerRelay, port(PortPerformance), tcp, connector, IfAskedFor, false, sourcePorts},
	{PurposeResponse, "fetching requests and sending answers", PeerService, port(PortHTTPS), tcp, connector, Always, true, sourceHosts},
	{PurposeResponse, "sending answers, on the ports of old", PeerService, PortRange{PortResponseFirst, PortResponseLast}, tcp, connector, Always, false, sourcePorts},

	{PurposeNames, "host names; TCP for answers that do not fit a datagram, such as lists of domain controllers", PeerDNS, port(PortDNS), udpAndTCP, both, Always, true, "RFC 7766"},

	{PurposeKerberos, "the identity of the pod's account", PeerDirectory, port(88), udpAndTCP, connector, Always, true, sourceDirectory},
	{PurposeRPC, "finding the port of Netlogon (RPC endpoint mapper)", PeerDirectory, port(135), tcp, connector, Always, true, sourceDirectory},
	{PurposeLDAP, "finding and pinging domain controllers", PeerDirectory, port(PortLDAP), udpAndTCP, connector, Always, true, sourceDirectory},
	{PurposeSMB, "named pipes of Netlogon", PeerDirectory, port(445), tcp, connector, Always, true, sourceDirectory},
	{PurposeGlobalCatalogue, "looking user names up in the whole forest", PeerDirectory, port(3268), tcp, connector, Always, true, sourceDirectory},
	{PurposeRPC, "Netlogon, which checks the passwords (dynamic RPC ports; domain controllers can be made to use a few)", PeerDirectory, PortRange{49152, 65535}, tcp, connector, Always, true, sourceDirectory},
	{PurposePasswordChange, "changing passwords, which connectors do not do", PeerDirectory, port(464), udpAndTCP, connector, IfAskedFor, true, sourceDirectory},
	{PurposeLDAP, "checking passwords by LDAP over TLS: the ports of the servers that spec.validation.ldap names", PeerDirectory, port(PortLDAPS), tcp, connector, IfAskedFor, true, sourceDirectory},
	{PurposeGlobalCatalogue, "looking user names up in the whole forest, over TLS", PeerDirectory, port(3269), tcp, connector, IfAskedFor, true, sourceDirectory},
}

// Destinations returns the rows of a profile in the order of the table. The
// caller may change the slice, not what it points to.
func Destinations(profile PortProfile) []Destination {
	return slices.DeleteFunc(slices.Clone(destinations), func(d Destination) bool {
		return profile != PortsDocumented && !d.HTTPSOnly
	})
}

// Of reports whether the destination belongs to one of the peers.
func (d Destination) Of(peers ...Peer) bool { return slices.Contains(peers, d.Peer) }

// IsNeededBy reports whether a program connects to the destination.
func (d Destination) IsNeededBy(party Party) bool { return slices.Contains(d.NeededBy, party) }

// Hosts are the names of a peer's hosts, where *.example stands for every name
// below example. Nil for PeerDirectory and PeerDNS, which the site alone knows,
// and for what is not known of a custom cloud.
func (e Endpoints) Hosts(peer Peer) []string {
	switch peer {
	case PeerService:
		return wildcards(e.ServiceSuffixes)
	case PeerRelay:
		return wildcards(e.RelaySuffixes)
	case PeerLogin:
		return slices.Clone(e.LoginHosts)
	case PeerRevocation:
		return slices.Clone(e.RevocationHosts)
	default:
		return nil
	}
}

func wildcards(suffixes []string) []string {
	names := make([]string, 0, len(suffixes))
	for _, s := range suffixes {
		names = append(names, "*"+strings.ToLower(s))
	}
	return names
}
