// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	kubevalidation "k8s.io/apimachinery/pkg/util/validation"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	"k8s.io/utils/ptr"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/controllers/internal/servicetags"
)

// maxCloudPeers is how many blocks of addresses of the cloud a policy holds. On
// Windows each becomes a rule of the virtual switch.
const maxCloudPeers = 200

// maxDirectoryPeers is how many addresses of domain controllers are taken from the
// URLs of servers.
const maxDirectoryPeers = 32

// nodeLocalDNS is the well-known address of the name server that caches on each
// node. It is no pod's address, so no selector finds it.
const nodeLocalDNS = "169.254.20.10/32"

// nameServerApps are what the pods of name servers are labelled, as k8s-app.
var nameServerApps = []string{"kube-dns", "node-local-dns"}

// anywhere is every IPv4 address.
var anywhere = []string{"0.0.0.0/0"}

// EgressName is the name of the NetworkPolicy of the connectors' pods.
func EgressName(pc *v1alpha1.PassthroughConnector) string { return pc.Name + "-connectors" }

// Opening is one rule of a policy: ports towards blocks of addresses, or towards
// names where the mode knows these.
type Opening struct {
	// What is the name of the rule in messages: the cloud, the proxy, the directory.
	What string
	// CIDRs are sorted; one of 0.0.0.0/0 alone means that addresses are not limited.
	CIDRs []string
	// Hosts are names; *.example stands for every name below example.
	Hosts []string
	Ports []EgressPort
}

// Unlimited reports whether the rule is open to any address.
func (o Opening) Unlimited() bool { return slices.Equal(o.CIDRs, anywhere) }

// EgressPort is a range of ports of one protocol.
type EgressPort struct {
	Protocol    corev1.Protocol
	First, Last int32
}

// Openings are what the connectors may reach beside name servers. tags are the
// addresses of spec.egress.serviceTags. The error says what in the specification
// cannot be written as a policy.
func Openings(pc *v1alpha1.PassthroughConnector, tags servicetags.Ranges) ([]Opening, error) {
	directory, err := directoryOpening(pc)
	if err != nil {
		return nil, err
	}
	if pc.Spec.Service.ProxyURL != "" {
		proxy, err := proxyOpening(pc)
		return []Opening{proxy, directory}, err
	}
	endpoints, err := Endpoints(pc)
	if err != nil {
		return nil, err
	}
	cloud, err := cloudOpenings(pc, endpoints, tags)
	return append(cloud, revocationOpening(pc, endpoints), directory), err
}

// cloudOpenings open the way to the service and its relays: together, if they
// are known by address, and each by its names otherwise.
func cloudOpenings(pc *v1alpha1.PassthroughConnector, endpoints config.Endpoints, tags servicetags.Ranges) ([]Opening, error) {
	service := Opening{What: "the service", Hosts: endpoints.Hosts(config.PeerService), Ports: servicePorts(pc, config.PeerService)}
	relays := Opening{What: "the relays", Hosts: endpoints.Hosts(config.PeerRelay), Ports: tidy(servicePorts(pc, config.PeerRelay))}
	// A custom cloud may be on other ports.
	if _, port, err := hostPort(endpoints.BootstrapURL, config.PortHTTPS); err == nil {
		service.Ports = append(service.Ports, EgressPort{corev1.ProtocolTCP, port, port})
	}
	service.Ports = tidy(service.Ports)
	if ByName(pc.Spec.Egress.Mode) {
		return []Opening{service, relays}, nil
	}
	cidrs, err := cloudBlocks(&pc.Spec.Egress, tags)
	return []Opening{{What: "the cloud", CIDRs: cidrs, Ports: tidy(append(service.Ports, relays.Ports...))}}, err
}

// servicePorts are the ports of a peer that connectors need or that are asked for.
func servicePorts(pc *v1alpha1.PassthroughConnector, peer config.Peer) []EgressPort {
	var o Opening
	for _, d := range config.Destinations(config.PortProfile(pc.Spec.Egress.Ports)) {
		if !d.IsNeededBy(config.PartyConnector) || !d.Of(peer) {
			continue
		}
		asked := d.Purpose == config.PurposePerformance && pc.Spec.Egress.PerformancePort != nil && *pc.Spec.Egress.PerformancePort
		if d.Occasion == config.Always || asked {
			o.add(d)
		}
	}
	return o.Ports
}

