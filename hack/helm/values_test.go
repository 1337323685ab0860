// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// digest is what an image can be pinned by.
const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// effects says of each value what setting it changes: values that set it (and,
// where it needs them, others), and a text that the chart's output holds then and
// does not hold by default. A text with "no " in front is the other way round.
var effects = map[string]struct{ values, want string }{
	"nameOverride":                  {"nameOverride: agent-operator", "app.kubernetes.io/name: agent-operator"},
	"fullnameOverride":              {"fullnameOverride: ptc", "\n  name: ptc\n"},
	"watchNamespaces":               {"watchNamespaces: [one, two]", "--watch-namespaces=one,two"},
	"image.repository":              {"image: {repository: r.example/o}", `image: "r.example/o:dev"`},
	"image.tag":                     {"image: {tag: v1}", `connector-operator:v1"`},
	"image.digest":                  {"image: {tag: v1, digest: '" + digest + "'}", "connector-operator@" + digest + `"`},
	"image.pullPolicy":              {"image: {pullPolicy: Always}", "imagePullPolicy: Always"},
	"connector.image.repository":    {"connector: {image: {repository: r.example/c}}", "--connector-image=r.example/c:dev"},
	"connector.image.tag":           {"connector: {image: {tag: v1}}", "passthrough-dev/connector:v1"},
	"connector.image.digest":        {"connector: {image: {digest: '" + digest + "'}}", "passthrough-dev/connector@" + digest},
	"imagePullSecrets":              {"imagePullSecrets: [{name: registry}]", "imagePullSecrets:\n        - name: registry"},
	"replicas":                      {"replicas: 2", "replicas: 2"},
	"revisionHistoryLimit":          {"revisionHistoryLimit: 7", "revisionHistoryLimit: 7"},
	"leaderElection.enabled":        {"leaderElection: {enabled: false}", "no --leader-elect"},
	"logLevel":                      {"logLevel: 2", "- -v=2"},
	"extraArgs":                     {"extraArgs: [--flag=x]", "- --flag=x"},
	"extraEnv":                      {"extraEnv: [{name: HTTPS_PROXY, value: 'http://p:1'}]", "- name: HTTPS_PROXY"},
	"resources.requests":            {"resources: {requests: {cpu: 77m}}", "cpu: 77m"},
	"resources.limits":              {"resources: {limits: {memory: 1Gi}}", "memory: 1Gi"},
	"resources.claims":              {"resources: {claims: [{name: c}]}", "claims:"},
	"goMemLimit":                    {"goMemLimit: 300MiB", `value: "300MiB"`},
	"deploymentAnnotations":         {"deploymentAnnotations: {a: b}", "annotations:\n    a: b"},
	"podAnnotations":                {"podAnnotations: {a: b}", "annotations:\n        a: b"},
	"podLabels":                     {"podLabels: {team: identity}", "        team: identity"},
	"commonLabels":                  {"commonLabels: {team: identity}", "\n    team: identity"},
	"nodeSelector":                  {"nodeSelector: {disk: ssd}", "disk: ssd"},
	"tolerations":                   {"tolerations: [{key: infra, operator: Exists}]", "key: infra"},
	"affinity":                      {"affinity: {nodeAffinity: {}}", "nodeAffinity"},
	"topologySpreadConstraints":     {"topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]", "topologyKey: zone"},
	"priorityClassName":             {"priorityClassName: system-cluster-critical", "priorityClassName: system-cluster-critical"},
	"terminationGracePeriodSeconds": {"terminationGracePeriodSeconds: 99", "terminationGracePeriodSeconds: 99"},
	"podSecurityContext":            {"podSecurityContext: {runAsUser: 4711}", "runAsUser: 4711"},
	"securityContext":               {"securityContext: {runAsGroup: 4711}", "runAsGroup: 4711"},
	"probes.port":                   {"probes: {port: 18081}", "--health-probe-bind-address=[$(POD_IP)]:18081"},

	"probes.startup.initialDelaySeconds":   {"probes: {startup: {initialDelaySeconds: 3}}", "initialDelaySeconds: 3"},
	"probes.startup.periodSeconds":         {"probes: {startup: {periodSeconds: 33}}", "periodSeconds: 33"},
	"probes.startup.timeoutSeconds":        {"probes: {startup: {timeoutSeconds: 33}}", "timeoutSeconds: 33"},
	"probes.startup.successThreshold":      {"probes: {startup: {successThreshold: 1}}", "successThreshold: 1"},
	"probes.startup.failureThreshold":      {"probes: {startup: {failureThreshold: 33}}", "failureThreshold: 33"},
	"probes.liveness.initialDelaySeconds":  {"probes: {liveness: {initialDelaySeconds: 3}}", "initialDelaySeconds: 3"},
	"probes.liveness.periodSeconds":        {"probes: {liveness: {periodSeconds: 33}}", "periodSeconds: 33"},
	"probes.liveness.timeoutSeconds":       {"probes: {liveness: {timeoutSeconds: 33}}", "timeoutSeconds: 33"},
	"probes.liveness.successThreshold":     {"probes: {liveness: {successThreshold: 1}}", "successThreshold: 1"},
	"probes.liveness.failureThreshold":     {"probes: {liveness: {failureThreshold: 33}}", "failureThreshold: 33"},
	"probes.readiness.initialDelaySeconds": {"probes: {readiness: {initialDelaySeconds: 3}}", "initialDelaySeconds: 3"},
	"probes.readiness.periodSeconds":       {"probes: {readiness: {periodSeconds: 33}}", "periodSeconds: 33"},
	"probes.readiness.timeoutSeconds":      {"probes: {readiness: {timeoutSeconds: 33}}", "timeoutSeconds: 33"},
	"probes.readiness.successThreshold":    {"probes: {readiness: {successThreshold: 3}}", "successThreshold: 3"},
	"probes.readiness.failureThreshold":    {"probes: {readiness: {failureThreshold: 33}}", "failureThreshold: 33"},

	"serviceAccount.create":      {"serviceAccount: {create: false, name: mine}", "no passthrough-connector-operator/templates/serviceaccount.yaml: apiVersion"},
	"serviceAccount.name":        {"serviceAccount: {name: mine}", "serviceAccountName: mine"},
	"serviceAccount.annotations": {"serviceAccount: {annotations: {a: b}}", "annotations:\n    a: b"},
	"rbac.create":                {"rbac: {create: false}", "no kind: ClusterRoleBinding"},
	"rbac.userRoles":             {"rbac: {userRoles: false}", "no passthrough-connector-viewer"},
	"rbac.egressPolicies":        {"rbac: {egressPolicies: [CiliumNetworkPolicy]}", "- ciliumnetworkpolicies"},
	"crds.install":               {"crds: {install: false}", "no kind: CustomResourceDefinition"},
	"crds.keep":                  {"crds: {keep: false}", "no helm.sh/resource-policy"},

	"metrics.enabled":                          {"metrics: {enabled: false}", "--metrics-bind-address=0"},
	"metrics.port":                             {"metrics: {port: 18080}", "--metrics-bind-address=[$(POD_IP)]:18080"},
	"metrics.service.annotations":              {"metrics: {service: {annotations: {a: b}}}", "annotations:\n    a: b"},
	"metrics.serviceMonitor.enabled":           {"metrics: {serviceMonitor: {enabled: true}}", "kind: ServiceMonitor"},
	"metrics.serviceMonitor.labels":            {"metrics: {serviceMonitor: {enabled: true, labels: {release: prometheus}}}", "release: prometheus"},
	"metrics.serviceMonitor.interval":          {"metrics: {serviceMonitor: {enabled: true, interval: 7s}}", "interval: 7s"},
	"metrics.serviceMonitor.scrapeTimeout":     {"metrics: {serviceMonitor: {enabled: true, scrapeTimeout: 6s}}", "scrapeTimeout: 6s"},
	"metrics.serviceMonitor.relabelings":       {"metrics: {serviceMonitor: {enabled: true, relabelings: [{targetLabel: x}]}}", "relabelings:\n        - targetLabel: x"},
	"metrics.serviceMonitor.metricRelabelings": {"metrics: {serviceMonitor: {enabled: true, metricRelabelings: [{targetLabel: other}]}}", "metricRelabelings:\n        - targetLabel: other"},

	"podDisruptionBudget.enabled":        {"podDisruptionBudget: {enabled: false}", "no kind: PodDisruptionBudget"},
	"podDisruptionBudget.maxUnavailable": {"podDisruptionBudget: {maxUnavailable: 50%}", "maxUnavailable: 50%"},
	"networkPolicy.enabled":              {"networkPolicy: {enabled: true}", "kind: NetworkPolicy"},
	"networkPolicy.apiServerPorts":       {"networkPolicy: {enabled: true, apiServerPorts: [16443]}", "port: 16443"},
	"networkPolicy.proxyPorts":           {"networkPolicy: {enabled: true, proxyPorts: [3128]}", "port: 3128"},
	"networkPolicy.metricsFrom":          {"networkPolicy: {enabled: true, metricsFrom: [{podSelector: {matchLabels: {app: prometheus}}}]}", "app: prometheus"},
	"networkPolicy.extraEgress":          {"networkPolicy: {enabled: true, extraEgress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}", "cidr: 192.0.2.0/24"},
}

