// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

// built is an agent that is not running, in front of a cloud.
func built(t *testing.T, cloud *fakeCloud, ca string) (a *agent, dir string) {
	t.Helper()
	dir = t.TempDir()
	writeIdentity(t, dir)
	server, err := ldapserver.Start(t.Context(), ldapserver.Options{Listen: "127.0.0.1:0", Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(server.Close)
	c := configure(t, dir, server, cloud.proxy)
	c.Service.CAFile = ca
	a, err = build(Options{Config: c, Version: "test", Log: logr.Discard()})
	must(t, err)
	t.Cleanup(func() {
		a.proving.directory.close()
		a.listener.Close()
		a.clients.service.CloseIdleConnections()
	})
	return a, dir
}

// bootstrapOnce makes one bootstrap and returns when its outcome is known.
func (a *agent) bootstrapOnce(t *testing.T) config.Status {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.loop.Run(ctx)
	}()
	deadline := time.After(time.Minute)
	before := a.tracker.Status(time.Now()).Bootstrap
	for {
		status := a.tracker.Status(time.Now())
		if status.Bootstrap.ConsecutiveFailures != before.ConsecutiveFailures ||
			status.Bootstrap.LastSuccess != nil && (before.LastSuccess == nil || !before.LastSuccess.Equal(*status.Bootstrap.LastSuccess)) {
			cancel()
			<-done
			return status
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("no bootstrap has come to an end")
		}
	}
}

func TestANewCertificateIsUsedWithoutARestart(t *testing.T) {
	ca := newIssuer(t, "Test")
	cloud := newFakeCloud(t, &tls.Config{Certificates: []tls.Certificate{ca.serverCertificate(cloudNames)}, MinVersion: tls.VersionTLS12})
	a, dir := built(t, cloud, ca.file())
	post := func() {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://p1.connector.his.msappproxy.test/answer", nil)
		must(t, err)
		answer, err := a.clients.service.Do(request)
		must(t, err)
		_, err = io.Copy(io.Discard, answer.Body) // else its connection is not used again
		must(t, err)
		answer.Body.Close()
	}
	first := a.identity.Identity().Thumbprint
	if s := a.bootstrapOnce(t); s.BootstrapThumbprint != first {
		t.Errorf("bootstrapThumbprint %s, want %s", s.BootstrapThumbprint, first)
	}
	post()
	post()

	writeIdentity(t, dir)
	changed, err := a.identity.Reload()
	must(t, err)
	second := a.identity.Identity().Thumbprint
	if !changed || second == first {
		t.Fatal("the new certificate is not noticed")
	}
	a.renewed()
	a.showIdentity()
	post()
	status := a.bootstrapOnce(t)
	post()

	const bootstrapHost = tenant + ".pta.bootstrap.his.msappproxy.test" + bootstrap.Path
	const answers = "p1.connector.his.msappproxy.test/answer"
	requests, connections := cloud.seen()
	if diff := cmp.Diff([]string{
		bootstrapHost + " " + first, answers + " " + first, answers + " " + first,
		answers + " " + second, bootstrapHost + " " + second, answers + " " + second,
	}, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if connections[1] != connections[2] || connections[3] != connections[5] {
		t.Errorf("connections %v: answers do not use theirs again", connections)
	}
	if diff := cmp.Diff([]string{first}, status.Certificate.PreviousThumbprints); diff != "" || status.BootstrapThumbprint != second || status.Certificate.Thumbprint != second {
		t.Errorf("status %+v", status)
	}
}

func TestABootstrapDuringARenewalSaysNothingOfTheNewCertificate(t *testing.T) {
	ca := newIssuer(t, "Test")
	cloud := newFakeCloud(t, &tls.Config{Certificates: []tls.Certificate{ca.serverCertificate(cloudNames)}, MinVersion: tls.VersionTLS12})
	a, dir := built(t, cloud, ca.file())
	first := a.identity.Identity().Thumbprint
	a.bootstrapOnce(t)
	cloud.serve = func(w http.ResponseWriter, _ *http.Request) {
		writeIdentity(t, dir)
		if _, err := a.identity.Reload(); err != nil {
			t.Error(err)
		}
		answer, err := bootstrap.DefaultResponse().Marshal()
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(answer)
	}
	if s := a.bootstrapOnce(t); s.BootstrapThumbprint != first {
		t.Errorf("bootstrapThumbprint %s, want still %s: the connection was made before the renewal", s.BootstrapThumbprint, first)
	}
}

func TestTooManyFailedBootstrapsEndListening(t *testing.T) {
	ca := newIssuer(t, "Test")
	cloud := newFakeCloud(t, &tls.Config{Certificates: []tls.Certificate{ca.serverCertificate(cloudNames)}, MinVersion: tls.VersionTLS12})
	a, _ := built(t, cloud, ca.file())
	response := bootstrap.DefaultResponse()
	response.MaxFailedRequests = 3
	response.Endpoints = []bootstrap.Endpoint{{Available: true, Namespace: "ns", Domain: "servicebus.test", ServicePath: "p", SharedAccessKeyName: "Connector", SharedAccessKey: "k"}}
	listening := func() bool { return len(a.tracker.Status(time.Now()).Links) > 0 }
	eventually := func(want bool, what string) {
		t.Helper()
		deadline := time.After(time.Minute)
		for listening() != want {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-deadline:
				t.Fatal(what)
			}
		}
	}
	a.bootstrapped(&response, 0, nil)
	eventually(true, "it never listened")
	for n := 1; n <= 2; n++ {
		a.bootstrapped(nil, n, errors.New("no route"))
	}
	if s := a.tracker.Status(time.Now()); len(s.Links) == 0 || strings.Contains(s.Message, "in a row") {
		t.Errorf("it gave up too early: %+v", s)
	}
	a.bootstrapped(nil, 3, errors.New("no route"))
	eventually(false, "it goes on listening")
	a.tracker.ValidatorProven(time.Now())
	if s := a.tracker.Status(time.Now()); s.Reason != config.ReasonBootstrapFailing || !strings.Contains(s.Message, "3 bootstraps in a row") || !strings.Contains(s.Message, "no route") {
		t.Errorf("reason %s: %s", s.Reason, s.Message)
	}
	none := response
	none.Endpoints = nil
	a.bootstrapped(&response, 0, nil)
	eventually(true, "it does not listen again")
	a.bootstrapped(&none, 0, nil)
	if !listening() {
		t.Error("an answer without any endpoint ended the links")
	}
	unavailable := response
	unavailable.Endpoints = []bootstrap.Endpoint{{Available: false, Namespace: "ns", Domain: "servicebus.test", ServicePath: "p"}}
	a.bootstrapped(&unavailable, 0, nil)
	eventually(false, "it goes on listening where the service says it must not")
}