// cloudBlocks are the addresses of the cloud. With service tags there is no
// address without them: an empty list is an error and never everywhere.
func cloudBlocks(egress *v1alpha1.EgressSpec, tags servicetags.Ranges) ([]string, error) {
	if egress.ServiceTags == nil {
		return orAnywhere(egress.CloudCIDRs), nil
	}
	if len(tags.Blocks) == 0 {
		return nil, errors.New("spec.egress.serviceTags: the tags have no address")
	}
	var all netipx.IPSetBuilder
	for _, block := range tags.Blocks {
		all.AddPrefix(block)
	}
	for _, cidr := range egress.CloudCIDRs {
		block, err := netip.ParsePrefix(string(cidr))
		if err != nil {
			return nil, fmt.Errorf("spec.egress.cloudCIDRs: %w", err)
		}
		all.AddPrefix(block)
	}
	set, err := all.IPSet()
	if err != nil {
		return nil, fmt.Errorf("putting the addresses of the cloud together: %w", err)
	}
	blocks := set.Prefixes()
	if len(blocks) > maxCloudPeers {
		return nil, fmt.Errorf("spec.egress.serviceTags: %s come to %d blocks of addresses, and a policy holds %d: name fewer tags, or those of a region such as ServiceBus.WestEurope, or use a proxy", counted(tags.Tags), len(blocks), maxCloudPeers)
	}
	cidrs := make([]string, 0, len(blocks))
	for _, block := range blocks {
		cidrs = append(cidrs, block.String())
	}
	return cidrs, nil
}

// counted is "A (200) and B (456)".
func counted(tags []servicetags.Tag) string {
	texts := make([]string, 0, len(tags))
	for _, tag := range tags {
		texts = append(texts, fmt.Sprintf("%s (%d)", tag.Name, tag.Blocks))
	}
	return strings.Join(texts, " and ")
}

// revocationOpening opens the way to the hosts of certificate authorities, which
// are not in the cloud: its addresses say nothing about theirs. Those of a custom
// cloud are not known by name.
func revocationOpening(pc *v1alpha1.PassthroughConnector, endpoints config.Endpoints) Opening {
	o := Opening{What: "the revocation hosts", Ports: tidy(servicePorts(pc, config.PeerRevocation))}
	hosts := endpoints.Hosts(config.PeerRevocation)
	if ByName(pc.Spec.Egress.Mode) && len(pc.Spec.Egress.RevocationCIDRs) == 0 && len(hosts) > 0 {
		o.Hosts = hosts
		return o
	}
	o.CIDRs = orAnywhere(pc.Spec.Egress.RevocationCIDRs)
	return o
}

func proxyOpening(pc *v1alpha1.PassthroughConnector) (Opening, error) {
	host, port, err := hostPort(pc.Spec.Service.ProxyURL, 0)
	if err != nil {
		return Opening{}, fmt.Errorf("spec.service.proxyURL: %w", err)
	}
	o := Opening{What: "the proxy", Ports: []EgressPort{{corev1.ProtocolTCP, port, port}}}
	if err := o.towards(pc, pc.Spec.Egress.ProxyCIDRs, []string{host}); err != nil {
		return Opening{}, fmt.Errorf("spec.service.proxyURL: %w", err)
	}
	return o, nil
}

