// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

func TestRulesAreSortedByWhereARoleCanGrantThem(t *testing.T) {
	got, err := splitRules([]byte(`---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: operator}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get]}
- {apiGroups: [windows.k8s.io], resources: [gmsacredentialspecs], verbs: [get]}
- {apiGroups: [authorization.k8s.io], resources: [localsubjectaccessreviews, subjectaccessreviews], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: operator, namespace: system}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get]}
`))
	if err != nil {
		t.Fatal(err)
	}
	rule := func(group, resource, verb string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
	}
	want := rules{
		namespaced:   []rbacv1.PolicyRule{rule("", "pods", "get"), rule("authorization.k8s.io", "localsubjectaccessreviews", "create")},
		unnamespaced: []rbacv1.PolicyRule{rule("windows.k8s.io", "gmsacredentialspecs", "get"), rule("authorization.k8s.io", "subjectaccessreviews", "create")},
		lease:        []rbacv1.PolicyRule{rule("coordination.k8s.io", "leases", "get")},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(rules{})); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

func TestARuleThatNobodyPlacedIsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ rule, want string }{
		"an unknown resource":       {"{apiGroups: [example.com], resources: [things], verbs: [get]}", `things of "example.com"`},
		"two groups at a time":      {`{apiGroups: ["", apps], resources: [pods], verbs: [get]}`, "one API group"},
		"a rule about a URL":        {"{nonResourceURLs: [/metrics], verbs: [get]}", "one API group"},
		"no role of the namespace":  {`{apiGroups: [""], resources: [pods], verbs: [get]}`, "no Role"},
		"a field that there is not": {`{apiGroups: [""], resource: [pods], verbs: [get]}`, "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := splitRules([]byte("kind: ClusterRole\nrules: [" + tc.rule + "]\n"))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}

// TestTheChartHasTheGeneratedRules compares the files of the chart with the
// generated role: taken together, they grant the same, and nothing else.
func TestTheChartHasTheGeneratedRules(t *testing.T) {
	role, err := os.ReadFile(filepath.Join("..", "..", roleFile))
	if err != nil {
		t.Fatal(err)
	}
	generated, err := decode[rbacv1.ClusterRole](role)
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]bool{}, map[string]bool{}
	for _, r := range generated {
		collect(want, r.Kind == "Role", r.Rules)
	}
	for _, file := range []string{"namespaced.yaml", "cluster.yaml", "lease.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "..", chartFolder, "rbac", file))
		if err != nil {
			t.Fatal(err)
		}
		var rules []rbacv1.PolicyRule
		if err := yaml.UnmarshalStrict(data, &rules); err != nil {
			t.Fatal(err)
		}
		collect(got, file == "lease.yaml", rules)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the chart's rules differ from %s (-role +chart); run make generate:\n%s", roleFile, diff)
	}
	if len(got) < 20 {
		t.Errorf("only %d permissions were compared", len(got))
	}
}

// collect adds each permission of rules by itself.
func collect(into map[string]bool, lease bool, rules []rbacv1.PolicyRule) {
	where := "everywhere"
	if lease {
		where = "own namespace"
	}
	for _, r := range rules {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				into[strings.Join([]string{where, r.APIGroups[0], resource, verb, strings.Join(r.ResourceNames, ",")}, " ")] = true
			}
		}
	}
}

func TestTheOperatorsPortsAreThoseOfTheTable(t *testing.T) {
	data, err := yaml.Marshal(operatorPorts())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join("..", "..", chartFolder, "ports.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(header+string(data), string(file)); diff != "" {
		t.Errorf("the chart's ports differ from connector/config (-table +chart); run make generate:\n%s", diff)
	}
	for _, want := range []string{"port: 80\n", "port: 443\n", "port: 9090\n", "port: 9091\n", "port: 53\n", "connectorStatus: 8080\n"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the operator needs the %q, and its ports are\n%s", want, data)
		}
	}
	for _, never := range []string{"port: 5671\n", "port: 9352\n", "port: 445\n"} {
		if strings.Contains(string(data), never) {
			t.Errorf("only connectors need the %q", never)
		}
	}
}
