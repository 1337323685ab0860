// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// killedExitCode is that of a process that got SIGKILL.
const killedExitCode = 137

// Resume returns what a node that has just started knows about a pod that was
// bound to it before: every process died with the previous node. A container
// that ran counts as killed, so it is restarted if the pod's policy allows;
// one that had ended for good stays as it was. Init containers run again, as
// they do under a kubelet whose machine was restarted.
func Resume(pod *corev1.Pod, now metav1.Time) (init, app []Container) {
	for i := range pod.Spec.InitContainers {
		container := fresh(&pod.Spec.InitContainers[i])
		if old := statusOf(pod.Status.InitContainerStatuses, container.Name); old != nil {
			container.ID, container.RestartCount = old.ContainerID, old.RestartCount
		}
		init = append(init, container)
	}
	for i := range pod.Spec.Containers {
		container := fresh(&pod.Spec.Containers[i])
		if old := statusOf(pod.Status.ContainerStatuses, container.Name); old != nil {
			container = resumed(container, old, now)
		}
		app = append(app, container)
	}
	return init, app
}

// Waiting is the state of a container that is not running for a reason.
func Waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func fresh(spec *corev1.Container) Container {
	return Container{Name: spec.Name, Image: spec.Image, State: Waiting("ContainerCreating", "")}
}

func resumed(container Container, old *corev1.ContainerStatus, now metav1.Time) Container {
	container.ID, container.RestartCount, container.Last = old.ContainerID, old.RestartCount, old.LastTerminationState.Terminated
	switch {
	case old.State.Running != nil:
		container.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: killedExitCode, Signal: 9, Reason: "Error", Message: "The node that ran the container was stopped.",
			StartedAt: old.State.Running.StartedAt, FinishedAt: now, ContainerID: old.ContainerID,
		}}
	case old.State.Terminated != nil:
		container.State = old.State
	}
	return container
}

func statusOf(statuses []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range statuses {
		if statuses[i].Name == name {
			return &statuses[i]
		}
	}
	return nil
}
