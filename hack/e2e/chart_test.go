// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// helm runs Helm on the operator's release.
func (s *scene) helm(args ...string) string {
	s.t.Helper()
	out, err := bed.Helm(s.ctx, append(args, "--namespace", testbed.OperatorNamespace)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// cluster runs kubectl outside the scene's namespace.
func (s *scene) cluster(args ...string) string {
	s.t.Helper()
	out, err := bed.Kubectl(s.ctx, nil, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func lines(text string) []string {
	all := strings.Fields(text)
	slices.Sort(all)
	return all
}

// TestTheChartsLife tests the release that all other tests use, upgrades it,
// uninstalls it and installs it again, under connectors that serve all the time.
func TestTheChartsLife(t *testing.T) {
	s := newScene(t, "chart", goodToken(t))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := bed.InstallOperator(ctx); err != nil {
			t.Errorf("leaving the operator as the other tests expect it: %v", err)
		}
	})
	before := s.registrations()
	s.apply()
	s.ready(2)
	pods := lines(s.kubectl("get", "pods", "-o", "name"))
	serves := func(when string) {
		t.Helper()
		s.allAnswer(2)
		if got := lines(s.kubectl("get", "pods", "-o", "name")); !slices.Equal(got, pods) {
			t.Errorf("%s, the pods are %v; they were %v", when, got, pods)
		}
		if got := s.registrations() - before; got != 2 {
			t.Errorf("%s, %d connectors have been registered, want 2", when, got)
		}
	}

	s.helmTest()

	// An upgrade: two operators that log more, and a policy.
	if err := bed.InstallOperator(s.ctx, "--set", "replicas=2,logLevel=1,networkPolicy.enabled=true"); err != nil {
		t.Fatal(err)
	}
	s.helmTest()
	if got := s.cluster("-n", testbed.OperatorNamespace, "get", "deployment", testbed.Release, "-o", "jsonpath={.status.readyReplicas}"); got != "2" {
		t.Errorf("%s operators are ready after the upgrade, want 2", got)
	}
	serves("after the upgrade")

	uninstalled := s.helm("uninstall", testbed.Release, "--wait")
	if !strings.Contains(uninstalled, "passthroughconnectors.identity.passthrough.dev") {
		t.Errorf("uninstalling does not say that the CRD is kept: %s", uninstalled)
	}
	s.eventually(time.Minute, "nothing of the operator is left but its namespace and lease", func() (bool, string) {
		left := s.cluster("-n", testbed.OperatorNamespace, "get", "deployments,pods,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets,networkpolicies", "-l", "app.kubernetes.io/instance="+testbed.Release, "-o", "name") +
			s.cluster("get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/instance="+testbed.Release, "-o", "name")
		return strings.TrimSpace(left) == "", left
	})
	// What stays is what docs/install.md says: the CRD, the resources, and
	// connectors that go on without the operator.
	if n := s.resource().Status.ReadyReplicas; n != 2 {
		t.Errorf("without an operator, status says %d", n)
	}
	serves("without an operator")
	s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=3")

	if err := bed.InstallOperator(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.helmTest()
	s.ready(3)
	for _, pod := range pods {
		if !strings.Contains(s.kubectl("get", "pods", "-o", "name"), pod) {
			t.Errorf("the new operator replaced %s", pod)
		}
	}
	if got := s.registrations() - before; got != 3 {
		t.Errorf("after installing again, %d connectors have been registered, want 3", got)
	}
}

// helmTest runs `helm test` and looks at what its pod printed.
func (s *scene) helmTest() {
	s.t.Helper()
	out := s.helm("test", testbed.Release, "--logs", "--timeout", "3m")
	if strings.Count(out, "\nok ")+strings.Count(out, "ok      ") < 4 || strings.Contains(out, "FAILED") {
		s.t.Errorf("helm test printed\n%s", out)
	}
}

// TestTheChartInNamespaces installs a second operator that may work in one
// namespace only, with Roles, while the first one is away.
func TestTheChartInNamespaces(t *testing.T) {
	inside, outside := newScene(t, "watched", goodToken(t)), newScene(t, "unwatched", goodToken(t))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := bed.InstallOperator(ctx); err != nil {
			t.Errorf("leaving the operator as the other tests expect it: %v", err)
		}
	})
	if err := bed.InstallOperator(inside.ctx, "--set", "watchNamespaces={watched}"); err != nil {
		t.Fatal(err)
	}
	outside.apply(spec("replicas", 1))
	inside.apply(spec("replicas", 1))
	inside.ready(1)
	if r := outside.resource(); len(r.Status.Conditions) != 0 {
		t.Errorf("a resource of another namespace was worked on: %+v", r.Status)
	}
	account := "system:serviceaccount:" + testbed.OperatorNamespace + ":" + testbed.Release
	for namespace, want := range map[string]string{"watched": "yes", "unwatched": "no"} {
		got, _ := bed.Kubectl(inside.ctx, nil, "auth", "can-i", "list", "secrets", "--namespace", namespace, "--as", account)
		if strings.TrimSpace(got) != want {
			t.Errorf("whether the operator may list Secrets in the namespace %s: %q, want %q", namespace, got, want)
		}
	}
}

// TestAHorizontalPodAutoscalerScalesConnectors lets the real controller work on
// the sample's HorizontalPodAutoscaler: it reads the scale subresource, finds the
// pods by its selector, and raises the replicas. The numbers come from a kind that
// stands in for metrics-server, at the same place in the API.
func TestAHorizontalPodAutoscalerScalesConnectors(t *testing.T) {
	s := newScene(t, "autoscaling", goodToken(t))
	if err := bed.Apply(s.ctx, podMetricsKind); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := bed.Kubectl(ctx, nil, "delete", "crd", "pods.metrics.k8s.io"); err != nil {
			t.Error(err)
		}
	})
	s.cluster("wait", "--for=condition=Established", "--timeout=60s", "crd/pods.metrics.k8s.io")
	s.apply()
	s.ready(2)
	autoscaler, err := bed.Manifest("config/samples/autoscaling/horizontalpodautoscaler.yaml", s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.Apply(s.ctx, autoscaler); err != nil {
		t.Fatal(err)
	}
	s.eventually(3*time.Minute, "the autoscaler asks for 4 replicas", func() (bool, string) {
		// 500m where 250m are wanted: twice as many connectors.
		s.reportUsage("500m")
		status := s.kubectl("get", "hpa", testbed.SampleName, "-o", "jsonpath={.status}")
		var got struct {
			DesiredReplicas int
			Conditions      []struct{ Type, Status, Reason string }
		}
		if err := json.Unmarshal([]byte(status), &got); err != nil {
			return false, status
		}
		for _, c := range got.Conditions {
			if (c.Type == "ScalingActive" || c.Type == "AbleToScale") && c.Status != "True" {
				return false, status
			}
		}
		return got.DesiredReplicas == 4, status
	})
	s.eventually(3*time.Minute, "4 connectors are ready", func() (bool, string) {
		s.reportUsage("250m")
		r := s.resource()
		return r.Spec.Replicas == 4 && r.Status.ReadyReplicas == 4, s.kubectl("get", "ptc,hpa")
	})
	s.allAnswer(4)
	// Before the resource goes: the autoscaler would complain of its target.
	s.kubectl("delete", "hpa", testbed.SampleName)
}

