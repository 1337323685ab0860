// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policylint_test

import (
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/hack/policylint"
)

const good = `
spec:
  podSelector: {matchLabels: {app: connector}}
  policyTypes: [Egress]
  egress:
    - to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
      ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
    - to: [{ipBlock: {cidr: 0.0.0.0/0}}]
      ports: [{protocol: TCP, port: 443}, {protocol: TCP, port: 10100, endPort: 10120}]
`

func TestEgress(t *testing.T) {
	for name, tc := range map[string]struct {
		from, to string // a change of what is good
		want     string // part of the one finding; empty for none
	}{
		"good":                      {"", "", ""},
		"an exception":              {"{cidr: 0.0.0.0/0}", "{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}", "except is a negative match"},
		"IPv6":                      {"0.0.0.0/0", "'::/0'", "not a block of IPv4"},
		"host bits":                 {"0.0.0.0/0", "10.0.0.1/8", "not a block of IPv4"},
		"a named port":              {"port: 443", "port: https", "named ports are skipped"},
		"a range that ends early":   {"endPort: 10120", "endPort: 10099", "endPort is 10099"},
		"SCTP":                      {"protocol: TCP, port: 443", "protocol: SCTP, port: 443", "neither TCP nor UDP"},
		"no protocol":               {"protocol: TCP, port: 443", "port: 443", "neither TCP nor UDP"},
		"DNS by UDP alone":          {", {protocol: TCP, port: 53}", "", "by one of UDP and TCP"},
		"every address":             {"to: [{ipBlock: {cidr: 0.0.0.0/0}}]", "to: []", "opens every address of every family"},
		"every port":                {"ports: [{protocol: TCP, port: 443}, {protocol: TCP, port: 10100, endPort: 10120}]", "ports: []", "opens every port"},
		"a negative selector":       {"{matchLabels: {app: connector}}", "{matchExpressions: [{key: a, operator: DoesNotExist}]}", "negative match a DoesNotExist"},
		"a negative peer":           {"{matchLabels: {k8s-app: kube-dns}}", "{matchExpressions: [{key: a, operator: NotIn, values: [b]}]}", "negative match a NotIn"},
		"a positive expression":     {"{matchLabels: {k8s-app: kube-dns}}", "{matchExpressions: [{key: a, operator: In, values: [b]}]}", ""},
		"the wrong types":           {"policyTypes: [Egress]", "policyTypes: [Ingress]", "policyTypes has no Egress"},
		"selectors on both sides":   {"  egress:\n", "  ingress: [{from: [{podSelector: {}}]}]\n  egress:\n", "ingress[0].from has selectors, and so has egress"},
		"addresses on one side":     {"  egress:\n", "  ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]\n  egress:\n", ""},
		"no types":                  {"policyTypes: [Egress]", "", "policyTypes is empty"},
		"more peers than fit":       {"{ipBlock: {cidr: 0.0.0.0/0}}", strings.Repeat("{ipBlock: {cidr: 192.0.2.1/32}}, ", 211), "more than 210"},
		"more switch rules than ok": {"[{ipBlock: {cidr: 0.0.0.0/0}}]\n      ports: [", "[" + strings.Repeat("{ipBlock: {cidr: 192.0.2.1/32}}, ", 160) + "]\n      ports: [{protocol: UDP, port: 443}, ", "peers times protocols"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, tc.from, tc.to, 1)
			if tc.want != "" && text == good {
				t.Fatal("the change changes nothing")
			}
			p := &networkingv1.NetworkPolicy{}
			if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
				t.Fatal(err)
			}
			got := policylint.Egress(p)
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("found %q", got)
			case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)):
				t.Errorf("found %q, want one finding with %q", got, tc.want)
			}
		})
	}
}
