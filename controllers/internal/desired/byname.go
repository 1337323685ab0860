// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
)

// What the operator may do beside the rest if spec.egress.mode may ask for these
// policies. It is a role of its own, which nobody has who does not ask for it.
//
// +kubebuilder:rbac:groups=crd.antrea.io,resources=networkpolicies,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=cilium.io,resources=ciliumnetworkpolicies,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=policy.networking.k8s.io,resources=clusternetworkpolicies,verbs=get;list;create;patch;delete

// A policy by names stands beside the NetworkPolicy, which is rendered in every
// mode and limits the pods to what it opens. So it has to open things only: where
// it is missing, or nothing understands it, connectors reach less and not more.

// PolicyByName is a kind of policy that knows host names.
type PolicyByName struct {
	Mode v1alpha1.EgressMode
	Kind schema.GroupVersionKind
	// ClusterScoped says that it belongs to no namespace, so that no owner reference
	// deletes it with the resource.
	ClusterScoped bool

	spec func(pc *v1alpha1.PassthroughConnector, openings []Opening) map[string]any
}

// The kinds of policies by names.
var policiesByName = []PolicyByName{
	{v1alpha1.EgressAntrea, schema.GroupVersionKind{Group: "crd.antrea.io", Version: "v1beta1", Kind: "NetworkPolicy"}, false, antreaSpec},
	{v1alpha1.EgressCilium, schema.GroupVersionKind{Group: "cilium.io", Version: "v2", Kind: "CiliumNetworkPolicy"}, false, ciliumSpec},
	{v1alpha1.EgressCluster, schema.GroupVersionKind{Group: "policy.networking.k8s.io", Version: "v1alpha2", Kind: "ClusterNetworkPolicy"}, true, clusterSpec},
}

// PoliciesByName are all kinds of policies by names, sorted by mode.
func PoliciesByName() []PolicyByName { return slices.Clone(policiesByName) }

// ByName reports whether a mode opens by host names.
func ByName(mode v1alpha1.EgressMode) bool {
	return slices.ContainsFunc(policiesByName, func(k PolicyByName) bool { return k.Mode == mode })
}

// Name is the name of a resource's policy of the kind. A policy that belongs to
// no namespace has that of the resource in its name: neither holds a dot at that
// place, so no two resources share one.
func (k PolicyByName) Name(pc *v1alpha1.PassthroughConnector) string {
	if k.ClusterScoped {
		return pc.Namespace + "." + EgressName(pc)
	}
	return EgressName(pc)
}

// Owner is the annotation that says whose a policy is which belongs to no
// namespace.
func Owner(pc *v1alpha1.PassthroughConnector) string { return pc.Namespace + "/" + pc.Name }

// Render renders the policy: it opens what the openings know by name.
func (k PolicyByName) Render(pc *v1alpha1.PassthroughConnector, openings []Opening) *unstructured.Unstructured {
	p := &unstructured.Unstructured{Object: map[string]any{"spec": k.spec(pc, openings)}}
	p.SetGroupVersionKind(k.Kind)
	p.SetName(k.Name(pc))
	p.SetLabels(shared(pc))
	annotations := hashed(p.Object["spec"])
	if k.ClusterScoped {
		annotations[v1alpha1.AnnotationOwner] = Owner(pc)
	} else {
		p.SetNamespace(pc.Namespace)
		p.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(pc, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))})
	}
	p.SetAnnotations(annotations)
	return p
}