// directoryOpening opens the way to the domain controllers.
func directoryOpening(pc *v1alpha1.PassthroughConnector) (Opening, error) {
	o := Opening{What: "the directory"}
	var hosts []string
	switch {
	case pc.Spec.Validation.Method == v1alpha1.ValidationLogonUser:
		for _, d := range config.Destinations(config.PortProfile(pc.Spec.Egress.Ports)) {
			if d.Of(config.PeerDirectory) && d.Occasion == config.Always {
				o.add(d)
			}
		}
	case pc.Spec.Validation.LDAP != nil:
		for i, forest := range pc.Spec.Validation.LDAP.Forests {
			if d := forest.Discovery; d != nil {
				port := int32(config.PortLDAPS)
				if ptr.Deref(forest.StartTLS, false) {
					port = config.PortLDAP
				}
				hosts = append(hosts, "*."+d.Domain)
				o.Ports = append(o.Ports, EgressPort{corev1.ProtocolTCP, port, port})
			}
			for _, server := range forest.Servers {
				host, port, err := hostPort(string(server), config.PortLDAPS)
				if err != nil {
					return Opening{}, fmt.Errorf("spec.validation.ldap.forests[%d].servers: %w", i, err)
				}
				hosts = append(hosts, host)
				o.Ports = append(o.Ports, EgressPort{corev1.ProtocolTCP, port, port})
			}
		}
	}
	if asked := pc.Spec.Egress.DirectoryPorts; len(asked) > 0 {
		o.Ports = nil
		for _, p := range asked {
			o.Ports = append(o.Ports, EgressPort{corev1.Protocol(p.Protocol), p.Port, max(p.Port, p.EndPort)})
		}
	}
	if err := o.towards(pc, pc.Spec.Egress.DirectoryCIDRs, hosts); err != nil {
		return Opening{}, fmt.Errorf("spec.validation.ldap: %w", err)
	}
	if len(o.CIDRs) > maxDirectoryPeers {
		return Opening{}, fmt.Errorf("spec.validation.ldap: the servers are %d addresses, and a policy holds %d: name blocks that hold them in spec.egress.directoryCIDRs", len(o.CIDRs), maxDirectoryPeers)
	}
	o.Ports = tidy(o.Ports)
	return o, nil
}

// EgressPolicy is the NetworkPolicy of the connectors' pods, written so that the
// weakest engine that runs on Windows understands it: numeric ports, IPv4 blocks
// without exceptions, no expressions. It limits what pods connect to and leaves
// alone who connects to them.
//
// beside are the modes whose policies stand beside it.
func EgressPolicy(pc *v1alpha1.PassthroughConnector, openings []Opening, beside ...v1alpha1.EgressMode) *networkingv1ac.NetworkPolicyApplyConfiguration {
	spec := networkingv1ac.NetworkPolicySpec().
		WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(pc))).
		WithPolicyTypes(networkingv1.PolicyTypeEgress).
		WithEgress(nameServers(pc))
	for _, o := range openings {
		if len(o.CIDRs) == 0 {
			continue // another policy opens it by name
		}
		rule := networkingv1ac.NetworkPolicyEgressRule()
		for _, cidr := range o.CIDRs {
			rule.WithTo(networkingv1ac.NetworkPolicyPeer().WithIPBlock(networkingv1ac.IPBlock().WithCIDR(cidr)))
		}
		for _, port := range o.Ports {
			rule.WithPorts(policyPort(port))
		}
		spec.WithEgress(rule)
	}
	p := networkingv1ac.NetworkPolicy(EgressName(pc), pc.Namespace).
		WithLabels(shared(pc)).
		WithOwnerReferences(owner(pc)).
		WithSpec(spec)
	if len(beside) > 0 {
		p.WithAnnotations(map[string]string{v1alpha1.AnnotationEgressBeside: strings.Join(texts(beside), ",")})
	}
	return p.WithAnnotations(hashed(p))
}

// nameServers opens port 53 by both protocols: answers that do not fit a
// datagram, such as the list of domain controllers, come by TCP.
func nameServers(pc *v1alpha1.PassthroughConnector) *networkingv1ac.NetworkPolicyEgressRuleApplyConfiguration {
	rule := networkingv1ac.NetworkPolicyEgressRule().WithPorts(
		policyPort(EgressPort{corev1.ProtocolUDP, config.PortDNS, config.PortDNS}),
		policyPort(EgressPort{corev1.ProtocolTCP, config.PortDNS, config.PortDNS}))
	for _, app := range nameServerApps {
		rule.WithTo(networkingv1ac.NetworkPolicyPeer().
			WithNamespaceSelector(metav1ac.LabelSelector()).
			WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{"k8s-app": app})))
	}
	for _, cidr := range nameServerCIDRs(pc) {
		rule.WithTo(networkingv1ac.NetworkPolicyPeer().WithIPBlock(networkingv1ac.IPBlock().WithCIDR(cidr)))
	}
	return rule
}

