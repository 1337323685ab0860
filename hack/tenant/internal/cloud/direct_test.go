// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/bootstrapping"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
)

// direct gives directions and returns the status.
func direct(t *testing.T, ready cloud.Ready, directions string) int {
	t.Helper()
	var inForce bootstrapping.Directions
	return api(t, ready, http.MethodPost, "/api/bootstrap", directions, &inForce)
}

// keysOf are the namespaces that an answer names as available, with their keys.
func keysOf(response bootstrap.Response) map[string]string {
	keys := map[string]string{}
	for _, e := range response.Endpoints {
		if e.Available {
			keys[e.Namespace] = e.SharedAccessKey
		}
	}
	return keys
}

func TestBootstrapsAreAnsweredAsDirected(t *testing.T) {
	tenant := start(t, cloud.Options{})
	ready := tenant.Ready()
	c := register(t, ready, "server1")
	usual := c.bootstrap()
	if len(keysOf(usual)) != 4 || usual.ConnectorState != bootstrap.StateOk {
		t.Fatalf("the usual answer is %+v", usual)
	}

	if status := direct(t, ready, `{"state":"UpdateRequired","message":"1.6 is out","triggers":"x","intervalSeconds":7,"retrySeconds":3,"maxFailed":5,
		"moveTo":"https://elsewhere.msappproxy.test","tokenSeconds":90,"namespaces":["his-nam1-test2"]}`); status != http.StatusOK {
		t.Fatalf("directions: status %d", status)
	}
	want := usual
	want.ConnectorState, want.ServiceMessage, want.Triggers = "UpdateRequired", "1.6 is out", "x"
	want.PeriodicInterval, want.MaxFailedRequests, want.BootstrapEndpointOverride = 7*time.Second, 5, "https://elsewhere.msappproxy.test"
	want.RetryStrategy = bootstrap.RetryStrategy{Periodic: &bootstrap.Periodic{Interval: 3 * time.Second}}
	want.Settings.SignalingSettings.ServiceBusSasTokenTTL = bootstrap.TimeSpan(90 * time.Second)
	want.Endpoints = nil
	for _, e := range usual.Endpoints {
		if e.Namespace == "his-nam1-test2" {
			want.Endpoints = append(want.Endpoints, e)
		}
	}
	if diff := cmp.Diff(want, c.bootstrap()); diff != "" {
		t.Errorf("as directed (-want +got):\n%s", diff)
	}

	direct(t, ready, `{"unavailable":["his-nam1-test1"]}`)
	if keys := keysOf(c.bootstrap()); len(keys) != 3 || keys["his-nam1-test1"] != "" {
		t.Errorf("available: %v", keys)
	}

	direct(t, ready, `{"failNext":2}`)
	body, err := bootstrap.Request{
		TenantID: c.identity.TenantID, ConnectorID: c.identity.ConnectorID, RequestID: guid.New().String(),
		AgentVersion: "1.5.3437.0", System: trust.SystemSettings{MachineName: c.name},
	}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if status, _ := post(t, c.client, ready.BootstrapURL+bootstrap.Path, bootstrap.ContentType, body); status != http.StatusServiceUnavailable {
			t.Errorf("a bootstrap that is to fail: status %d", status)
		}
	}
	if diff := cmp.Diff(usual, c.bootstrap()); diff != "" {
		t.Errorf("after the failures (-want +got):\n%s", diff)
	}

	var nothing struct{}
	if status := api(t, ready, http.MethodPost, "/api/rotate-keys", `{}`, &nothing); status != http.StatusOK {
		t.Fatalf("rotating keys: status %d", status)
	}
	before, after := keysOf(usual), keysOf(c.bootstrap())
	for namespace, key := range before {
		if after[namespace] == "" || after[namespace] == key {
			t.Errorf("the key of %s is not replaced", namespace)
		}
	}

	for name, directions := range map[string]string{
		"no JSON":              `{`,
		"an unknown direction": `{"sate":"Ok"}`,
		"a negative number":    `{"failNext":-1}`,
		"no such namespace":    `{"namespaces":["elsewhere"]}`,
		"nor one that is not":  `{"unavailable":["elsewhere"]}`,
	} {
		if status := direct(t, ready, directions); status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, status)
		}
	}
}

func TestCertificatesLiveAsLongAsDirected(t *testing.T) {
	tenant := start(t, cloud.Options{CertificateLifetime: 40 * 24 * time.Hour})
	ready := tenant.Ready()
	lifetime := func(directions string) (status int, seconds int64) {
		t.Helper()
		var answer struct{ LifetimeSeconds int64 }
		status = api(t, ready, http.MethodPost, "/api/certificates", directions, &answer)
		return status, answer.LifetimeSeconds
	}
	lives := func(name string, want time.Duration) {
		t.Helper()
		now := time.Now()
		c := register(t, ready, name)
		if got := c.identity.NotAfter.Sub(now); got < want-time.Second || got > want+time.Minute {
			t.Errorf("the certificate ends in %s, want %s", got, want)
		}
		// Half of a certificate's lifetime must lie ahead when it is issued.
		if got := now.Sub(c.identity.NotBefore); got > want/8 && got > 10*time.Second {
			t.Errorf("the certificate began %s ago", got)
		}
	}
	if status, seconds := lifetime(`{"lifetimeSeconds":120}`); status != http.StatusOK || seconds != 120 {
		t.Errorf("status %d, %d seconds", status, seconds)
	}
	lives("server1", 2*time.Minute)
	for _, bad := range []string{`{"lifetimeSeconds":-1}`, `{"lifetimeSeconds":99999999999999}`, `{"lifetime":1}`, `{`} {
		if status, _ := lifetime(bad); status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", bad, status)
		}
	}
	if status, seconds := lifetime(`{}`); status != http.StatusOK || seconds != 40*24*3600 {
		t.Errorf("status %d, %d seconds", status, seconds)
	}
	lives("server2", 40*24*time.Hour)
}
