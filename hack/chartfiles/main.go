// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command chartfiles writes what the Helm chart takes over from elsewhere into its
// folder files/: the CRD, the rules of the generated role, the roles for people,
// and the ports of the operator's network policy. `make generate` runs it in the
// repository's root, and `make verify` checks that it has nothing to change, so
// that the chart and the code cannot drift apart.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

const (
	roleFile      = "config/rbac/role.yaml"
	userRolesFile = "config/rbac/user_roles.yaml"
	policyFile    = "config/egress-policies/role.yaml"
	crdFolder     = "config/crd/bases"
	chartFolder   = "charts/passthrough-connector-operator/files"
)

const header = "# Copyright The Passthrough Connector Operator Authors.\n# SPDX-License-Identifier: Apache-2.0\n#\n# Written by `make generate`; changes here are lost.\n"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "chartfiles:", err)
		os.Exit(1)
	}
}

func run() error {
	role, err := os.ReadFile(roleFile)
	if err != nil {
		return err
	}
	split, err := splitRules(role)
	if err != nil {
		return fmt.Errorf("%s: %w", roleFile, err)
	}
	users, err := documents[map[string]any](userRolesFile)
	if err != nil {
		return err
	}
	policies, err := documents[rbacv1.ClusterRole](policyFile)
	if err != nil {
		return err
	}
	if len(policies) != 1 {
		return fmt.Errorf("%s has %d roles and not one", policyFile, len(policies))
	}
	for name, value := range map[string]any{
		"rbac/namespaced.yaml": split.namespaced,
		"rbac/cluster.yaml":    split.unnamespaced,
		"rbac/lease.yaml":      split.lease,
		"rbac/user_roles.yaml": users,
		"ports.yaml":           operatorPorts(),

		"rbac/egress_policies.yaml": policies[0].Rules,
	} {
		if err := write(name, value); err != nil {
			return err
		}
	}
	return copyCRDs()
}

// portRule is a port of a network policy; protocol and port are spelt as there.
type portRule struct {
	Port     uint16 `json:"port"`
	EndPort  uint16 `json:"endPort,omitempty"`
	Protocol string `json:"protocol"`
}

// operatorPorts are the ports that the operator itself connects to, of the table
// that connectors' policies and the firewall lists are made from.
func operatorPorts() map[string]any {
	ports := map[config.Peer][]portRule{}
	for _, d := range config.Destinations(config.PortsDocumented) {
		if !d.IsNeededBy(config.PartyOperator) || d.Occasion == config.IfAskedFor {
			continue
		}
		peer := d.Peer
		if peer != config.PeerDNS {
			peer = config.PeerService // any address: its hosts are known by name only
		}
		for _, protocol := range d.Protocols {
			rule := portRule{Port: d.Ports.First, Protocol: string(protocol)}
			if d.Ports.Last != d.Ports.First {
				rule.EndPort = d.Ports.Last
			}
			if !slices.Contains(ports[peer], rule) {
				ports[peer] = append(ports[peer], rule)
			}
		}
	}
	return map[string]any{
		"names":           ports[config.PeerDNS],
		"service":         ports[config.PeerService],
		"connectorStatus": config.DefaultHealthPort,
	}
}

// rules are those of the generated role, by where a chart has to put them.
type rules struct {
	// namespaced are about objects in namespaces: a Role in each watched namespace
	// is enough.
	namespaced []rbacv1.PolicyRule
	// unnamespaced are about objects that belong to no namespace: only a ClusterRole
	// can grant them.
	unnamespaced []rbacv1.PolicyRule
	// lease are those of the operator's own namespace.
	lease []rbacv1.PolicyRule
}

