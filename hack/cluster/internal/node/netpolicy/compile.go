// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package netpolicy enforces the egress of NetworkPolicies on the pods of one
// node.
//
// [Compile] is pure: it turns what the API server knows into a ruleset for nft.
// [Enforcer] watches, compiles, and loads what has changed as one transaction.
package netpolicy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Pod is what rules need to know of a pod.
type Pod struct {
	Namespace, Name string
	Labels          map[string]string
	IP              netip.Addr
}

// State is what a ruleset is made from.
type State struct {
	// Table is the name of the node's own table.
	Table string
	// Block holds the addresses of the node's pods.
	Block netip.Prefix
	// Local are the node's pods, Pods those of the whole cluster.
	Local, Pods []Pod
	// Namespaces are the labels of the namespaces by name.
	Namespaces map[string]map[string]string
	Policies   []*networkingv1.NetworkPolicy
	// NameService is the address that pods ask for names; questions to it go to
	// the pods that answer them. Invalid if there is none.
	NameService netip.Addr
}

// Problem is a part of a policy that is not enforced as it says.
type Problem struct {
	Policy *networkingv1.NetworkPolicy
	Text   string
}

// Compile returns the input for `nft -f -` that replaces the node's table as a
// whole. What of a policy cannot be rendered opens nothing, and is a problem.
//
// The rules look at packets of the node's pods after the addresses of services
// have been replaced, on their way to other pods and to the node itself. What
// comes back on a connection that was let through passes; so do answers of pods to those
// who may reach them. Everything else is refused rather than dropped: who is
// blocked learns it at once. An address of the block that no known pod has may
// reach nothing.
func Compile(s State) (ruleset string, problems []Problem) {
	c := &compiler{State: s}
	chains, verdicts := c.pods()
	var b strings.Builder
	fmt.Fprintf(&b, "add table ip %[1]s\ndelete table ip %[1]s\ntable ip %[1]s {\n", s.Table)
	c.services(&b)
	b.WriteString(chains)
	b.WriteString("chain blocked {\nmeta l4proto tcp reject with tcp reset\nreject with icmp admin-prohibited\n}\n")
	// What comes over the loopback interface is the node's own.
	b.WriteString("chain egress {\niif lo accept\nct state established,related accept\n")
	if len(verdicts) > 0 {
		fmt.Fprintf(&b, "ip saddr vmap { %s }\n", strings.Join(verdicts, ", "))
	}
	fmt.Fprintf(&b, "ip saddr %s goto blocked\n}\n", s.Block.Masked())
	for _, hook := range []string{"forward", "input"} {
		fmt.Fprintf(&b, "chain %[1]s {\ntype filter hook %[1]s priority filter; policy accept;\njump egress\n}\n", hook)
	}
	b.WriteString("}\n")
	return b.String(), c.problems
}

type compiler struct {
	State
	problems []Problem
}

// pods returns a chain for each of the node's pods that a policy selects, and
// what is done with the packets of each pod.
func (c *compiler) pods() (chains string, verdicts []string) {
	rules := map[*networkingv1.NetworkPolicy][]string{}
	var policies []*networkingv1.NetworkPolicy
	for _, p := range slices.SortedFunc(slices.Values(c.Policies), byName) {
		if isolatesEgress(p) {
			policies = append(policies, p)
			rules[p] = c.policy(p)
		}
	}
	var b strings.Builder
	for _, pod := range slices.SortedFunc(slices.Values(c.Local), func(a, b Pod) int { return a.IP.Compare(b.IP) }) {
		var selecting []*networkingv1.NetworkPolicy
		for _, p := range policies {
			// A selector that cannot be read selects everything: the pods are
			// closed rather than open.
			if selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector); p.Namespace == pod.Namespace && (err != nil || selector.Matches(labels.Set(pod.Labels))) {
				selecting = append(selecting, p)
			}
		}
		if len(selecting) == 0 {
			verdicts = append(verdicts, pod.IP.String()+" : accept")
			continue
		}
		verdicts = append(verdicts, fmt.Sprintf("%s : goto pod-%s", pod.IP, pod.IP))
		fmt.Fprintf(&b, "chain pod-%s {\n", pod.IP)
		for _, p := range selecting {
			for _, rule := range rules[p] {
				fmt.Fprintf(&b, "%s accept\n", rule)
			}
		}
		b.WriteString("goto blocked\n}\n")
	}
	return b.String(), verdicts
}

// isolatesEgress follows the API: Egress is implied by rules for it.
func isolatesEgress(p *networkingv1.NetworkPolicy) bool {
	if len(p.Spec.PolicyTypes) == 0 {
		return len(p.Spec.Egress) > 0
	}
	return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

// policy renders what a policy opens, as matches of nft.
func (c *compiler) policy(p *networkingv1.NetworkPolicy) []string {
	problem := func(format string, args ...any) {
		c.problems = append(c.problems, Problem{p, fmt.Sprintf(format, args...)})
	}
	if slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) || len(p.Spec.Ingress) > 0 {
		problem("spec.ingress is not enforced: these nodes enforce egress alone")
	}
	if _, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector); err != nil {
		problem("spec.podSelector cannot be read, so every pod of the namespace is closed: %v", err)
		return nil
	}
	var rules []string
	for i, rule := range p.Spec.Egress {
		peers, peerErr := c.peers(p.Namespace, rule.To)
		ports, portErr := matchPorts(rule.Ports)
		if err := errors.Join(peerErr, portErr); err != nil {
			problem("spec.egress[%d] opens nothing: %v", i, err)
			continue
		}
		for _, peer := range peers {
			for _, port := range ports {
				rules = append(rules, strings.Join(slices.DeleteFunc([]string{peer, port}, func(s string) bool { return s == "" }), " "))
			}
		}
	}
	return rules
}

