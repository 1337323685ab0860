// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// userPassword is the password of every user of the directory.
const userPassword = "Correct-Horse-7!"

// profile is one way to open the firewall, and a tenant that is behind it.
type profile struct {
	namespace string
	tenant    *testbed.Tenant
	host      string // the tenant's address
	change    func(spec map[string]any)
	// ports of the tenant that have to be open, and nothing else has; the connector
	// keeps a link to the signalling one.
	ports      []int
	signalling int
}

// httpsOnly has the tenant's address in a file of service tags.
func httpsOnly() profile {
	return profile{
		namespace: "https-only", tenant: bed.Tenant, host: httpsTenant, ports: []int{80, 443}, signalling: 443,
		change: func(spec map[string]any) {
			spec["egress"] = map[string]any{
				"ports": "HTTPSOnly", "revocationCIDRs": []any{httpsTenant + "/32"},
				"serviceTags": map[string]any{"name": "service-tags", "key": "tags.json", "tags": []any{"Tenant"}},
			}
		},
	}
}

func documented(t *testing.T) profile {
	t.Helper()
	tenant, err := bed.StartTenant(t.Context(), "documented", "7a6b5c4d-1e2f-4a3b-9c8d-0f1e2d3c4b5a",
		"--listen", documentedTenant, "--ports", "documented", "--service-domain", documentedService, "--relay-domain", documentedRelay)
	if err != nil {
		t.Fatal(err)
	}
	ports := []int{80, 443, 5671, 8080, 9352}
	for port := 10100; port <= 10120; port++ {
		ports = append(ports, port)
	}
	return profile{
		namespace: "documented", tenant: tenant, host: documentedTenant, ports: ports, signalling: 5671,
		change: func(spec map[string]any) {
			service := spec["service"].(map[string]any)
			service["transport"] = "AMQP"
			custom := service["custom"].(map[string]any)
			custom["registrationURL"], custom["bootstrapURL"] = tenant.RegistrationURL, tenant.BootstrapURL
			custom["serviceHostSuffixes"], custom["relayHostSuffixes"] = []any{"." + documentedService}, []any{"." + documentedRelay}
			spec["tenantID"] = tenant.TenantID
			spec["egress"] = map[string]any{"ports": "Documented", "cloudCIDRs": []any{documentedTenant + "/32"}, "revocationCIDRs": []any{documentedTenant + "/32"}}
		},
	}
}

func TestPolicyLetsConnectorsWorkAndNothingElseOut(t *testing.T) {
	for name, make := range map[string]func(*testing.T) profile{
		"HTTPSOnly": func(*testing.T) profile { return httpsOnly() }, "Documented": documented,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, make(t))
			s.signsUsersIn()

			inside := s.targets()
			answering := probe(t, "self", inside)
			if missing := without(inside, answering); len(missing) > 0 {
				t.Fatalf("nobody listens at %v, so nothing would be proved by blocking them", missing)
			}
			pid := s.pid("app.kubernetes.io/instance=" + testbed.SampleName)
			s.isLinked(pid)
			s.opens(pid, inside, s.allowed())

			free := s.pid("egress=unlimited")
			s.opens(free, inside, inside)

			s.apply(func(spec map[string]any) { spec["egress"] = map[string]any{"mode": "None"} })
			s.eventually("no policy", func() (bool, string) {
				left := strings.TrimSpace(s.kubectl("get", "networkpolicies", "-o", "name"))
				return left == "", left
			})
			s.eventually("the same probes connect without the policy", func() (bool, string) {
				shut := without(inside, probe(t, pid, inside))
				return len(shut) == 0, fmt.Sprint(shut)
			})

			s.apply(s.profile.change)
			s.eventually("the policy is in force again", func() (bool, string) {
				reached := probe(t, pid, inside)
				return len(reached) == len(s.allowed()), fmt.Sprintf("%d targets answer", len(reached))
			})
			s.opens(pid, inside, s.allowed())
			s.signsUsersIn()
		})
	}
}

// scene is one namespace with one PassthroughConnector and a pod that no policy limits.
type scene struct {
	t       *testing.T
	profile profile
	bed     *testbed.Testbed
}

