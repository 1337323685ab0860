// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Values of the golden files. CRDs are left out: they have a test of their own.
const (
	namespacedValues = `
crds: {install: false}
watchNamespaces: [sales, research]
rbac: {userRoles: false, egressPolicies: [AntreaNetworkPolicy, ClusterNetworkPolicy]}
networkPolicy: {enabled: true}
`
	everythingValues = `
crds: {install: false}
nameOverride: agents
commonLabels: {team: identity}
image: {digest: "` + digest + `", pullPolicy: Always}
connector: {image: {repository: registry.example/connector, tag: v1}}
imagePullSecrets: [{name: registry}]
replicas: 3
logLevel: 1
extraArgs: [--leader-election-namespace=passthrough-system]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example:3128"}]
deploymentAnnotations: {reloader: "true"}
podAnnotations: {mesh/inject: "false"}
podLabels: {cost: security}
tolerations: [{key: infra, operator: Exists, effect: NoSchedule}]
affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app.kubernetes.io/name: agents}}}}]}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app.kubernetes.io/name: agents}}}]
priorityClassName: system-cluster-critical
serviceAccount: {name: agents, annotations: {a: b}}
metrics:
  service: {annotations: {a: b}}
  serviceMonitor: {enabled: true, labels: {release: prometheus}, relabelings: [{targetLabel: cluster, replacement: one}]}
podDisruptionBudget: {maxUnavailable: 50%}
networkPolicy:
  enabled: true
  apiServerPorts: [6443]
  proxyPorts: [3128]
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  extraEgress: [{ports: [{protocol: TCP, port: 8443}]}]
`
)

// goldens are the committed renders. Those who review a change of the chart see
// there what it means; controllers reads the roles in them.
var goldens = map[string]string{
	"default":    "crds: {install: false}",
	"namespaced": namespacedValues,
	"everything": everythingValues,
}

func TestGoldenRenders(t *testing.T) {
	for name, values := range goldens {
		t.Run(name, func(t *testing.T) {
			got := canonical(t, mustRender(t, values))
			file := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s is not what the chart renders (-file +chart); if it should be, run go test -update:\n%s", file, diff)
			}
		})
	}
}

// canonical writes the objects of a render, and the notes as they are, in one text
// that does not depend on how templates are indented.
func canonical(t *testing.T, files map[string]string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Copyright The Passthrough Connector Operator Authors.\n# SPDX-License-Identifier: Apache-2.0\n")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			for line := range strings.Lines(files[name]) {
				b.WriteString("# " + strings.TrimSpace(line) + "\n")
			}
			continue
		}
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, o := range split(t, files[name]) {
			data, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("---\n# " + name + "\n")
			b.Write(data)
		}
	}
	return strings.ReplaceAll(b.String(), "# \n", "#\n")
}
