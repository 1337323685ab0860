// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// bed is the system under test; it is set before any test runs.
var bed *testbed.Testbed

func TestMain(m *testing.M) {
	if os.Getenv("KUBECLUSTER_BIN") == "" {
		if os.Getenv("REQUIRE_CLUSTER") != "" {
			fmt.Fprintln(os.Stderr, "e2e: KUBECLUSTER_BIN is not set: run `make test`, which builds the control plane")
			os.Exit(1)
		}
		fmt.Fprintln(os.Stderr, "e2e: skipped: KUBECLUSTER_BIN is not set; `make test` builds the control plane and runs these tests")
		os.Exit(0)
	}
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (_ int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "passthrough-e2e-")
	if err != nil {
		return 0, err
	}
	progress := func(what string) { fmt.Fprintln(os.Stderr, "e2e:", what) }
	bed, err = testbed.Start(ctx, testbed.Options{Dir: dir, Progress: progress, Wine: haveWine(), ClusterArgs: []string{
		"--image", webhookImage + "=" + filepath.Join(dir, "bin", webhookProgram), // built by the test that needs it
	}})
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, bed.Stop())
		if err == nil && os.Getenv("KEEP") == "" {
			err = os.RemoveAll(dir)
		}
	}()
	if err := bed.InstallOperator(ctx); err != nil {
		return 0, err
	}
	code := m.Run()
	if code != 0 {
		return code, fmt.Errorf("tests failed; logs and state stay in %s", dir)
	}
	return code, nil
}

// resource is what the tests read of a PassthroughConnector.
type resource struct {
	Metadata struct {
		UID        string
		Generation int64
	}
	Spec   struct{ Replicas int }
	Status struct {
		Replicas, ReadyReplicas int
		Connectors              []struct{ Name, ConnectorID, Thumbprint, Message string }
		Conditions              []condition
	}
}

type condition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

// condition returns a condition that speaks of the current spec.
func (r *resource) condition(kind string) condition {
	for _, c := range r.Status.Conditions {
		if c.Type == kind && c.ObservedGeneration == r.Metadata.Generation {
			return c
		}
	}
	return condition{}
}

// scene is one namespace with one PassthroughConnector in it.
type scene struct {
	t         *testing.T
	ctx       context.Context
	namespace string
}

// newScene makes a namespace with CA bundles and, unless token is empty, a
// registration token, and removes all of it when the test ends.
func newScene(t *testing.T, namespace, token string) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	s := &scene{t: t, ctx: ctx, namespace: namespace}
	if err := bed.PrepareNamespace(ctx, namespace, token); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			s.describe()
		}
		s.kubectl("delete", "ptc", "--all", "--wait")
		s.eventually(2*time.Minute, "pods are gone", func() (bool, string) {
			pods := strings.TrimSpace(s.kubectl("get", "pods", "-o", "name"))
			return pods == "", pods
		})
	})
	return s
}

func goodToken(t *testing.T) string {
	t.Helper()
	return token(t, testbed.TokenRequest{})
}

func token(t *testing.T, req testbed.TokenRequest) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tok, err := bed.Tenant.Token(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// kubectl runs kubectl in the scene's namespace.
func (s *scene) kubectl(args ...string) string {
	s.t.Helper()
	out, err := bed.Kubectl(s.ctx, nil, append([]string{"-n", s.namespace}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// describe prints what a person would look at first.
func (s *scene) describe() {
	for _, args := range [][]string{{"describe", "ptc"}, {"get", "pods,secrets,configmaps,deployments", "-o", "wide"}, {"get", "events", "--sort-by=.lastTimestamp"}} {
		out, err := bed.Kubectl(s.ctx, nil, append([]string{"-n", s.namespace}, args...)...)
		s.t.Logf("kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
}

// apply applies the sample with changes to its spec.
func (s *scene) apply(changes ...func(spec map[string]any)) {
	s.t.Helper()
	sample, err := bed.Sample(s.namespace)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, change := range changes {
		change(sample["spec"].(map[string]any))
	}
	if err := bed.Apply(s.ctx, sample); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) resource() *resource {
	s.t.Helper()
	var r resource
	if err := json.Unmarshal([]byte(s.kubectl("get", "ptc", testbed.SampleName, "-o", "json")), &r); err != nil {
		s.t.Fatal(err)
	}
	return &r
}

// eventually waits for a condition; the check's text is what it saw last.
func (s *scene) eventually(within time.Duration, what string, check func() (bool, string)) {
	s.t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	var last string
	for {
		ok, saw := check()
		if ok {
			return
		}
		last = saw
		select {
		case <-deadline:
			s.t.Fatalf("after %s still not: %s; last seen: %s", within, what, last)
		case <-tick.C:
		}
	}
}

// ready waits until exactly n connectors are ready.
func (s *scene) ready(n int) *resource {
	s.t.Helper()
	var r *resource
	s.eventually(3*time.Minute, fmt.Sprintf("%d connectors are ready", n), func() (bool, string) {
		r = s.resource()
		c := r.condition("Ready")
		return c.Status == "True" && r.Status.ReadyReplicas == n && r.Status.Replicas == n, fmt.Sprintf("%+v", r.Status)
	})
	return r
}

// registered waits for the Registered condition to have a reason and returns
// its message.
func (s *scene) registered(reason string) string {
	s.t.Helper()
	var c condition
	s.eventually(90*time.Second, "Registered has the reason "+reason, func() (bool, string) {
		c = s.resource().condition("Registered")
		return c.Reason == reason, fmt.Sprintf("%+v", c)
	})
	return c.Message
}

func (s *scene) signIn(user, password string) testbed.SignIn {
	s.t.Helper()
	r, err := bed.Tenant.SignIn(s.ctx, user, password)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// registrations counts what the tenant has registered since it began.
func (s *scene) registrations() int {
	s.t.Helper()
	stats, err := bed.Tenant.Stats(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return stats.Registrations
}

func spec(keysAndValue ...any) func(map[string]any) {
	return func(m map[string]any) {
		value := keysAndValue[len(keysAndValue)-1]
		keys := keysAndValue[:len(keysAndValue)-1]
		for _, k := range keys[:len(keys)-1] {
			m = m[k.(string)].(map[string]any)
		}
		m[keys[len(keys)-1].(string)] = value
	}
}