// output is all that a render holds, with the name of its file before each.
func output(files map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.TrimSpace(files[name]))
	}
	return b.String()
}

func TestEveryValueHasItsEffect(t *testing.T) {
	byDefault := output(mustRender(t, ""))
	for path, tc := range effects {
		t.Run(path, func(t *testing.T) {
			if !isSet(parseValues(t, tc.values), path) {
				t.Fatalf("the test sets %s and not %s", tc.values, path)
			}
			got := output(mustRender(t, tc.values))
			has, hasNot := got, byDefault
			want, inverted := strings.CutPrefix(tc.want, "no ")
			if inverted {
				has, hasNot = byDefault, got
			}
			if !strings.Contains(has, want) || strings.Contains(hasNot, want) {
				t.Errorf("%s makes no difference in %q:\n%s", tc.values, want, got)
			}
		})
	}
}

func isSet(values map[string]any, path string) bool {
	first, rest, nested := strings.Cut(path, ".")
	value, ok := values[first]
	if !ok || !nested {
		return ok
	}
	inner, ok := value.(map[string]any)
	return ok && isSet(inner, rest)
}

// schema is the part of JSON Schema that the tests look at.
type schema struct {
	Description          string
	Type                 string
	Properties           map[string]schema
	AdditionalProperties any
}

