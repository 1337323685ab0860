// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
	"github.com/passthrough-dev/connector-operator/controllers/internal/servicetags"
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
			CloudCIDRs:      []v1alpha1.IPv4CIDR{"203.0.113.0/24", "20.0.0.0/8", "198.51.100.7/32"},
			RevocationCIDRs: []v1alpha1.IPv4CIDR{"192.0.2.80/32"},
			DirectoryCIDRs:  []v1alpha1.IPv4CIDR{"10.0.1.0/24", "10.0.0.10/32"},
			DirectoryPorts:  []v1alpha1.EgressPort{{Protocol: "UDP", Port: 88}, {Protocol: "TCP", Port: 49152, EndPort: 65535}, {Protocol: "TCP", Port: 636}},
			DNSCIDRs:        []v1alpha1.IPv4CIDR{"10.0.0.10/32"},
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
		pc.Spec.Validation = v1alpha1.ValidationSpec{Method: v1alpha1.ValidationLogonUser}
	},
	"largest": func(pc *v1alpha1.PassthroughConnector) {
		for i := range 200 {
			pc.Spec.Egress.CloudCIDRs = append(pc.Spec.Egress.CloudCIDRs, v1alpha1.IPv4CIDR(fmt.Sprintf("20.%d.0.0/16", i)))
		}
		for i := range 8 {
			pc.Spec.Egress.RevocationCIDRs = append(pc.Spec.Egress.RevocationCIDRs, v1alpha1.IPv4CIDR(fmt.Sprintf("192.0.2.%d/32", i)))
		}
		for i := range 32 {
			pc.Spec.Egress.DirectoryCIDRs = append(pc.Spec.Egress.DirectoryCIDRs, v1alpha1.IPv4CIDR(fmt.Sprintf("10.0.%d.0/24", i)))
		}
		for i := range 8 {
			pc.Spec.Egress.DNSCIDRs = append(pc.Spec.Egress.DNSCIDRs, v1alpha1.IPv4CIDR(fmt.Sprintf("10.9.%d.0/24", i)))
		}
		pc.Spec.Validation = v1alpha1.ValidationSpec{Method: v1alpha1.ValidationLogonUser}
	},
}

