// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
	"github.com/passthrough-dev/connector-operator/hack/policylint"
)

// policies are resources whose policies differ.
var policies = map[string]func(*v1alpha1.PassthroughConnector){
	"documented": func(*v1alpha1.PassthroughConnector) {},
	"https-only": func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Egress.Ports = v1alpha1.EgressPortsHTTPSOnly
	},
	"narrow": func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Egress = v1alpha1.EgressSpec{
			Mode: v1alpha1.EgressNetworkPolicy, Ports: v1alpha1.EgressPortsDocumented, PerformancePort: new(true),
			CloudCIDRs:     []v1alpha1.IPv4CIDR{"203.0.113.0/24", "20.0.0.0/8", "198.51.100.7/32"},
			DirectoryCIDRs: []v1alpha1.IPv4CIDR{"10.0.1.0/24", "10.0.0.10/32"},
			DirectoryPorts: []v1alpha1.EgressPort{{Protocol: "UDP", Port: 88}, {Protocol: "TCP", Port: 49152, EndPort: 65535}, {Protocol: "TCP", Port: 636}},
			DNSCIDRs:       []v1alpha1.IPv4CIDR{"10.0.0.10/32"},
		}
	},
	"proxy": func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Service.ProxyURL = "http://10.1.2.3:3128"
		pc.Spec.Validation.LDAP.Forests[0].Servers = []v1alpha1.LDAPServer{"ldaps://10.0.0.11:3269", "ldaps://10.0.0.10:636"}
	},
	"logon-user": func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Service.ProxyURL = "http://proxy.contoso.example:3128"
		pc.Spec.Egress.ProxyCIDRs = []v1alpha1.IPv4CIDR{"10.1.2.0/24"}
		pc.Spec.Egress.DirectoryCIDRs = []v1alpha1.IPv4CIDR{"10.0.0.0/28"}
		pc.Spec.Validation = v1alpha1.ValidationSpec{Method: "LogonUser"}
	},
	"largest": func(pc *v1alpha1.PassthroughConnector) {
		for i := range 200 {
			pc.Spec.Egress.CloudCIDRs = append(pc.Spec.Egress.CloudCIDRs, v1alpha1.IPv4CIDR(fmt.Sprintf("20.%d.0.0/16", i)))
		}
		for i := range 32 {
			pc.Spec.Egress.DirectoryCIDRs = append(pc.Spec.Egress.DirectoryCIDRs, v1alpha1.IPv4CIDR(fmt.Sprintf("10.0.%d.0/24", i)))
		}
		for i := range 8 {
			pc.Spec.Egress.DNSCIDRs = append(pc.Spec.Egress.DNSCIDRs, v1alpha1.IPv4CIDR(fmt.Sprintf("10.9.%d.0/24", i)))
		}
		pc.Spec.Validation = v1alpha1.ValidationSpec{Method: "LogonUser"}
	},
}

// policy renders a resource's policy as the API server would hold it.
func policy(t *testing.T, pc *v1alpha1.PassthroughConnector) *networkingv1.NetworkPolicy {
	t.Helper()
	openings, err := desired.Openings(pc)
	if err != nil {
		t.Fatal(err)
	}
	data, err := yaml.Marshal(desired.EgressPolicy(pc, openings))
	if err != nil {
		t.Fatal(err)
	}
	p := &networkingv1.NetworkPolicy{}
	if err := yaml.UnmarshalStrict(data, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryPolicyIsUnderstoodOnWindows(t *testing.T) {
	for name, change := range policies {
		t.Run(name, func(t *testing.T) {
			for _, finding := range policylint.Egress(policy(t, fixture.Connector(change))) {
				t.Error(finding)
			}
		})
	}
}

func TestGoldenPolicies(t *testing.T) {
	for name, change := range policies {
		if name == "largest" {
			continue // for the lint
		}
		t.Run(name, func(t *testing.T) {
			pc := fixture.Connector(change)
			openings, err := desired.Openings(pc)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "egress-"+name, []any{desired.EgressPolicy(pc, openings)})
		})
	}
}

// TestPortsOfTheConnectors says once more, as a list, what the profiles open
// towards the cloud.
func TestPortsOfTheConnectors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1alpha1.PassthroughConnector)
		want   string
	}{
		"Documented":      {policies["documented"], "80 443 5671 8080 9352 10100-10120"},
		"HTTPSOnly":       {policies["https-only"], "80 443"},
		"performance":     {policies["narrow"], "80 443 5671 8080 9350 9352 10100-10120"},
		"through a proxy": {policies["proxy"], "3128"},
		"a custom port": {func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Egress.Ports = v1alpha1.EgressPortsHTTPSOnly
			pc.Spec.Service.Custom.BootstrapURL = "https://b.msappproxy.test:8443"
		}, "80 443 8443"},
	} {
		t.Run(name, func(t *testing.T) {
			openings, err := desired.Openings(fixture.Connector(tc.change))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range openings[0].Ports {
				if p.Protocol != "TCP" {
					t.Errorf("%v is opened towards the cloud", p)
				}
				text := fmt.Sprint(p.First)
				if p.Last > p.First {
					text += fmt.Sprintf("-%d", p.Last)
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestUnlimitedOpeningsAreKnown(t *testing.T) {
	for name, want := range map[string][]string{
		"documented": {"the cloud", "the directory"},
		"narrow":     nil,
		"proxy":      nil,
		"logon-user": nil,
	} {
		t.Run(name, func(t *testing.T) {
			openings, err := desired.Openings(fixture.Connector(policies[name]))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range openings {
				if o.Unlimited() {
					got = append(got, o.What)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPolicyIsTheSameInWhateverOrderListsAreWritten(t *testing.T) {
	a, b := fixture.Connector(policies["narrow"]), fixture.Connector(policies["narrow"])
	for _, list := range [][]v1alpha1.IPv4CIDR{b.Spec.Egress.CloudCIDRs, b.Spec.Egress.DirectoryCIDRs} {
		list[0], list[1] = list[1], list[0]
	}
	b.Spec.Egress.DirectoryPorts[0], b.Spec.Egress.DirectoryPorts[2] = b.Spec.Egress.DirectoryPorts[2], b.Spec.Egress.DirectoryPorts[0]
	if diff := cmp.Diff(policy(t, a), policy(t, b)); diff != "" {
		t.Errorf("a policy that is rewritten can cut connections on Windows:\n%s", diff)
	}
}

func TestAddressesThatNoWindowsPolicyCanHoldAreRefused(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.PassthroughConnector){
		"a proxy": func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Service.ProxyURL = "http://[fd00::1]:3128" },
		"a server": func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Validation.LDAP.Forests[0].Servers[0] = "ldaps://[fd00::1]:636"
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := desired.Openings(fixture.Connector(change)); err == nil || !strings.Contains(err.Error(), "fd00::1 is an IPv6 address") {
				t.Errorf("got %v", err)
			}
		})
	}
}
