// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package netpolicy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var (
	connector = Pod{"work", "corp-0", map[string]string{"app": "corp"}, netip.MustParseAddr("10.9.32.2")}
	other     = Pod{"work", "other", map[string]string{"app": "other"}, netip.MustParseAddr("10.9.32.3")}
	elsewhere = Pod{"lab", "corp-0", map[string]string{"app": "corp"}, netip.MustParseAddr("10.9.32.4")}
	dns       = Pod{"kube-system", "dns", map[string]string{"k8s-app": "kube-dns"}, netip.MustParseAddr("10.9.16.2")}
)

func state(t *testing.T, specs ...string) State {
	t.Helper()
	s := State{
		Table: "kubecluster-windows-0", Block: netip.MustParsePrefix("10.9.32.0/20"),
		Local: []Pod{elsewhere, other, connector}, Pods: []Pod{connector, other, elsewhere, dns},
		Namespaces:  map[string]map[string]string{"work": {"team": "a"}, "lab": {}, "kube-system": {}},
		NameService: netip.MustParseAddr("10.96.0.10"),
	}
	for _, spec := range specs {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "work", Name: "p"}}
		if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
			t.Fatal(err)
		}
		s.Policies = append(s.Policies, p)
	}
	return s
}

// TestRuleset looks at the whole of it once; the others at the pod's chain.
func TestRuleset(t *testing.T) {
	got, problems := Compile(state(t, `{podSelector: {matchLabels: {app: corp}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.10/32}}], ports: [{protocol: TCP, port: 443}]}]}`))
	if problems != nil {
		t.Error(problems)
	}
	want := `add table ip kubecluster-windows-0
delete table ip kubecluster-windows-0
table ip kubecluster-windows-0 {
chain services {
type nat hook prerouting priority dstnat; policy accept;
ip saddr 10.9.32.0/20 ip daddr 10.96.0.10 udp dport 53 dnat to 10.9.16.2
ip saddr 10.9.32.0/20 ip daddr 10.96.0.10 tcp dport 53 dnat to 10.9.16.2
}
chain pod-10.9.32.2 {
ip daddr 203.0.113.10/32 tcp dport 443 accept
goto blocked
}
chain blocked {
meta l4proto tcp reject with tcp reset
reject with icmp admin-prohibited
}
chain egress {
iif lo accept
ct state established,related accept
ip saddr vmap { 10.9.32.2 : goto pod-10.9.32.2, 10.9.32.3 : accept, 10.9.32.4 : accept }
ip saddr 10.9.32.0/20 goto blocked
}
chain forward {
type filter hook forward priority filter; policy accept;
jump egress
}
chain input {
type filter hook input priority filter; policy accept;
jump egress
}
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ruleset (-want +got):\n%s", diff)
	}
}

// chain returns the rules of the connector's chain, and whether it has one.
func chain(ruleset string) (rules []string, ok bool) {
	_, rest, ok := strings.Cut(ruleset, "chain pod-10.9.32.2 {\n")
	body, _, _ := strings.Cut(rest, "goto blocked\n}")
	return strings.FieldsFunc(body, func(r rune) bool { return r == '\n' }), ok
}

func TestRulesOfAPod(t *testing.T) {
	const every = "podSelector: {}, policyTypes: [Egress], "
	for name, tc := range map[string]struct {
		spec    string
		open    bool // no policy limits the pod
		want    []string
		problem string
	}{
		"selects another pod":           {spec: `{podSelector: {matchLabels: {app: other}}, policyTypes: [Egress]}`, open: true},
		"of ingress alone":              {spec: `{podSelector: {}, policyTypes: [Ingress]}`, open: true},
		"types implied, ingress":        {spec: `{podSelector: {}}`, open: true},
		"types implied by rules":        {spec: `{podSelector: {}, egress: [{ports: [{port: 443}]}]}`, want: []string{"ip daddr 0.0.0.0/0 tcp dport 443 accept"}},
		"by an expression":              {spec: `{podSelector: {matchExpressions: [{key: app, operator: In, values: [corp, x]}]}, policyTypes: [Egress]}`},
		"denies all":                    {spec: `{` + every + `}`},
		"opens all":                     {spec: `{` + every + `egress: [{}]}`, want: []string{"ip daddr 0.0.0.0/0 accept"}},
		"a range":                       {spec: `{` + every + `egress: [{ports: [{protocol: UDP, port: 100, endPort: 120}]}]}`, want: []string{"ip daddr 0.0.0.0/0 udp dport 100-120 accept"}},
		"a protocol with all ports":     {spec: `{` + every + `egress: [{ports: [{protocol: SCTP}]}]}`, want: []string{"ip daddr 0.0.0.0/0 meta l4proto sctp accept"}},
		"every peer with every port":    {spec: `{` + every + `egress: [{to: [{ipBlock: {cidr: 192.0.2.0/25}}, {ipBlock: {cidr: 198.51.100.1/32}}], ports: [{port: 80}, {port: 443}]}]}`, want: []string{"ip daddr 192.0.2.0/25 tcp dport 80 accept", "ip daddr 192.0.2.0/25 tcp dport 443 accept", "ip daddr 198.51.100.1/32 tcp dport 80 accept", "ip daddr 198.51.100.1/32 tcp dport 443 accept"}},
		"a block with holes":            {spec: `{` + every + `egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}}]}]}`, want: []string{"ip daddr 10.0.0.0/8 ip daddr != 10.1.0.0/16 ip daddr != 10.2.0.0/16 accept"}},
		"pods of its namespace":         {spec: `{` + every + `egress: [{to: [{podSelector: {}}]}]}`, want: []string{"ip daddr { 10.9.32.2, 10.9.32.3 } accept"}},
		"pods of some namespaces":       {spec: `{` + every + `egress: [{to: [{namespaceSelector: {matchLabels: {team: a}}}]}]}`, want: []string{"ip daddr { 10.9.32.2, 10.9.32.3 } accept"}},
		"name servers anywhere":         {spec: `{` + every + `egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{protocol: UDP, port: 53}]}]}`, want: []string{"ip daddr { 10.9.16.2 } udp dport 53 accept"}},
		"pods that do not exist":        {spec: `{` + every + `egress: [{to: [{podSelector: {matchLabels: {app: none}}}], ports: [{port: 443}]}]}`},
		"a port by name":                {spec: `{` + every + `egress: [{ports: [{port: https}]}, {ports: [{port: 80}]}]}`, want: []string{"ip daddr 0.0.0.0/0 tcp dport 80 accept"}, problem: `spec.egress[0] opens nothing: ports[0]: the port "https" is a name`},
		"an IPv6 block":                 {spec: `{` + every + `egress: [{to: [{ipBlock: {cidr: "2001:db8::/32"}}, {ipBlock: {cidr: 192.0.2.0/24}}]}]}`, problem: "to[0]: 2001:db8::/32 is a block of IPv6"},
		"no block":                      {spec: `{` + every + `egress: [{to: [{ipBlock: {cidr: nowhere}}]}]}`, problem: `"nowhere" is not a block`},
		"a range that ends first":       {spec: `{` + every + `egress: [{ports: [{port: 20, endPort: 10}]}]}`, problem: "endPort 10 is before port 20"},
		"an unknown protocol":           {spec: `{` + every + `egress: [{ports: [{protocol: QUIC, port: 443}]}]}`, problem: `"QUIC" is not known`},
		"a selector that is not one":    {spec: `{podSelector: {matchExpressions: [{key: app, operator: Near}]}, policyTypes: [Egress], egress: [{}]}`, problem: "every pod of the namespace is closed"},
		"ingress beside egress is told": {spec: `{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}]}`, want: []string{"ip daddr 0.0.0.0/0 accept"}, problem: "spec.ingress is not enforced"},
	} {
		t.Run(name, func(t *testing.T) {
			ruleset, problems := Compile(state(t, tc.spec))
			rules, isolated := chain(ruleset)
			if isolated == tc.open {
				t.Errorf("limited by a policy: %t", isolated)
			}
			if diff := cmp.Diff(tc.want, rules); len(tc.want)+len(rules) > 0 && diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			var text string
			for _, p := range problems {
				text += p.Text
			}
			if (tc.problem == "") != (text == "") || !strings.Contains(text, tc.problem) {
				t.Errorf("problems %q, want %q", text, tc.problem)
			}
		})
	}
}

func TestPoliciesAddUp(t *testing.T) {
	ruleset, _ := Compile(state(t, `{podSelector: {}, policyTypes: [Egress]}`, `{podSelector: {matchLabels: {app: corp}}, egress: [{ports: [{port: 443}]}]}`))
	rules, _ := chain(ruleset)
	if diff := cmp.Diff([]string{"ip daddr 0.0.0.0/0 tcp dport 443 accept"}, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if !strings.Contains(ruleset, "10.9.32.3 : goto pod-10.9.32.3") || !strings.Contains(ruleset, "10.9.32.4 : accept") {
		t.Errorf("the policies are for every pod of their own namespace:\n%s", ruleset)
	}
}

// TestOrderDoesNotMatter: what is the same is not loaded again.
func TestOrderDoesNotMatter(t *testing.T) {
	a := state(t, `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}`)
	b := a
	b.Local, b.Pods = []Pod{connector, elsewhere, other}, []Pod{dns, elsewhere, other, connector}
	first, _ := Compile(a)
	second, _ := Compile(b)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("rulesets differ:\n%s", diff)
	}
}
