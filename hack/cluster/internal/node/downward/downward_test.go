// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package downward

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func testPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "corp-0", Namespace: "passthrough", UID: "abc",
			Labels: map[string]string{"b": "2", "a": "1"}, Annotations: map[string]string{"note.test/x": "line\n\"q\""},
		},
		Spec: corev1.PodSpec{NodeName: "windows-0", ServiceAccountName: "connector", Containers: []corev1.Container{{
			Name: "connector",
			Resources: corev1.ResourceRequirements{
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("100Mi")},
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")},
			},
		}}},
	}
}

var testFacts = Facts{PodIP: "127.9.1.4", HostIP: "127.9.1.1", Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}}

func TestField(t *testing.T) {
	tests := map[string]string{
		"metadata.name":                       "corp-0",
		"metadata.namespace":                  "passthrough",
		"metadata.uid":                        "abc",
		"metadata.labels['a']":                "1",
		"metadata.labels['absent']":           "",
		"metadata.annotations['note.test/x']": "line\n\"q\"",
		"metadata.labels":                     "a=\"1\"\nb=\"2\"",
		"metadata.annotations":                `note.test/x="line\n\"q\""`,
		"spec.nodeName":                       "windows-0",
		"spec.serviceAccountName":             "connector",
		"status.podIP":                        "127.9.1.4",
		"status.podIPs":                       "127.9.1.4",
		"status.hostIP":                       "127.9.1.1",
	}
	for path, want := range tests {
		t.Run(path, func(t *testing.T) {
			got, err := Field(testPod(), testFacts, path)
			if err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
	for _, path := range []string{"spec.containers", "metadata.finalizers['x']"} {
		if _, err := Field(testPod(), testFacts, path); err == nil {
			t.Errorf("no error for %s", path)
		}
	}
}

func TestResource(t *testing.T) {
	tests := map[string]struct {
		resource, divisor, want string
	}{
		"bytes by default":                   {resource: "limits.memory", want: "104857600"},
		"rounded up by the divisor":          {resource: "limits.memory", divisor: "64Mi", want: "2"},
		"processors are rounded up":          {resource: "requests.cpu", want: "1"},
		"thousandths of processors":          {resource: "requests.cpu", divisor: "1m", want: "250"},
		"the node's own for an absent limit": {resource: "limits.cpu", want: "2"},
		"nothing for an absent request":      {resource: "requests.memory", want: "0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			selector := &corev1.ResourceFieldSelector{Resource: test.resource}
			if test.divisor != "" {
				selector.Divisor = resource.MustParse(test.divisor)
			}
			got, err := Resource(testPod(), "connector", testFacts, selector)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
	if _, err := Resource(testPod(), "other", testFacts, &corev1.ResourceFieldSelector{Resource: "limits.cpu"}); err == nil {
		t.Error("no error for a container the pod does not have")
	}
}
