// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/hack/internal/faultproxy"
	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// path is one way through the protocol.
type path struct {
	transport string // of the connector's links
	endpoint  string // the kind that the tenant offers
	delivery  string // of requests, as the tenant names it
}

func (p path) String() string { return p.transport + ", " + p.endpoint + ", " + p.delivery }

// ports are the tenant's: without WebSockets, everything is on the port that is
// documented for it; with them, everything is on 443.
func (p path) ports() string {
	if p.transport == config.TransportAMQP {
		return "documented"
	}
	return "https"
}

// paths are all ways that differ in their connections.
func paths() []path {
	var all []path
	for _, transport := range []string{config.TransportWebSocket, config.TransportAMQP} {
		for _, endpoint := range []string{"plain", "reliable"} {
			for _, delivery := range []string{"inline", "connect"} {
				all = append(all, path{transport: transport, endpoint: endpoint, delivery: delivery})
			}
		}
	}
	return all
}

// scene is one tenant, one directory and one connector behind a fault proxy.
type scene struct {
	path
	bed       *testbed.Testbed
	proxy     *faultproxy.Proxy
	connector *testbed.Connector
	turn      int
}

func newScene(t *testing.T, p path, tenantArgs ...string) *scene {
	t.Helper()
	ctx := t.Context()
	bed, err := testbed.Start(ctx, testbed.Options{
		Dir: t.TempDir(), WithoutCluster: true, Programs: programs,
		TenantArgs: append([]string{"--ports", p.ports(), "--endpoints", p.endpoint, "--namespaces", "2", "--delivery", p.delivery, "--bootstrap-interval", "2s"}, tenantArgs...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Stop(); err != nil {
			t.Error(err)
		}
	})
	proxy, err := faultproxy.Start(strings.TrimPrefix(bed.Tenant.Proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	connector, err := bed.StartConnector(ctx, "connector-0", func(c *config.Config) {
		c.Service.ProxyURL, c.Service.Transport = proxy.URL(), p.transport
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := connector.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	s := &scene{path: p, bed: bed, proxy: proxy, connector: connector}
	s.awaitSignIns(t)
	return s
}

// awaitSignIns waits until the tenant has noticed what the connector knows
// already: that it listens.
func (s *scene) awaitSignIns(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	for {
		result, err := s.bed.Tenant.SignIn(ctx, good, right)
		if err != nil {
			t.Fatal(err)
		}
		if result.Verdict == "success" {
			return
		}
		if !trouble(result) {
			t.Fatalf("the first sign-in: %s, reason %q, AADSTS%d", result.Verdict, result.Reason, result.AADSTS)
		}
	}
}
