// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/probe"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/status"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/volume"
)

// admit says why a node of this operating system must reject the pod for good,
// if it must; with the kubelet's reasons.
func admit(pod *corev1.Pod, os string) *status.Rejection {
	if pod.Spec.OS != nil && string(pod.Spec.OS.Name) != os {
		return &status.Rejection{
			Reason:  "PodOSNotSupported",
			Message: "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS",
		}
	}
	if wanted, ok := pod.Spec.NodeSelector[corev1.LabelOSStable]; ok && wanted != os {
		return &status.Rejection{
			Reason:  "PodOSSelectorNodeLabelDoesNotMatch",
			Message: "Pod was rejected: Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
		}
	}
	return nil
}

// unsupported names the first thing in the pod that this node cannot do. Such
// a pod waits instead of failing: a failed pod would be replaced at once, and
// again, by whatever made it.
func unsupported(pod *corev1.Pod) string {
	for i := range pod.Spec.Volumes {
		if !volume.Supported(&pod.Spec.Volumes[i]) {
			return fmt.Sprintf("volume %q is of a kind that this node does not provide; it has secret, configMap, downwardAPI, projected and emptyDir", pod.Spec.Volumes[i].Name)
		}
	}
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil {
			return fmt.Sprintf("init container %q has a restart policy of its own, which this node does not support", container.Name)
		}
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if reason := unsupportedContainer(&container); reason != "" {
			return fmt.Sprintf("container %q has %s, which this node does not support", container.Name, reason)
		}
	}
	return ""
}

func unsupportedContainer(container *corev1.Container) string {
	for _, p := range []*corev1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
		if !probe.Supported(p) {
			return "a probe that is neither httpGet nor tcpSocket"
		}
	}
	if container.Lifecycle != nil && (container.Lifecycle.PreStop != nil || container.Lifecycle.PostStart != nil) {
		return "a lifecycle hook"
	}
	if len(container.VolumeDevices) > 0 {
		return "a volume device"
	}
	for _, mount := range container.VolumeMounts {
		if mount.SubPathExpr != "" {
			return "a subPathExpr"
		}
	}
	return ""
}