// peers are matches of the addresses, none if no pod is selected.
func (c *compiler) peers(namespace string, peers []networkingv1.NetworkPolicyPeer) (matches []string, err error) {
	if len(peers) == 0 {
		return []string{"ip daddr 0.0.0.0/0"}, nil
	}
	for i, peer := range peers {
		match, peerErr := "", error(nil)
		if peer.IPBlock != nil {
			match, peerErr = block(peer.IPBlock)
		} else {
			match, peerErr = c.selected(namespace, peer)
		}
		if peerErr != nil {
			err = errors.Join(err, fmt.Errorf("to[%d]: %w", i, peerErr))
		} else if match != "" {
			matches = append(matches, match)
		}
	}
	return matches, err
}

func block(b *networkingv1.IPBlock) (string, error) {
	prefix, err := prefix4(b.CIDR)
	if err != nil {
		return "", err
	}
	matches := []string{"ip daddr " + prefix.String()}
	for _, except := range b.Except {
		hole, err := prefix4(except)
		if err != nil {
			return "", err
		}
		matches = append(matches, "ip daddr != "+hole.String())
	}
	return strings.Join(matches, " "), nil
}

func prefix4(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fmt.Errorf("%.64q is not a block of addresses", text)
	}
	if !prefix.Addr().Is4() {
		return prefix, fmt.Errorf("%s is a block of IPv6 addresses, and pods have IPv4 addresses here", prefix)
	}
	return prefix.Masked(), nil
}

// selected matches the pods that a peer selects now; it is empty if there are none.
// Without a selector of namespaces, they are of the policy's own.
func (c *compiler) selected(namespace string, peer networkingv1.NetworkPolicyPeer) (string, error) {
	pods, err := metav1.LabelSelectorAsSelector(peer.PodSelector)
	if err != nil {
		return "", fmt.Errorf("podSelector: %w", err)
	}
	if peer.PodSelector == nil {
		pods = labels.Everything()
	}
	namespaces, err := metav1.LabelSelectorAsSelector(peer.NamespaceSelector)
	if err != nil {
		return "", fmt.Errorf("namespaceSelector: %w", err)
	}
	set := map[netip.Addr]bool{}
	for _, pod := range c.Pods {
		within := pod.Namespace == namespace
		if peer.NamespaceSelector != nil {
			known, ok := c.Namespaces[pod.Namespace]
			within = ok && namespaces.Matches(labels.Set(known))
		}
		if within && pods.Matches(labels.Set(pod.Labels)) {
			set[pod.IP] = true
		}
	}
	if len(set) == 0 {
		return "", nil
	}
	return "ip daddr { " + addresses(set) + " }", nil
}

// matchPorts returns a match for each port or range.
func matchPorts(ports []networkingv1.NetworkPolicyPort) (matches []string, err error) {
	if len(ports) == 0 {
		return []string{""}, nil
	}
	for i, port := range ports {
		match, portErr := matchPort(port)
		if portErr != nil {
			err = errors.Join(err, fmt.Errorf("ports[%d]: %w", i, portErr))
		}
		matches = append(matches, match)
	}
	return matches, err
}

func matchPort(port networkingv1.NetworkPolicyPort) (string, error) {
	protocol := corev1.ProtocolTCP
	if port.Protocol != nil {
		protocol = *port.Protocol
	}
	name, ok := map[corev1.Protocol]string{corev1.ProtocolTCP: "tcp", corev1.ProtocolUDP: "udp", corev1.ProtocolSCTP: "sctp"}[protocol]
	switch {
	case !ok:
		return "", fmt.Errorf("the protocol %.32q is not known", protocol)
	case port.Port == nil:
		return "meta l4proto " + name, nil
	case port.Port.Type != intstr.Int:
		return "", fmt.Errorf("the port %.64q is a name: only numbers are enforced here", port.Port.StrVal)
	case port.EndPort == nil:
		return fmt.Sprintf("%s dport %d", name, port.Port.IntVal), nil
	case *port.EndPort < port.Port.IntVal:
		return "", fmt.Errorf("endPort %d is before port %d", *port.EndPort, port.Port.IntVal)
	default:
		return fmt.Sprintf("%s dport %d-%d", name, port.Port.IntVal, *port.EndPort), nil
	}
}

// nameServers are the labels of the pods behind the name service, as every
// distribution has them.
var nameServers = labels.SelectorFromSet(labels.Set{"k8s-app": "kube-dns"})

// services sends questions for names to a pod that answers them, as a node's
// proxy does for every service.
func (c *compiler) services(b *strings.Builder) {
	if !c.NameService.IsValid() {
		return
	}
	for _, pod := range slices.SortedFunc(slices.Values(c.Pods), func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) }) {
		if pod.Namespace != metav1.NamespaceSystem || !nameServers.Matches(labels.Set(pod.Labels)) {
			continue
		}
		b.WriteString("chain services {\ntype nat hook prerouting priority dstnat; policy accept;\n")
		for _, protocol := range []string{"udp", "tcp"} {
			fmt.Fprintf(b, "ip saddr %s ip daddr %s %s dport 53 dnat to %s\n", c.Block.Masked(), c.NameService, protocol, pod.IP)
		}
		b.WriteString("}\n")
		return
	}
}

func byName(a, b *networkingv1.NetworkPolicy) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// addresses writes a set of nft.
func addresses(set map[netip.Addr]bool) string {
	var texts []string
	for _, address := range slices.SortedFunc(maps.Keys(set), netip.Addr.Compare) {
		texts = append(texts, address.String())
	}
	return strings.Join(texts, ", ")
}
