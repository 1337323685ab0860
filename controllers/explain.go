// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

// explain says why a connector that is not ready is not, and what to do about it
// if there is something to do. It looks from the first thing that can go wrong to
// the last.
func explain(in *instance, done outcome) string {
	switch {
	case in.identityProblem != nil:
		return in.identityProblem.Error()
	case identityOf(in, done) == nil:
		return "it is not registered yet"
	case in.deployment == nil:
		return "its Deployment has not been made yet"
	case in.pod == nil:
		return withoutPod(in.deployment)
	case in.pod.DeletionTimestamp != nil:
		return "its pod is being replaced"
	}
	if why := podTrouble(in.pod); why != "" {
		return why
	}
	switch {
	case in.report != nil:
		return told(in.report)
	case in.reportProblem != nil:
		return "it is starting: " + in.reportProblem.Error()
	default:
		return "it is starting"
	}
}

// withoutPod says why a Deployment has no pod: usually the API server refused it.
func withoutPod(d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return "its pod cannot be made: " + c.Message
		}
	}
	return "its pod has not been made yet"
}

// podTrouble says what keeps a pod's container from running; "" if it runs.
func podTrouble(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "its pod cannot be scheduled: " + c.Message
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return fmt.Sprintf("its pod failed: %s %s", pod.Status.Reason, pod.Status.Message)
	}
	for i := range pod.Status.ContainerStatuses {
		if why := containerTrouble(&pod.Status.ContainerStatuses[i]); why != "" {
			return why
		}
	}
	if pod.Status.Phase == corev1.PodPending {
		return "its pod is being started"
	}
	return ""
}

// containerTrouble leaves out what changes from one moment to the next, such as
// the length of a pause: status is not a clock.
func containerTrouble(c *corev1.ContainerStatus) string {
	switch {
	case c.State.Waiting != nil:
		switch reason := c.State.Waiting.Reason; reason {
		case "", "ContainerCreating", "PodInitializing":
			return ""
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable":
			if reason == "ErrImagePull" { // what it alternates with
				reason = "ImagePullBackOff"
			}
			return fmt.Sprintf("its image %s cannot be pulled (%s): check spec.pod.image and imagePullSecrets; kubectl describe pod says more", c.Image, reason)
		case "CrashLoopBackOff":
			return "it keeps ending (CrashLoopBackOff)" + exitCode(c.LastTerminationState.Terminated)
		default:
			return fmt.Sprintf("its container waits: %s: %s", reason, c.State.Waiting.Message)
		}
	case c.State.Terminated != nil:
		return "it ended" + exitCode(c.State.Terminated)
	default:
		return ""
	}
}

// exitCode explains how a connector ended. The codes are those of the connector's
// command line.
func exitCode(t *corev1.ContainerStateTerminated) string {
	if t == nil {
		return "; kubectl logs says more"
	}
	meaning := ""
	if t.ExitCode == 2 {
		meaning = " (its configuration is refused)"
	}
	said := ""
	if lines := strings.Split(strings.TrimSpace(t.Message), "\n"); lines[len(lines)-1] != "" {
		said = "; its last words: " + lines[len(lines)-1]
	}
	return fmt.Sprintf(" with exit code %d%s%s; kubectl logs says more", t.ExitCode, meaning, said)
}

// told is what a connector tells about itself.
func told(report *config.Status) string {
	switch {
	case report.Ready:
		return "it is becoming ready"
	case report.Message != "" && report.Reason != "":
		return report.Reason + ": " + report.Message
	case report.Message != "":
		return report.Message
	case report.Reason != "":
		return "it reports " + report.Reason
	default:
		return "it is starting"
	}
}
