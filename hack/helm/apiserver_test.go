// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"context"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// apiServer starts a real API server.
func apiServer(t *testing.T) *rest.Config {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		if os.Getenv("REQUIRE_CLUSTER") != "" {
			t.Fatal("KUBEBUILDER_ASSETS is not set: run `make test`, which builds the control plane")
		}
		t.Skip("KUBEBUILDER_ASSETS is not set; `make test` builds an API server and runs this test")
	}
	environment := &envtest.Environment{}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	return config
}

// TestTheAPIServerTakesEveryObject creates all objects of all golden renders, and
// the pods that would come of them, as a strict dry run: a field that there is not
// is an error, as is a pod that does not meet the restricted Pod Security standard.
func TestTheAPIServerTakesEveryObject(t *testing.T) {
	c, err := client.New(apiServer(t), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{releaseNamespace, "sales", "research"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
		if err := c.Create(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	renders := map[string]string{"with the CRD": ""}
	maps.Copy(renders, goldens)
	for name, values := range renders {
		t.Run(name, func(t *testing.T) {
			count := 0
			for _, o := range objects(t, mustRender(t, values)) {
				for _, o := range append(pods(t, o), o) {
					if o.GetKind() == "ServiceMonitor" {
						continue // its CRD is not here: see TestServiceMonitor
					}
					count++
					if err := try(t, c, o); err != nil {
						t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
					}
				}
			}
			if count < 9 {
				t.Errorf("only %d objects were tried", count)
			}
		})
	}
}

// pods are the pods that a Deployment makes.
func pods(t *testing.T, o *unstructured.Unstructured) []*unstructured.Unstructured {
	t.Helper()
	if o.GetKind() != "Deployment" {
		return nil
	}
	template, _, err := unstructured.NestedMap(o.Object, "spec", "template")
	if err != nil {
		t.Fatal(err)
	}
	pod := &unstructured.Unstructured{Object: template}
	pod.SetAPIVersion("v1")
	pod.SetKind("Pod")
	pod.SetNamespace(o.GetNamespace())
	pod.SetName(o.GetName())
	return []*unstructured.Unstructured{pod}
}

// try creates an object as a dry run. An API server that has just started takes a
// moment to know the built-in priority classes.
func try(t *testing.T, c client.Client, o *unstructured.Unstructured) error {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = c.Create(ctx, o.DeepCopy(), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
		return last == nil || !strings.Contains(last.Error(), "no PriorityClass"), nil
	})
	if last == nil {
		return err
	}
	return last
}

// TestServiceMonitor reads the ServiceMonitor with the Prometheus Operator's own
// types, strictly. Whether it finds the Service is checked by its labels.
func TestServiceMonitor(t *testing.T) {
	all := objects(t, mustRender(t, everythingValues))
	var monitor, service *unstructured.Unstructured
	for _, o := range all {
		switch o.GetKind() {
		case "ServiceMonitor":
			monitor = o
		case "Service":
			service = o
		}
	}
	data, err := yaml.Marshal(monitor.Object)
	if err != nil {
		t.Fatal(err)
	}
	var typed monitoringv1.ServiceMonitor
	if err := yaml.UnmarshalStrict(data, &typed); err != nil {
		t.Fatal(err)
	}
	for label, value := range typed.Spec.Selector.MatchLabels {
		if service.GetLabels()[label] != value {
			t.Errorf("the ServiceMonitor selects %s=%s; the Service has %q", label, value, service.GetLabels()[label])
		}
	}
	ports, _, err := unstructured.NestedSlice(service.Object, "spec", "ports")
	if err != nil {
		t.Fatal(err)
	}
	if got := ports[0].(map[string]any)["name"]; got != typed.Spec.Endpoints[0].Port {
		t.Errorf("the ServiceMonitor scrapes the port %q; the Service's is %q", typed.Spec.Endpoints[0].Port, got)
	}
}
