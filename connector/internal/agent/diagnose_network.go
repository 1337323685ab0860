// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"slices"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/diagnosis"
)

// examineNetwork tries the ports of the profile, and the relays as far as before
// listening begins.
func (e *examination) examineNetwork(ctx context.Context) {
	if e.clients == nil {
		e.ask(ctx, notAsked(e.host, "the service cannot be called without its CA bundle", diagnosis.Ports, diagnosis.Relay)...)
		return
	}
	if a := e.answer.Load(); a != nil && a.response != nil {
		e.relays, _ = relaysOf(e.opts.Config.Service, a.response)
	}
	e.ask(ctx, e.ports()...)
	if len(e.relays) == 0 {
		e.ask(ctx, notAsked("relays", "the service has named none", diagnosis.TLSInspection, diagnosis.Relay)...)
		return
	}
	port := config.PortHTTPS
	if e.opts.Config.Service.Transport == config.TransportAMQP {
		port = config.PortAMQP
	}
	var checks []diagnosis.Check
	for _, relay := range e.relays {
		checks = append(checks, e.inspected(relay, port))
	}
	for _, relay := range e.relays {
		checks = append(checks, diagnosis.Check{Kind: diagnosis.Relay, Subject: relay, Run: func(ctx context.Context) diagnosis.Finding {
			return e.link(ctx, relay)
		}})
	}
	e.ask(ctx, checks...)
}

// link opens the stream of a signalling link and closes it again. Nothing is said
// on it, so nobody listens.
func (e *examination) link(ctx context.Context, host string) diagnosis.Finding {
	conn, err := e.clients.dialListener(ctx, host)
	if err == nil {
		conn.Close()
		return diagnosis.Good("a link by %s can be opened", e.opts.Config.Service.Transport)
	}
	finding := e.unverified(err, host)
	finding.Meaning = "no requests arrive from this relay"
	if finding.Found == err.Error() && e.opts.Config.Service.Transport == config.TransportWebSocket {
		finding.Action += "; a proxy or firewall must let WebSockets through as well, or use the transport " + config.TransportAMQP
	}
	return finding
}

// ports are the checks of the profile's ports that a connector uses.
func (e *examination) ports() []diagnosis.Check {
	var targets []diagnosis.Target
	var checks []diagnosis.Check
	unknown := map[config.Peer]bool{}
	for _, d := range config.Destinations(e.opts.Ports) {
		if !d.IsNeededBy(config.PartyConnector) || !d.Of(config.PeerService, config.PeerRelay, config.PeerRevocation) {
			continue // names.tcp and directory.server are about the others
		}
		hosts, why := e.hostsOf(d.Peer)
		if len(hosts) == 0 && !unknown[d.Peer] {
			unknown[d.Peer] = true
			checks = append(checks, notAsked("hosts for "+string(d.Purpose), why, diagnosis.Ports)...)
		}
		for _, host := range hosts {
			targets = append(targets, diagnosis.Target{
				Host: host, Ports: d.Ports, Purposes: []string{string(d.Purpose)}, Needed: e.need(d), UDP: slices.Contains(d.Protocols, config.UDP),
			})
		}
	}
	for _, target := range diagnosis.Merge(targets) {
		checks = append(checks, diagnosis.Open(e.clients.streams.connect, target))
	}
	return checks
}

// hostsOf are the hosts at which a peer's ports are tried, or why there are none.
func (e *examination) hostsOf(peer config.Peer) (hosts []string, why string) {
	service := e.opts.Config.Service
	switch peer {
	case config.PeerService:
		// Hosts of responses are named by requests alone; they are of the same domain.
		return []string{e.host}, ""
	case config.PeerRelay:
		return e.relays, "the service has named no relays"
	case config.PeerRevocation:
		if service.ProxyURL != "" {
			return nil, "with a proxy, the connector connects to nobody else in the cloud"
		}
		return revocationHosts(service), "the authorities of this cloud's certificates are not known"
	default:
		return nil, "they are known to the site alone"
	}
}

// revocationHosts are those of the cloud that a configuration belongs to.
func revocationHosts(service config.Service) []string {
	for _, cloud := range []config.Cloud{config.AzurePublic, config.AzureUSGovernment} {
		endpoints, err := config.CloudEndpoints(cloud)
		if err == nil && slices.Equal(endpoints.ServiceSuffixes, service.ServiceSuffixes) {
			return endpoints.RevocationHosts
		}
	}
	return nil
}

// need is how much depends on a row of the table in this configuration.
func (e *examination) need(d config.Destination) diagnosis.Need {
	byAMQP := e.opts.Config.Service.Transport == config.TransportAMQP
	switch {
	case d.Occasion == config.IfAskedFor:
		return diagnosis.NotNeeded
	case d.Of(config.PeerRelay):
		if byAMQP == (d.Ports.Contains(config.PortAMQP) || d.Ports.Contains(config.PortRendezvous)) {
			return diagnosis.Needed
		}
	case d.Purpose == config.PurposeBootstrap && d.Ports.Contains(e.port):
		return diagnosis.Needed
	case d.Purpose == config.PurposeResponse && d.Ports.Contains(config.PortHTTPS) && e.port == config.PortHTTPS:
		return diagnosis.Needed
	}
	return diagnosis.Documented
}