func newScene(t *testing.T, p profile) *scene {
	t.Helper()
	s := &scene{t: t, profile: p, bed: bed.Of(p.tenant)}
	token, err := p.tenant.Token(t.Context(), testbed.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.bed.PrepareNamespace(t.Context(), p.namespace, token); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.describe()
		}
	})
	free := podObject(p.namespace, "unlimited", map[string]any{"egress": "unlimited"}, "--listen=$(POD_IP):53", "--zone=servicebus.test=203.0.113.9")
	if err := s.bed.Apply(t.Context(), free); err != nil {
		t.Fatal(err)
	}
	tags := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": p.namespace, "name": "service-tags"},
		"data": map[string]any{"tags.json": fmt.Sprintf(`{"changeNumber": 1, "cloud": "Test", "values": [
			{"name": "Other", "properties": {"addressPrefixes": ["192.0.2.0/24"]}},
			{"name": "Tenant", "properties": {"addressPrefixes": ["%s/32", "2001:db8::/32"]}}]}`, p.host)},
	}
	if err := s.bed.Apply(t.Context(), tags); err != nil {
		t.Fatal(err)
	}
	s.apply(p.change)
	s.kubectl("wait", "--for=condition=Ready", "pod/unlimited", "--timeout=60s")
	s.kubectl("wait", "--for=condition=Ready", "ptc/"+testbed.SampleName, "--timeout=180s")
	return s
}