func readSchema(t *testing.T) schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(chartFolder, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// leaves lists the paths of values that have no named values in them.
func leaves(t *testing.T, s schema, prefix string) []string {
	t.Helper()
	if s.AdditionalProperties != false {
		t.Errorf("%s: the schema accepts names that there are not", prefix)
	}
	var all []string
	for name, property := range s.Properties {
		if property.Description == "" {
			t.Errorf("%s%s is not described", prefix, name)
		}
		if len(property.Properties) > 0 {
			all = append(all, leaves(t, property, prefix+name+".")...)
		} else {
			all = append(all, prefix+name)
		}
	}
	return all
}

func TestEveryValueIsTested(t *testing.T) {
	for _, path := range leaves(t, readSchema(t), "") {
		if _, ok := effects[path]; !ok && path != "global" { // global is Helm's own
			t.Errorf("values.schema.json has %s; no test says what it does", path)
		}
	}
}

// TestEveryDefaultIsInTheSchema walks values.yaml; the schema may know more, such
// as the fields of probes.
func TestEveryDefaultIsInTheSchema(t *testing.T) {
	var walk func(prefix string, values map[string]any, s schema)
	walk = func(prefix string, values map[string]any, s schema) {
		for name, value := range values {
			property, ok := s.Properties[name]
			if !ok {
				t.Errorf("values.yaml has %s%s; the schema has not", prefix, name)
				continue
			}
			if inner, ok := value.(map[string]any); ok && len(property.Properties) > 0 {
				walk(prefix+name+".", inner, property)
			}
		}
	}
	walk("", load(t).Values, readSchema(t))
}

func TestWrongValuesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ values, want string }{
		"a name that there is not":                {"replica: 2", "replica"},
		"a name that there is not, further down":  {"networkPolicy: {enable: true}", "enable"},
		"a number as text":                        {"replicas: '2'", "/replicas"},
		"a namespace in capitals":                 {"watchNamespaces: [Sales]", "/watchNamespaces/0"},
		"a namespace twice":                       {"watchNamespaces: [a, a]", "/watchNamespaces"},
		"a tag in the repository's place":         {"image: {tag: 'a b'}", "/image/tag"},
		"a digest that is none":                   {"image: {digest: 'sha256:1'}", "/image/digest"},
		"an unknown pull policy":                  {"image: {pullPolicy: Sometimes}", "/image/pullPolicy"},
		"a budget that holds up drains":           {"podDisruptionBudget: {maxUnavailable: 0}", "/podDisruptionBudget/maxUnavailable"},
		"a budget of no percent":                  {"podDisruptionBudget: {maxUnavailable: 0%}", "/podDisruptionBudget/maxUnavailable"},
		"a port that is none":                     {"metrics: {port: 70000}", "/metrics/port"},
		"an API server without a port":            {"networkPolicy: {apiServerPorts: []}", "/networkPolicy/apiServerPorts"},
		"a flag without a dash":                   {"extraArgs: [leader-elect]", "/extraArgs/0"},
		"a variable without a name":               {"extraEnv: [{value: x}]", "/extraEnv/0"},
		"a memory limit in Kubernetes' units":     {"goMemLimit: 200Mi", "/goMemLimit"},
		"a pull secret as text":                   {"imagePullSecrets: [registry]", "/imagePullSecrets/0"},
		"a probe's field that is not a number":    {"probes: {liveness: {httpGet: {}}}", "httpGet"},
		"several operators without a lease":       {"{replicas: 2, leaderElection: {enabled: false}}", "more than one replica needs leaderElection.enabled"},
		"a ServiceMonitor without metrics":        {"metrics: {enabled: false, serviceMonitor: {enabled: true}}", "needs metrics.enabled"},
		"somebody else's account without a name":  {"serviceAccount: {create: false}", "serviceAccount.name is required"},
		"an interval that is not one":             {"metrics: {serviceMonitor: {enabled: true, interval: often}}", "/metrics/serviceMonitor/interval"},
		"a log level that the operator refuses":   {"logLevel: 8", "/logLevel"},
		"more operators than anybody would start": {"replicas: 11", "/replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, load(t), parseValues(t, tc.values))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}
