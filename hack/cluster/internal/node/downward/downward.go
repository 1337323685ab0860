// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package downward answers what a pod may ask about itself: the downward API's
// field references and resource references, for environment variables and
// files alike. Everything here is pure.
package downward

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Facts are what a pod cannot know from its own object.
type Facts struct {
	// PodIP and HostIP are the addresses of the pod and of its node.
	PodIP, HostIP string
	// Allocatable stands in for limits that a container does not set.
	Allocatable corev1.ResourceList
}

// Field returns the value of a field path such as metadata.labels['app'].
func Field(pod *corev1.Pod, facts Facts, path string) (string, error) {
	if name, key, ok := subscript(path); ok {
		switch name {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
		return "", fmt.Errorf("the downward API has no field %q", path)
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return lines(pod.Labels), nil
	case "metadata.annotations":
		return lines(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return facts.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return facts.HostIP, nil
	}
	return "", fmt.Errorf("the downward API has no field %q", path)
}

// Resource returns a container's request or limit divided by the selector's
// divisor and rounded up.
func Resource(pod *corev1.Pod, container string, facts Facts, selector *corev1.ResourceFieldSelector) (string, error) {
	if selector.ContainerName != "" {
		container = selector.ContainerName
	}
	resources, ok := resourcesOf(pod, container)
	if !ok {
		return "", fmt.Errorf("the pod has no container %q to take %s from", container, selector.Resource)
	}
	kind, name, _ := strings.Cut(selector.Resource, ".")
	resourceName := corev1.ResourceName(name)
	var quantity resource.Quantity
	switch kind {
	case "limits":
		var limited bool
		if quantity, limited = resources.Limits[resourceName]; !limited {
			quantity = facts.Allocatable[resourceName]
		}
	case "requests":
		quantity = resources.Requests[resourceName]
	default:
		return "", fmt.Errorf("the downward API has no resource %q", selector.Resource)
	}
	return divide(quantity, selector.Divisor, resourceName), nil
}

func resourcesOf(pod *corev1.Pod, container string) (corev1.ResourceRequirements, bool) {
	for _, candidate := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if candidate.Name == container {
			return candidate.Resources, true
		}
	}
	return corev1.ResourceRequirements{}, false
}

// divide counts processors in thousandths, so that a divisor of 1m works.
func divide(quantity, divisor resource.Quantity, name corev1.ResourceName) string {
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	value, by := quantity.Value(), divisor.Value()
	if name == corev1.ResourceCPU {
		value, by = quantity.MilliValue(), divisor.MilliValue()
	}
	return strconv.FormatInt((value+by-1)/by, 10)
}

// subscript splits metadata.labels['app'] in name and key.
func subscript(path string) (name, key string, ok bool) {
	name, rest, ok := strings.Cut(path, "['")
	if !ok {
		return "", "", false
	}
	key, ok = strings.CutSuffix(rest, "']")
	return name, key, ok
}

// lines renders a map as the kubelet does in downward API files.
func lines(values map[string]string) string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var text strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&text, "%s=%q\n", key, values[key])
	}
	return strings.TrimSuffix(text.String(), "\n")
}