// policy renders a resource's policy as the API server would hold it.
func policy(t *testing.T, pc *v1alpha1.PassthroughConnector) *networkingv1.NetworkPolicy {
	t.Helper()
	openings, err := desired.Openings(pc, servicetags.Ranges{})
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

// TestAnyPolicyIsUnderstoodOnWindowsAndAsNarrowAsAskedFor draws specifications
// that the API server accepts: TestAPIAcceptsAnyEgress holds them against one.
func TestAnyPolicyIsUnderstoodOnWindowsAndAsNarrowAsAskedFor(t *testing.T) {
	for seed := range uint64(300) {
		pc := fixture.Connector(fixture.Egress(rand.New(rand.NewPCG(seed, 1))))
		if seed%2 == 1 {
			pc.Spec.Validation = v1alpha1.ValidationSpec{Method: "LogonUser"}
		}
		p := policy(t, pc)
		for _, finding := range policylint.Egress(p) {
			t.Errorf("seed %d: %s", seed, finding)
		}
		openings, err := desired.Openings(pc, servicetags.Ranges{})
		if err != nil {
			t.Fatal(err)
		}
		asked := map[string][]v1alpha1.IPv4CIDR{
			"the cloud": pc.Spec.Egress.CloudCIDRs, "the revocation hosts": pc.Spec.Egress.RevocationCIDRs,
			"the proxy": pc.Spec.Egress.ProxyCIDRs, "the directory": pc.Spec.Egress.DirectoryCIDRs,
		}
		for _, o := range openings {
			if proxied := pc.Spec.Service.ProxyURL != ""; o.What != "the directory" && proxied != (o.What == "the proxy") {
				t.Errorf("seed %d: %s is opened, and the proxy is %q", seed, o.What, pc.Spec.Service.ProxyURL)
			}
			if len(asked[o.What]) == 0 {
				continue
			}
			for _, cidr := range o.CIDRs {
				if !slices.Contains(asked[o.What], v1alpha1.IPv4CIDR(cidr)) {
					t.Errorf("seed %d: %s is open towards %s, which nobody asked for", seed, o.What, cidr)
				}
			}
		}
		if t.Failed() {
			t.Fatalf("of %+v", pc.Spec.Egress)
		}
	}
}

func TestGoldenPolicies(t *testing.T) {
	for name, change := range policies {
		if name == "largest" {
			continue // for the lint
		}
		t.Run(name, func(t *testing.T) {
			pc := fixture.Connector(change)
			openings, err := desired.Openings(pc, servicetags.Ranges{})
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
		"Documented":      {policies["documented"], "443 5671 8080 9352 10100-10120 to the cloud, 80 to the revocation hosts"},
		"HTTPSOnly":       {policies["https-only"], "443 to the cloud, 80 to the revocation hosts"},
		"performance":     {policies["narrow"], "443 5671 8080 9350 9352 10100-10120 to the cloud, 80 to the revocation hosts"},
		"through a proxy": {policies["proxy"], "3128 to the proxy"},
		"a custom port": {func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Egress.Ports = v1alpha1.EgressPortsHTTPSOnly
			pc.Spec.Service.Custom.BootstrapURL = "https://b.msappproxy.test:8443"
		}, "443 8443 to the cloud, 80 to the revocation hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			openings, err := desired.Openings(fixture.Connector(tc.change), servicetags.Ranges{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range openings {
				if o.What == "the directory" {
					continue
				}
				text := ""
				for _, p := range o.Ports {
					if p.Protocol != "TCP" {
						t.Errorf("%v is opened towards %s", p, o.What)
					}
					text += fmt.Sprint(p.First)
					if p.Last > p.First {
						text += fmt.Sprintf("-%d", p.Last)
					}
					text += " "
				}
				got = append(got, text+"to "+o.What)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestUnlimitedOpeningsAreKnown(t *testing.T) {
	for name, want := range map[string][]string{
		"documented": {"the cloud", "the revocation hosts", "the directory"},
		"narrow":     nil,
		"proxy":      nil,
		"logon-user": nil,
	} {
		t.Run(name, func(t *testing.T) {
			openings, err := desired.Openings(fixture.Connector(policies[name]), servicetags.Ranges{})
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

func TestMoreServersThanAPolicyHoldsAreRefused(t *testing.T) {
	servers := func(n int) func(*v1alpha1.PassthroughConnector) {
		return func(pc *v1alpha1.PassthroughConnector) {
			forests := &pc.Spec.Validation.LDAP.Forests
			*forests = nil
			for i := range n {
				*forests = append(*forests, v1alpha1.LDAPForest{Servers: []v1alpha1.LDAPServer{v1alpha1.LDAPServer(fmt.Sprintf("ldaps://10.0.0.%d:636", i))}})
			}
		}
	}
	openings, err := desired.Openings(fixture.Connector(servers(32)), servicetags.Ranges{})
	if err != nil || len(openings[len(openings)-1].CIDRs) != 32 {
		t.Errorf("32 servers: %v, %v", openings, err)
	}
	if _, err := desired.Openings(fixture.Connector(servers(33)), servicetags.Ranges{}); err == nil || !strings.Contains(err.Error(), "the servers are 33 addresses, and a policy holds 32: name blocks") {
		t.Errorf("33 servers: %v", err)
	}
	many := fixture.Connector(servers(33), func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Egress.DirectoryCIDRs = []v1alpha1.IPv4CIDR{"10.0.0.0/26"}
	})
	if _, err := desired.Openings(many, servicetags.Ranges{}); err != nil {
		t.Errorf("33 servers in a block that is named: %v", err)
	}
}

// tagged are n blocks that cannot be put together.
func tagged(n int) servicetags.Ranges {
	ranges := servicetags.Ranges{Tags: []servicetags.Tag{{Name: "ServiceBus", Blocks: n - 1}, {Name: "Other", Blocks: 1}}}
	for i := range n {
		ranges.Blocks = append(ranges.Blocks, netip.MustParsePrefix(fmt.Sprintf("20.%d.%d.0/24", i/128, 2*(i%128))))
	}
	return ranges
}

func withTags(cidrs ...v1alpha1.IPv4CIDR) *v1alpha1.PassthroughConnector {
	return fixture.Connector(func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Egress.ServiceTags = &v1alpha1.ServiceTags{Name: "tags", Key: "file", Tags: []v1alpha1.ServiceTag{"ServiceBus", "Other"}}
		pc.Spec.Egress.CloudCIDRs = cidrs
	})
}

// TestGoldenPoliciesByName renders what is known by name: a cloud that is not a
// custom one, a proxy, and servers beside others that are addresses.
func TestGoldenPoliciesByName(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.PassthroughConnector){
		"cloud": func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Service = v1alpha1.ServiceSpec{Cloud: v1alpha1.CloudAzurePublic}
			pc.Spec.Egress.DNSCIDRs = []v1alpha1.IPv4CIDR{"10.96.0.10/32"}
			pc.Spec.Validation.LDAP.Forests[0].Servers = []v1alpha1.LDAPServer{"ldaps://DC2.contoso.example:636", "ldaps://10.0.0.10:636", "ldaps://dc1.contoso.example:636"}
		},
		"proxy": func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Service.ProxyURL = "http://proxy.contoso.example:3128"
		},
	} {
		for _, kind := range desired.PoliciesByName() {
			t.Run(name+" "+string(kind.Mode), func(t *testing.T) {
				pc := fixture.Connector(change, func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Egress.Mode = kind.Mode })
				openings, err := desired.Openings(pc, servicetags.Ranges{})
				if err != nil {
					t.Fatal(err)
				}
				golden(t, "egress-"+name+"-"+string(kind.Mode), []any{desired.EgressPolicy(pc, openings, kind.Mode), kind.Render(pc, openings)})
				for _, finding := range policylint.Egress(policy(t, pc)) {
					t.Error(finding)
				}
			})
		}
	}
}

func TestNamesThatAreNotFullAreRefused(t *testing.T) {
	for _, host := range []string{"proxy", "a..b", "under_score.example"} {
		pc := fixture.Connector(func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Egress.Mode = v1alpha1.EgressAntrea
			pc.Spec.Service.ProxyURL = "http://" + host + ":3128"
		})
		if _, err := desired.Openings(pc, servicetags.Ranges{}); err == nil || !strings.Contains(err.Error(), "is not the full name of a host") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// Servers that DNS names may be any host of their domain.
func TestServersThatAreDiscoveredAreReached(t *testing.T) {
	for name, tc := range map[string]struct {
		startTLS bool
		port     int32
	}{"LDAPS": {false, 636}, "StartTLS": {true, 389}} {
		t.Run(name, func(t *testing.T) {
			pc := fixture.Connector(func(pc *v1alpha1.PassthroughConnector) {
				pc.Spec.Egress.Mode = v1alpha1.EgressCilium
				forest := &pc.Spec.Validation.LDAP.Forests[0]
				forest.Servers, forest.StartTLS = nil, &tc.startTLS
				forest.Discovery = &v1alpha1.LDAPDiscovery{Domain: "corp.contoso.example"}
			})
			openings, err := desired.Openings(pc, servicetags.Ranges{})
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(openings, func(o desired.Opening) bool { return o.What == "the directory" })
			if at < 0 {
				t.Fatalf("no opening to the directory in %+v", openings)
			}
			want := desired.Opening{What: "the directory", Hosts: []string{"*.corp.contoso.example"}, Ports: []desired.EgressPort{{Protocol: "TCP", First: tc.port, Last: tc.port}}}
			if diff := cmp.Diff(want, openings[at]); diff != "" {
				t.Errorf("the opening (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServiceTagsArePutTogetherWithTheCloudsAddresses(t *testing.T) {
	for name, tc := range map[string]struct {
		cidrs []v1alpha1.IPv4CIDR
		want  []string
	}{
		"tags alone":        {nil, []string{"20.0.0.0/24", "20.0.2.0/24"}},
		"an address beside": {[]v1alpha1.IPv4CIDR{"192.0.2.1/32"}, []string{"20.0.0.0/24", "20.0.2.0/24", "192.0.2.1/32"}},
		"one that joins":    {[]v1alpha1.IPv4CIDR{"20.0.1.0/24", "20.0.3.0/24"}, []string{"20.0.0.0/22"}},
		"one that holds":    {[]v1alpha1.IPv4CIDR{"20.0.0.0/8"}, []string{"20.0.0.0/8"}},
	} {
		t.Run(name, func(t *testing.T) {
			openings, err := desired.Openings(withTags(tc.cidrs...), tagged(2))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, openings[0].CIDRs); diff != "" || !openings[1].Unlimited() {
				t.Errorf("the cloud (-want +got), and revocation hosts anywhere: %t\n%s", openings[1].Unlimited(), diff)
			}
		})
	}
}

func TestTagsThatAPolicyCannotHoldAreRefused(t *testing.T) {
	if openings, err := desired.Openings(withTags(), tagged(200)); err != nil || len(openings[0].CIDRs) != 200 {
		t.Errorf("200 blocks: %v", err)
	}
	for name, tc := range map[string]struct {
		pc     *v1alpha1.PassthroughConnector
		ranges servicetags.Ranges
		want   string
	}{
		"too many":                {withTags(), tagged(746), "ServiceBus (745) and Other (1) come to 746 blocks of addresses, and a policy holds 200: name fewer tags"},
		"too many with addresses": {withTags("192.0.2.1/32"), tagged(200), "come to 201 blocks"},
		"none, which is not all":  {withTags(), servicetags.Ranges{}, "the tags have no address"},
		"none beside an address":  {withTags("192.0.2.1/32"), servicetags.Ranges{}, "the tags have no address"},
	} {
		t.Run(name, func(t *testing.T) {
			if openings, err := desired.Openings(tc.pc, tc.ranges); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, want an error with %q", openings, err, tc.want)
			}
		})
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
			if _, err := desired.Openings(fixture.Connector(change), servicetags.Ranges{}); err == nil || !strings.Contains(err.Error(), "fd00::1 is an IPv6 address") {
				t.Errorf("got %v", err)
			}
		})
	}
}