// podMetricsKind serves what metrics-server serves.
var podMetricsKind = map[string]any{
	"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
	"metadata": map[string]any{
		"name":        "pods.metrics.k8s.io",
		"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, a stand-in for metrics-server in tests"},
	},
	"spec": map[string]any{
		"group": "metrics.k8s.io", "scope": "Namespaced",
		"names": map[string]any{"plural": "pods", "kind": "PodMetrics", "listKind": "PodMetricsList"},
		"versions": []any{map[string]any{
			"name": "v1beta1", "served": true, "storage": true,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
		}},
	},
}

// reportUsage says of every pod of the scene that it used so much processor time in
// the last second.
func (s *scene) reportUsage(cpu string) {
	s.t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name   string
				Labels map[string]string
			}
			Spec struct{ Containers []struct{ Name string } }
		}
	}
	if err := json.Unmarshal([]byte(s.kubectl("get", "pods", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	var reports []any
	for _, pod := range list.Items {
		var containers []any
		for _, c := range pod.Spec.Containers {
			containers = append(containers, map[string]any{"name": c.Name, "usage": map[string]any{"cpu": cpu, "memory": "20Mi"}})
		}
		reports = append(reports, map[string]any{
			"apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
			"metadata":  map[string]any{"namespace": s.namespace, "name": pod.Metadata.Name, "labels": pod.Metadata.Labels},
			"timestamp": time.Now().UTC().Format(time.RFC3339), "window": "1s", "containers": containers,
		})
	}
	if err := bed.Apply(s.ctx, reports...); err != nil {
		s.t.Fatal(err)
	}
}