// apply applies the sample, without the proxy, with a change.
func (s *scene) apply(change func(spec map[string]any)) {
	s.t.Helper()
	sample, err := s.bed.Sample(s.profile.namespace)
	if err != nil {
		s.t.Fatal(err)
	}
	spec := sample["spec"].(map[string]any)
	spec["replicas"] = 1
	delete(spec["service"].(map[string]any), "proxyURL")
	s.profile.change(spec)
	change(spec)
	if err := s.bed.Apply(s.t.Context(), sample); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) kubectl(args ...string) string {
	s.t.Helper()
	out, err := s.bed.Kubectl(s.t.Context(), nil, append([]string{"-n", s.profile.namespace}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// describe prints what a person would look at first.
func (s *scene) describe() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{{"describe", "ptc"}, {"get", "pods,networkpolicies", "-o", "wide"}, {"get", "events"}, {"logs", "deploy/corp-0", "--tail=40"}} {
		out, err := s.bed.Kubectl(ctx, nil, append([]string{"-n", s.profile.namespace}, args...)...)
		s.t.Logf("kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
}

func (s *scene) eventually(what string, check func() (bool, string)) {
	s.t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, saw := check()
		if ok {
			return
		}
		select {
		case <-deadline:
			s.t.Fatalf("still not: %s; last seen: %.2000s", what, saw)
		case <-tick.C:
		}
	}
}

// signsUsersIn signs in with right and wrong passwords.
func (s *scene) signsUsersIn() {
	s.t.Helper()
	for _, want := range []struct{ user, password, verdict, reason string }{
		{"alice", userPassword, "success", ""}, {"bob", "not-his-password", "failure", "1326"},
		{"carol", userPassword, "success", ""}, {"dave", userPassword, "failure", "1331"},
	} {
		got, err := s.profile.tenant.SignIn(s.t.Context(), want.user+"@contoso.example", want.password)
		if err != nil {
			s.t.Fatal(err)
		}
		if got.Verdict != want.verdict || got.Reason != want.reason {
			s.t.Errorf("%s: %s, Win32 %q; want %s, %q (%s)", want.user, got.Verdict, got.Reason, want.verdict, want.reason, got.Message)
		}
	}
}

// isLinked says whether the connector is connected to the service by itself, at
// the port that its transport is said to use, and not by some other way.
func (s *scene) isLinked(pid string) {
	s.t.Helper()
	const established = "01"
	table, err := os.ReadFile("/proc/" + pid + "/net/tcp")
	if err != nil {
		s.t.Fatal(err)
	}
	host := netip.MustParseAddr(s.profile.host).As4()
	// The kernel writes addresses as numbers in its own order of bytes.
	want := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(host[:]), s.profile.signalling)
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[2] == want && fields[3] == established {
			return
		}
	}
	s.t.Errorf("the connector has no connection to port %d of %s:\n%s", s.profile.signalling, s.profile.host, table)
}

// pid returns the process of the container of the pod with a label.
func (s *scene) pid(selector string) string {
	s.t.Helper()
	id := s.kubectl("get", "pods", "-l", selector, "-o", "jsonpath={.items[0].status.containerStatuses[0].containerID}")
	number, ok := strings.CutPrefix(id, "process://")
	if _, err := strconv.Atoi(number); !ok || err != nil {
		s.t.Fatalf("the container of %s is %q, and no process", selector, id)
	}
	return number
}

// triedPorts are all that the service was ever said to use, those of the
// services that people fear for, both ends of the range, and one in every 97.
func triedPorts() []int {
	set := map[int]bool{1: true, 65535: true}
	for _, port := range []int{21, 22, 23, 25, 53, 88, 110, 123, 135, 139, 143, 389, 445, 464, 465, 587, 636, 993, 995, 1433, 1521, 2375, 2379, 3128, 3268, 3269, 3306, 3389, 5432, 5671, 5672, 5985, 5986, 6379, 6443, 8080, 8081, 8443, 9090, 9091, 9200, 9350, 9351, 9352, 9353, 9354, 10099, 10121, 10250, 10255, 11211, 27017, 80, 81, 79, 442, 443, 444} {
		set[port] = true
	}
	for port := 10100; port <= 10120; port++ {
		set[port] = true
	}
	for port := 50; port < 65536; port += 97 {
		set[port] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// targets are what is tried from the connector's network; somebody listens at each.
func (s *scene) targets() []target {
	s.t.Helper()
	ports := triedPorts()
	var all []target
	for _, host := range []string{s.profile.host, stranger} {
		listenTCP(s.t, host, ports)
		for _, port := range ports {
			all = append(all, tcp(host, port))
		}
	}
	// The name server that the policy opens, by both protocols, and one that it does not.
	for _, pod := range []string{s.podIP("kube-system", "dns"), s.podIP(s.profile.namespace, "unlimited")} {
		all = append(all, tcp(pod, 53), target{"udp", net.JoinHostPort(pod, "53")})
	}
	listenTCP(s.t, metadataHost, []int{80, 443})
	listenTCP(s.t, directoryHost, []int{389, 443, 3268})
	node := s.kubectl("get", "node", "windows-0", "-o", "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}")
	listenTCP(s.t, node, []int{22, 443})
	all = append(all, tcp(metadataHost, 80), tcp(metadataHost, 443), tcp(node, 22), tcp(node, 443),
		tcp(directoryHost, 389), tcp(directoryHost, 443), tcp(directoryHost, 636), tcp(directoryHost, 3268),
		target{"tcp", s.apiServer()})
	for _, host := range []string{s.profile.host, stranger} {
		for _, port := range []int{53, 80, 123, 443, 5671} {
			all = append(all, echoUDP(s.t, host, port))
		}
	}
	return append(all, tcp(s.podIP("passthrough-system", s.operatorPod()), 8081))
}

func (s *scene) operatorPod() string {
	s.t.Helper()
	out, err := bed.Kubectl(s.t.Context(), nil, "-n", testbed.OperatorNamespace, "get", "pods", "-o", "jsonpath={.items[0].metadata.name}")
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *scene) podIP(namespace, name string) string {
	s.t.Helper()
	out, err := bed.Kubectl(s.t.Context(), nil, "-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.podIP}")
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *scene) apiServer() string {
	s.t.Helper()
	out, err := bed.Kubectl(s.t.Context(), nil, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := url.Parse(out)
	if err != nil {
		s.t.Fatal(err)
	}
	return server.Host
}

// allowed are the targets that the policy has to open.
func (s *scene) allowed() []target {
	s.t.Helper()
	dns := s.podIP("kube-system", "dns")
	open := []target{tcp(directoryHost, 636), tcp(dns, 53), {"udp", net.JoinHostPort(dns, "53")}}
	for _, port := range s.profile.ports {
		open = append(open, tcp(s.profile.host, port))
	}
	return open
}

// opens compares what answers to a process with what has to.
func (s *scene) opens(pid string, tried, want []target) {
	s.t.Helper()
	reached := probe(s.t, pid, tried)
	if shut := without(want, reached); len(shut) > 0 {
		s.t.Errorf("blocked, and has to be open: %v", shut)
	}
	expected := map[target]bool{}
	for _, w := range want {
		expected[w] = true
	}
	if open := without(slices.Collect(maps.Keys(reached)), expected); len(open) > 0 {
		s.t.Errorf("open, and has to be blocked: %v", open)
	}
	s.t.Logf("%d of %d targets answer", len(reached), len(tried))
}

// without returns the targets that are not in the set.
func without(targets []target, set map[target]bool) []target {
	return slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return set[t] })
}