// ciliumSpec opens names, and sends what pods ask name servers through Cilium's
// proxy: addresses of names that it has not seen asked for are not known to it.
func ciliumSpec(pc *v1alpha1.PassthroughConnector, openings []Opening) map[string]any {
	dns := map[string]any{
		"toPorts": []any{map[string]any{
			"ports": []any{
				map[string]any{"port": strconv.Itoa(config.PortDNS), "protocol": "UDP"},
				map[string]any{"port": strconv.Itoa(config.PortDNS), "protocol": "TCP"},
			},
			"rules": map[string]any{"dns": []any{map[string]any{"matchPattern": "*"}}},
		}},
	}
	inPods, atAddresses := copied(dns), copied(dns)
	var endpoints, cidrs []any
	for _, app := range nameServerApps {
		endpoints = append(endpoints, map[string]any{
			"matchLabels":      map[string]any{"k8s:k8s-app": app},
			"matchExpressions": []any{map[string]any{"key": "k8s:io.kubernetes.pod.namespace", "operator": "Exists"}},
		})
	}
	for _, cidr := range nameServerCIDRs(pc) {
		cidrs = append(cidrs, cidr)
	}
	inPods["toEndpoints"], atAddresses["toCIDR"] = endpoints, cidrs
	rules := []any{inPods, atAddresses}
	for _, o := range openings {
		var names, ports []any
		for _, host := range o.Hosts {
			if below, ok := strings.CutPrefix(host, "*."); ok {
				names = append(names, map[string]any{"matchPattern": "**." + below}) // of any depth
			} else {
				names = append(names, map[string]any{"matchName": host})
			}
		}
		for _, p := range o.Ports {
			port := map[string]any{"port": strconv.Itoa(int(p.First)), "protocol": string(p.Protocol)}
			if p.Last > p.First {
				port["endPort"] = int64(p.Last)
			}
			ports = append(ports, port)
		}
		if len(names) > 0 {
			rules = append(rules, map[string]any{"toFQDNs": names, "toPorts": []any{map[string]any{"ports": ports}}})
		}
	}
	return map[string]any{"endpointSelector": map[string]any{"matchLabels": podLabels(pc)}, "egress": rules}
}

func copied(m map[string]any) map[string]any {
	return (&unstructured.Unstructured{Object: m}).DeepCopy().Object
}

// antreaSpec opens names in the tier that is meant for applications, where those
// of administrators come first.
func antreaSpec(pc *v1alpha1.PassthroughConnector, openings []Opening) map[string]any {
	rules := []any{}
	for _, o := range openings {
		var to, ports []any
		for _, host := range o.Hosts {
			to = append(to, map[string]any{"fqdn": host})
		}
		for _, p := range o.Ports {
			port := map[string]any{"port": int64(p.First), "protocol": string(p.Protocol)}
			if p.Last > p.First {
				port["endPort"] = int64(p.Last)
			}
			ports = append(ports, port)
		}
		if len(to) > 0 {
			rules = append(rules, map[string]any{"name": ruleName(o), "action": "Allow", "to": to, "ports": ports})
		}
	}
	return map[string]any{
		"tier": "application", "priority": int64(100),
		"appliedTo": []any{map[string]any{"podSelector": map[string]any{"matchLabels": podLabels(pc)}}},
		"egress":    rules,
	}
}

const (
	// clusterPriority is behind every other policy of the tier: what administrators
	// deny stays denied.
	clusterPriority = 1000

	// clusterListLimit is how many items each list of a ClusterNetworkPolicy holds.
	clusterListLimit = 25
)

// clusterSpec opens names in the tier that comes before NetworkPolicies: the one
// after them is not looked at for pods that a NetworkPolicy selects.
func clusterSpec(pc *v1alpha1.PassthroughConnector, openings []Opening) map[string]any {
	rules := []any{}
	for _, o := range openings {
		var to, protocols []any
		for hosts := range slices.Chunk(o.Hosts, clusterListLimit) {
			var names []any
			for _, host := range hosts {
				names = append(names, host)
			}
			to = append(to, map[string]any{"domainNames": names})
		}
		for _, p := range o.Ports {
			port := map[string]any{"number": int64(p.First)}
			if p.Last > p.First {
				port = map[string]any{"range": map[string]any{"start": int64(p.First), "end": int64(p.Last)}}
			}
			protocols = append(protocols, map[string]any{map[corev1.Protocol]string{corev1.ProtocolTCP: "tcp", corev1.ProtocolUDP: "udp"}[p.Protocol]: map[string]any{"destinationPort": port}})
		}
		if len(to) == 0 {
			continue
		}
		for some := range slices.Chunk(protocols, clusterListLimit) {
			rules = append(rules, map[string]any{"name": ruleName(o), "action": "Accept", "to": to, "protocols": some})
		}
	}
	return map[string]any{
		"tier": "Admin", "priority": int64(clusterPriority),
		"subject": map[string]any{"pods": map[string]any{
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{corev1.LabelMetadataName: pc.Namespace}},
			"podSelector":       map[string]any{"matchLabels": podLabels(pc)},
		}},
		"egress": rules,
	}
}

// ruleName is "the-revocation-hosts".
func ruleName(o Opening) string { return strings.ReplaceAll(o.What, " ", "-") }

func podLabels(pc *v1alpha1.PassthroughConnector) map[string]any {
	all := map[string]any{}
	for key, value := range Selector(pc) {
		all[key] = value
	}
	return all
}