// nameServerCIDRs are the addresses of name servers that are no pods'.
func nameServerCIDRs(pc *v1alpha1.PassthroughConnector) []string {
	return append([]string{nodeLocalDNS}, sorted(texts(pc.Spec.Egress.DNSCIDRs))...)
}

func policyPort(p EgressPort) *networkingv1ac.NetworkPolicyPortApplyConfiguration {
	port := networkingv1ac.NetworkPolicyPort().WithProtocol(p.Protocol).WithPort(intstr.FromInt32(p.First))
	if p.Last > p.First {
		port.WithEndPort(p.Last)
	}
	return port
}

func (o *Opening) add(d config.Destination) {
	for _, protocol := range d.Protocols {
		o.Ports = append(o.Ports, EgressPort{corev1.Protocol(protocol), int32(d.Ports.First), int32(d.Ports.Last)})
	}
}

// tidy sorts ports and leaves out those that an earlier range holds already.
func tidy(ports []EgressPort) []EgressPort {
	slices.SortFunc(ports, func(a, b EgressPort) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First), cmp.Compare(b.Last, a.Last))
	})
	var out []EgressPort
	for _, p := range ports {
		if n := len(out); n > 0 && out[n-1].Protocol == p.Protocol && p.Last <= out[n-1].Last {
			continue
		}
		out = append(out, p)
	}
	return out
}

// hostPort takes a URL apart. standard is the port of one that names none; 0
// refuses it.
func hostPort(raw string, standard int32) (host string, port int32, err error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return "", 0, fmt.Errorf("%.128q is not a URL of a host", raw)
	}
	if u.Port() == "" && standard > 0 {
		return u.Hostname(), standard, nil
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%.128q has no port from 1 to 65535", raw)
	}
	return u.Hostname(), int32(n), nil
}

// towards opens the CIDRs that were asked for; else the addresses of hosts; else,
// if one of the hosts is a name, every address, or the names where these can be
// written. The sort keeps a policy from being rewritten when a list is written in
// another order.
func (o *Opening) towards(pc *v1alpha1.PassthroughConnector, asked []v1alpha1.IPv4CIDR, hosts []string) error {
	if len(asked) > 0 || len(hosts) == 0 {
		o.CIDRs = orAnywhere(asked)
		return nil
	}
	var cidrs, names []string
	for _, host := range hosts {
		address, err := netip.ParseAddr(host)
		switch {
		case err != nil:
			names = append(names, strings.ToLower(strings.TrimSuffix(host, ".")))
		case !address.Is4():
			return fmt.Errorf("%s is an IPv6 address, which network policies on Windows cannot hold: use an IPv4 address or a name, or set spec.egress.mode to None", host)
		default:
			cidrs = append(cidrs, address.String()+"/32")
		}
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		o.CIDRs = sorted(cidrs)
	case ByName(pc.Spec.Egress.Mode):
		o.CIDRs, o.Hosts = sorted(cidrs), slices.Compact(names)
		return fullNames(o.Hosts)
	default:
		o.CIDRs = anywhere
	}
	return nil
}

// fullNames refuses names that a policy cannot hold: those to which a pod adds
// domains before it asks for them.
func fullNames(names []string) error {
	for _, name := range names {
		full := strings.TrimPrefix(name, "*.") // all of a domain, for servers that DNS names
		if !strings.Contains(full, ".") || len(kubevalidation.IsDNS1123Subdomain(full)) > 0 {
			return fmt.Errorf("%.128q is not the full name of a host, which a policy by names wants, such as dc1.contoso.example", name)
		}
	}
	return nil
}

func orAnywhere(asked []v1alpha1.IPv4CIDR) []string {
	if len(asked) == 0 {
		return anywhere
	}
	return sorted(texts(asked))
}

func sorted(cidrs []string) []string {
	slices.SortFunc(cidrs, func(a, b string) int {
		x, errX := netip.ParsePrefix(a)
		y, errY := netip.ParsePrefix(b)
		if errX != nil || errY != nil {
			return cmp.Compare(a, b)
		}
		return cmp.Or(x.Addr().Compare(y.Addr()), cmp.Compare(x.Bits(), y.Bits()))
	})
	return slices.Compact(cidrs)
}