// scopes says of each resource that a rule may name whether it belongs to a
// namespace. A rule with another resource is an error, so that nobody forgets to
// say where it belongs.
var scopes = map[string]bool{
	"/configmaps":              true,
	"/events":                  true,
	"/pods":                    true,
	"/secrets":                 true,
	"/serviceaccounts":         true,
	"/services":                true,
	"apps/controllerrevisions": true,
	"apps/deployments":         true,
	"authorization.k8s.io/localsubjectaccessreviews":  true,
	"authorization.k8s.io/subjectaccessreviews":       false,
	"cilium.io/ciliumnetworkpolicies":                 true,
	"coordination.k8s.io/leases":                      true,
	"crd.antrea.io/networkpolicies":                   true,
	"crd.antrea.io/clusternetworkpolicies":            false,
	"events.k8s.io/events":                            true,
	"identity.passthrough.dev/passthroughconnectors":  true,
	"networking.k8s.io/networkpolicies":               true,
	"node.k8s.io/runtimeclasses":                      false,
	"policy.networking.k8s.io/clusternetworkpolicies": false,
	"policy.networking.k8s.io/adminnetworkpolicies":   false,
	"apiextensions.k8s.io/customresourcedefinitions":  false,
	"policy/poddisruptionbudgets":                     true,
	"windows.k8s.io/gmsacredentialspecs":              false,
}

// splitRules sorts the rules of the generated role.
func splitRules(data []byte) (rules, error) {
	all, err := decode[rbacv1.ClusterRole](data)
	if err != nil {
		return rules{}, err
	}
	split := rules{namespaced: []rbacv1.PolicyRule{}, unnamespaced: []rbacv1.PolicyRule{}, lease: []rbacv1.PolicyRule{}}
	for _, role := range all {
		if role.Kind == "Role" {
			split.lease = append(split.lease, role.Rules...)
			continue
		}
		for _, rule := range role.Rules {
			in, out, err := splitRule(rule)
			if err != nil {
				return rules{}, err
			}
			if len(in.Resources) > 0 {
				split.namespaced = append(split.namespaced, in)
			}
			if len(out.Resources) > 0 {
				split.unnamespaced = append(split.unnamespaced, out)
			}
		}
	}
	if len(split.namespaced) == 0 || len(split.lease) == 0 {
		return rules{}, errors.New("it holds no ClusterRole or no Role")
	}
	return split, nil
}

// splitRule splits a rule in what concerns namespaced resources and what does not.
func splitRule(rule rbacv1.PolicyRule) (in, out rbacv1.PolicyRule, err error) {
	if len(rule.NonResourceURLs) > 0 || len(rule.APIGroups) != 1 {
		return in, out, fmt.Errorf("the rule %v is not about resources of one API group", rule)
	}
	in, out = *rule.DeepCopy(), *rule.DeepCopy()
	in.Resources, out.Resources = nil, nil
	for _, resource := range rule.Resources {
		main, _, _ := strings.Cut(resource, "/")
		namespaced, known := scopes[rule.APIGroups[0]+"/"+main]
		switch {
		case !known:
			return in, out, fmt.Errorf("a rule names %s of %q: say in hack/chartfiles whether it belongs to a namespace", resource, rule.APIGroups[0])
		case namespaced:
			in.Resources = append(in.Resources, resource)
		default:
			out.Resources = append(out.Resources, resource)
		}
	}
	return in, out, nil
}

func copyCRDs() error {
	files, err := filepath.Glob(filepath.Join(crdFolder, "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no CRD", crdFolder)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join("crds", filepath.Base(file)), data); err != nil {
			return err
		}
	}
	return nil
}

// documents reads all documents of a YAML file.
func documents[T any](file string) ([]T, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all, err := decode[T](data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all, nil
}

// decode reads all documents of YAML; those that hold only comments are left out.
func decode[T any](data []byte) ([]T, error) {
	var all []T
	for document := range bytes.SplitSeq(append([]byte("\n"), data...), []byte("\n---\n")) {
		var empty map[string]any
		if err := yaml.Unmarshal(document, &empty); err != nil {
			return nil, err
		}
		if len(empty) == 0 {
			continue
		}
		var one T
		if err := yaml.UnmarshalStrict(document, &one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func write(name string, value any) error {
	data, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	return writeFile(name, append([]byte(header), data...))
}

func writeFile(name string, data []byte) error {
	path := filepath.Join(chartFolder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
