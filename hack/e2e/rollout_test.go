// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// traffic signs alice in without a pause, from several clients, until it is
// stopped, and keeps what went wrong.
type traffic struct {
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex // protects what follows
	signIns  int
	failures []string
}

func (s *scene) startTraffic(clients int) *traffic {
	ctx, cancel := context.WithCancel(s.ctx)
	tr := &traffic{stop: cancel}
	for range clients {
		tr.wg.Go(func() {
			for ctx.Err() == nil {
				r, err := bed.Tenant.SignIn(ctx, "alice@contoso.example", userPassword)
				if ctx.Err() != nil {
					return // the sign-in was given up, not refused
				}
				tr.mu.Lock()
				tr.signIns++
				if err != nil || r.Verdict != "success" {
					tr.failures = append(tr.failures, fmt.Sprintf("%s: %+v %v", time.Now().Format(time.TimeOnly), r, err))
				}
				tr.mu.Unlock()
			}
		})
	}
	s.t.Cleanup(tr.end)
	return tr
}

// end ends the traffic; it may be called again.
func (tr *traffic) end() {
	tr.stop()
	tr.wg.Wait()
}

// soFar is how many sign-ins were made, and those that failed.
func (tr *traffic) soFar() (signIns int, failures []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.signIns, append([]string(nil), tr.failures...)
}

// TestNoSignInFailsWhileConnectorsComeAndGo replaces, adds and removes connectors
// and restarts the operator while users sign in, and asks the tenant how each of
// them fared.
func TestNoSignInFailsWhileConnectorsComeAndGo(t *testing.T) {
	s := newScene(t, "rollout", goodToken(t))
	s.apply(spec("replicas", 3), quickly)
	s.ready(3)
	s.allAnswer(3)
	tr := s.startTraffic(4)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"a rolling update", func() {
			s.kubectl("patch", "ptc/"+testbed.SampleName, "--type=merge", "-p", `{"spec":{"validation":{"timeoutSeconds":7}}}`)
			s.rolledOut(3)
		}},
		{"more connectors", func() { s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=4"); s.ready(4) }},
		{"fewer connectors", func() { s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=2"); s.ready(2); s.pods(2) }},
		{"a restart of the operator", func() {
			s.operatorRestarts()
			s.kubectl("patch", "ptc/"+testbed.SampleName, "--type=merge", "-p", `{"spec":{"validation":{"timeoutSeconds":8}}}`)
			s.rolledOut(2)
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			before, _ := tr.soFar()
			step.do()
			after, failures := tr.soFar()
			if len(failures) > 0 {
				t.Fatalf("%d of %d sign-ins failed:\n%s", len(failures), after, strings.Join(failures, "\n"))
			}
			if after == before {
				t.Error("nobody signed in meanwhile: the test shows nothing")
			}
			t.Logf("%d sign-ins, none failed", after-before)
		})
	}
	tr.end()
}

// quickly lets rollouts go on as soon as a connector is ready.
func quickly(spec map[string]any) {
	spec["rollout"] = map[string]any{"minReadySeconds": 1, "progressDeadlineSeconds": 60}
}

// rolledOut waits until n connectors run what is specified.
func (s *scene) rolledOut(n int) {
	s.t.Helper()
	s.eventually(5*time.Minute, "the specification is rolled out", func() (bool, string) {
		c := s.resource().condition("RolledOut")
		return c.Status == "True", fmt.Sprintf("%+v", c)
	})
	s.ready(n)
}

// pods waits until exactly n pods are left.
func (s *scene) pods(n int) {
	s.t.Helper()
	s.eventually(2*time.Minute, fmt.Sprintf("%d pods", n), func() (bool, string) {
		pods := strings.Fields(s.kubectl("get", "pods", "-o", "name"))
		return len(pods) == n, strings.Join(pods, " ")
	})
}

// operatorRestarts replaces the operator's pod and waits for the new one.
func (s *scene) operatorRestarts() {
	s.t.Helper()
	for _, args := range [][]string{
		{"rollout", "restart", "deployment/passthrough-connector-operator"},
		{"rollout", "status", "deployment/passthrough-connector-operator", "--timeout=3m"},
	} {
		if _, err := bed.Kubectl(s.ctx, nil, append([]string{"-n", testbed.OperatorNamespace}, args...)...); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestABadImageHaltsAtOneConnector(t *testing.T) {
	s := newScene(t, "badimage", goodToken(t))
	s.apply(spec("replicas", 3), quickly)
	s.ready(3)
	s.rolledOut(3)
	s.kubectl("patch", "ptc/"+testbed.SampleName, "--type=merge", "-p", `{"spec":{"rollout":{"progressDeadlineSeconds":15},"pod":{"image":"registry.example/no-such-connector:1"}}}`)
	s.eventually(3*time.Minute, "the rollout has halted because of the image", func() (bool, string) {
		c := s.resource().condition("RolledOut")
		return c.Reason == "RolloutHalted" && strings.Contains(c.Message, "registry.example/no-such-connector:1"), fmt.Sprintf("%+v", c)
	})
	var list struct {
		Items []struct {
			Spec struct{ Containers []struct{ Image string } }
		}
	}
	if err := json.Unmarshal([]byte(s.kubectl("get", "pods", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, pod := range list.Items {
		if pod.Spec.Containers[0].Image == "registry.example/no-such-connector:1" {
			bad++
		}
	}
	if bad != 1 {
		t.Errorf("%d pods run the bad image, want 1", bad)
	}
	if r := s.resource(); r.Status.ReadyReplicas != 2 {
		t.Errorf("%d connectors are ready, want 2", r.Status.ReadyReplicas)
	}
	if r := s.signIn("alice@contoso.example", userPassword); r.Verdict != "success" {
		t.Errorf("alice was refused: %+v", r)
	}
	s.kubectl("patch", "ptc/"+testbed.SampleName, "--type=json", "-p", `[{"op":"remove","path":"/spec/pod/image"}]`)
	s.rolledOut(3)
}
