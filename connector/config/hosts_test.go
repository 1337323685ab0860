// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"strings"
	"testing"
)

var pinned = Service{
	ServiceSuffixes: []string{".msappproxy.test", ".Second.Test"},
	RelaySuffixes:   []string{".servicebus.test"},
}

func TestHostsUnderASuffix(t *testing.T) {
	for name, tc := range map[string]struct {
		host string
		want bool
	}{
		"a host":                              {"proxy-1-pta-test.connector.his.msappproxy.test", true},
		"a host right below":                  {"a.msappproxy.test", true},
		"upper case":                          {"ProxyWorkerRoleIN2-his-weur-2.connector.his.MSAppProxy.TEST", true},
		"a suffix written in mixed case":      {"a.second.test", true},
		"an internationalised label":          {"xn--zrich-kva.msappproxy.test", true},
		"the longest label":                   {strings.Repeat("a", 63) + ".msappproxy.test", true},
		"nothing":                             {"", false},
		"the suffix alone":                    {".msappproxy.test", false},
		"the suffix without its dot":          {"msappproxy.test", false},
		"no boundary of labels":               {"evilmsappproxy.test", false},
		"the suffix in the middle":            {"a.msappproxy.test.evil.test", false},
		"the suffix in a label":               {"a.msappproxy.test-evil.test", false},
		"the other kind of host":              {"a.servicebus.test", false},
		"the root's dot behind":               {"a.msappproxy.test.", false},
		"two dots":                            {"a..msappproxy.test", false},
		"a dot in front":                      {".a.msappproxy.test", false},
		"a NUL before the suffix":             {"evil.test\x00.msappproxy.test", false},
		"a NUL behind":                        {"a.msappproxy.test\x00", false},
		"a line end":                          {"a.msappproxy.test\r\nHost: evil.test", false},
		"a line end before the suffix":        {"evil.test\n.msappproxy.test", false},
		"a space before the suffix":           {"evil.test .msappproxy.test", false},
		"a space behind":                      {"a.msappproxy.test ", false},
		"a port":                              {"a.msappproxy.test:443", false},
		"a port before the suffix":            {"evil.test:443.msappproxy.test", false},
		"credentials":                         {"a@b.msappproxy.test", false},
		"credentials that look like the host": {"a.msappproxy.test@evil.test", false},
		"a path":                              {"a.msappproxy.test/x", false},
		"a path before the suffix":            {"evil.test/.msappproxy.test", false},
		"a backslash before the suffix":       {`evil.test\.msappproxy.test`, false},
		"a fragment before the suffix":        {"evil.test#.msappproxy.test", false},
		"a query before the suffix":           {"evil.test?.msappproxy.test", false},
		"a percent before the suffix":         {"evil.test%2f.msappproxy.test", false},
		"a scheme":                            {"https://a.msappproxy.test", false},
		"a wildcard":                          {"*.msappproxy.test", false},
		"an underscore":                       {"a_b.msappproxy.test", false},
		"a dash in front":                     {"-a.msappproxy.test", false},
		"a dash behind":                       {"a-.msappproxy.test", false},
		"an IPv4 address":                     {"127.0.0.1", false},
		"an IPv6 address":                     {"::1", false},
		"an IPv6 address in brackets":         {"[::1]", false},
		"an IPv6 zone that ends so":           {"fe80::1%a.msappproxy.test", false},
		"a full-width dot":                    {"a．msappproxy.test", false},
		"the Kelvin sign":                     {"a.msappproxy.test\u212A", false},
		"a long s for an s":                   {"a.m\u017Fappproxy.test", false},
		"a label that is too long":            {strings.Repeat("a", 64) + ".msappproxy.test", false},
		"a name that is too long":             {strings.Repeat("a.", 126) + "msappproxy.test", false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := pinned.AllowReturnHost(tc.host, 443); (err == nil) != tc.want {
				t.Errorf("AllowReturnHost(%q) = %v", tc.host, err)
			}
			relay := Service{RelaySuffixes: pinned.ServiceSuffixes}
			if err := relay.AllowRelayHost(tc.host); (err == nil) != tc.want {
				t.Errorf("AllowRelayHost(%q) = %v", tc.host, err)
			}
		})
	}
	if pinned.AllowRelayHost("a.msappproxy.test") == nil || pinned.AllowRelayHost("g1-test-sn1-001-sb.servicebus.test") != nil {
		t.Error("relay hosts are not judged by the relay suffixes")
	}
}

