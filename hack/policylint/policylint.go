// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policylint holds NetworkPolicies against what the weakest engine that
// enforces them on Windows nodes understands. Engines there skip what they do
// not understand, some with a warning, most without, so that a policy which the
// API server accepts can let nothing out, or everything.
package policylint

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Bounds. Each peer and protocol of a rule becomes a rule of the virtual switch
// of every pod on Windows.
const (
	MaxPeers       = 210 // in one rule: 200 of addresses, and a few selectors
	MaxSwitchRules = 300 // peers x protocols in the whole policy
)

// Egress returns everything about a policy's egress that some Windows engine
// would not understand; nil if there is nothing. Policies that deny all egress
// have nothing to complain of, but a policy without egress in its types does:
// it is not what it was made for.
//
// Peers may be chosen by selectors in one direction only. A policy that knows
// both who calls and who is called by labels makes an engine on Windows keep two
// sets of pods, and program the virtual switch anew, which can cut connections,
// whenever either changes.
func Egress(p *networkingv1.NetworkPolicy) []string {
	var l findings
	if len(p.Spec.PolicyTypes) == 0 {
		l.add("policyTypes is empty: what it means depends on the rules")
	}
	if len(p.Spec.PolicyTypes) > 0 && !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
		l.add("policyTypes has no Egress: the rules of egress are not looked at")
	}
	l.selector("podSelector", &p.Spec.PodSelector)
	l.oneSide(p)
	switchRules := 0
	for i, rule := range p.Spec.Egress {
		where := fmt.Sprintf("egress[%d]", i)
		switchRules += max(1, len(rule.To)) * max(1, protocols(rule.Ports))
		if len(rule.To) == 0 {
			l.add("%s.to is empty, which opens every address of every family: write 0.0.0.0/0", where)
		}
		if len(rule.Ports) == 0 {
			l.add("%s.ports is empty, which opens every port", where)
		}
		if len(rule.To) > MaxPeers {
			l.add("%s.to has %d peers, more than %d", where, len(rule.To), MaxPeers)
		}
		for j, port := range rule.Ports {
			l.port(fmt.Sprintf("%s.ports[%d]", where, j), port)
		}
		for j, peer := range rule.To {
			l.peer(fmt.Sprintf("%s.to[%d]", where, j), peer)
		}
		l.dns(where, rule)
	}
	if switchRules > MaxSwitchRules {
		l.add("peers times protocols are %d, more than %d", switchRules, MaxSwitchRules)
	}
	return l
}

type findings []string

func (l *findings) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

func (l *findings) port(where string, p networkingv1.NetworkPolicyPort) {
	if p.Protocol == nil || (*p.Protocol != corev1.ProtocolTCP && *p.Protocol != corev1.ProtocolUDP) {
		l.add("%s.protocol is neither TCP nor UDP", where)
	}
	if p.Port == nil || p.Port.Type != intstr.Int {
		l.add("%s.port is not numeric: named ports are skipped on Windows", where)
		return
	}
	if p.Port.IntVal < 1 || p.Port.IntVal > 65535 {
		l.add("%s.port is %d", where, p.Port.IntVal)
	}
	if p.EndPort != nil && (*p.EndPort < p.Port.IntVal || *p.EndPort > 65535) {
		l.add("%s.endPort is %d and port is %d", where, *p.EndPort, p.Port.IntVal)
	}
}

func (l *findings) peer(where string, p networkingv1.NetworkPolicyPeer) {
	if p.IPBlock == nil {
		l.selector(where+".podSelector", p.PodSelector)
		l.selector(where+".namespaceSelector", p.NamespaceSelector)
		return
	}
	if len(p.IPBlock.Except) > 0 {
		l.add("%s.ipBlock.except is a negative match: the whole peer is skipped on Windows", where)
	}
	block, err := netip.ParsePrefix(p.IPBlock.CIDR)
	if err != nil || !block.Addr().Is4() || block != block.Masked() {
		l.add("%s.ipBlock.cidr %s is not a block of IPv4 addresses", where, p.IPBlock.CIDR)
	}
}

func (l *findings) selector(where string, s *metav1.LabelSelector) {
	if s == nil {
		return
	}
	for _, e := range s.MatchExpressions {
		if e.Operator == metav1.LabelSelectorOpNotIn || e.Operator == metav1.LabelSelectorOpDoesNotExist {
			l.add("%s has the negative match %s %s: the whole rule is skipped on Windows", where, e.Key, e.Operator)
		}
	}
}

// oneSide wants no selectors among the peers of ingress if there are any among
// those of egress.
func (l *findings) oneSide(p *networkingv1.NetworkPolicy) {
	selects := func(peer networkingv1.NetworkPolicyPeer) bool { return peer.IPBlock == nil }
	called := slices.ContainsFunc(p.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool { return slices.ContainsFunc(r.To, selects) })
	for i, rule := range p.Spec.Ingress {
		if called && slices.ContainsFunc(rule.From, selects) {
			l.add("ingress[%d].from has selectors, and so has egress: use selectors on one side only, or two policies", i)
		}
	}
}

// dns wants port 53 by both protocols: answers above 512 bytes come by TCP.
func (l *findings) dns(where string, rule networkingv1.NetworkPolicyEgressRule) {
	udp, tcp := false, false
	for _, p := range rule.Ports {
		if p.Protocol == nil || p.Port == nil || p.Port.IntVal != 53 {
			continue
		}
		udp = udp || *p.Protocol == corev1.ProtocolUDP
		tcp = tcp || *p.Protocol == corev1.ProtocolTCP
	}
	if udp != tcp {
		l.add("%s opens port 53 by one of UDP and TCP alone", where)
	}
}

func protocols(ports []networkingv1.NetworkPolicyPort) int {
	seen := map[corev1.Protocol]bool{}
	for _, p := range ports {
		if p.Protocol != nil {
			seen[*p.Protocol] = true
		}
	}
	return len(seen)
}