// Validate refuses such suffixes; if one came through nevertheless, it must not
// open the door.
func TestSuffixesThatAreNone(t *testing.T) {
	for _, suffix := range []string{"", "test", "msappproxy.test", "*"} {
		if err := (Service{ServiceSuffixes: []string{suffix}}).AllowReturnHost("evilmsappproxy.test", 443); err == nil {
			t.Errorf("suffix %q allows", suffix)
		}
	}
	if (Service{}).AllowReturnHost("a.msappproxy.test", 443) == nil {
		t.Error("no suffix allows everything")
	}
}

func TestReturnPorts(t *testing.T) {
	for port, want := range map[int]bool{
		443: true, 10100: true, 10110: true, 10120: true,
		-1: false, 0: false, 1: false, 80: false, 442: false, 444: false, 8443: false,
		10099: false, 10121: false, 65535: false, 65536 + 443: false,
	} {
		if err := pinned.AllowReturnHost("a.msappproxy.test", port); (err == nil) != want {
			t.Errorf("port %d: %v", port, err)
		}
	}
}

func TestAllowServiceURL(t *testing.T) {
	for name, tc := range map[string]struct {
		url  string
		want bool
	}{
		"a renewal endpoint":         {"https://his-nam1-cus1.renewtrust.msappproxy.test/renewTrust", true},
		"one on its documented port": {"https://a.msappproxy.test:9091/renewTrust", true},
		"scheme in upper case":       {"HTTPS://A.msappproxy.test", true},
		"clear text":                 {"http://a.msappproxy.test/renewTrust", false},
		"nothing":                    {"", false},
		"no scheme":                  {"a.msappproxy.test", false},
		"no host":                    {"https:///renewTrust", false},
		"an opaque address":          {"https:a.msappproxy.test", false},
		"another host":               {"https://evil.test/.msappproxy.test", false},
		"credentials":                {"https://a:b@a.msappproxy.test", false},
		"credentials that look so":   {"https://a.msappproxy.test@evil.test", false},
		"a query":                    {"https://a.msappproxy.test/x?y", false},
		"an empty query":             {"https://a.msappproxy.test/x?", false},
		"a fragment":                 {"https://a.msappproxy.test/x#y", false},
		"an address":                 {"https://127.0.0.1", false},
		"an escaped host":            {"https://evil.test%2f.msappproxy.test", false},
		"a backslash":                {`https://evil.test\.msappproxy.test`, false},
		"no such port":               {"https://a.msappproxy.test:65536", false},
		"an empty port":              {"https://a.msappproxy.test:", false},
		"the root's dot":             {"https://a.msappproxy.test./", false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := pinned.AllowServiceURL(tc.url); (err == nil) != tc.want {
				t.Errorf("AllowServiceURL(%q) = %v", tc.url, err)
			}
		})
	}
}

func TestAllowRendezvousPort(t *testing.T) {
	for port, want := range map[int]bool{9352: true, 443: false, 5671: false, 9350: false, 0: false, -1: false, 9352 + 65536: false} {
		overTCP, overWebSocket := pinned, pinned
		overTCP.Transport, overWebSocket.Transport = TransportAMQP, TransportWebSocket
		if err := overTCP.AllowRendezvousPort(port); (err == nil) != want {
			t.Errorf("AllowRendezvousPort(%d) = %v", port, err)
		}
		if err := overWebSocket.AllowRendezvousPort(port); err != nil {
			t.Errorf("a transport that does not go by port %d refuses it: %v", port, err)
		}
	}
}

// FuzzAllowReturnHost checks what every allowed host has in common.
func FuzzAllowReturnHost(f *testing.F) {
	for _, host := range []string{"a.msappproxy.test", "evil.test\x00.msappproxy.test", "A.MSAPPPROXY.TEST", "127.0.0.1", "a.msappproxy.test."} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if pinned.AllowReturnHost(host, 443) != nil {
			return
		}
		folded := strings.ToLower(host)
		if !strings.HasSuffix(folded, ".msappproxy.test") && !strings.HasSuffix(folded, ".second.test") {
			t.Fatalf("%q is allowed", host)
		}
		if strings.Trim(folded, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			t.Fatalf("%q is allowed", host)
		}
		if _, err := netip.ParseAddr(host); err == nil {
			t.Fatalf("address %q is allowed", host)
		}
	})
}
