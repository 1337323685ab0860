// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status computes a pod's status from what is observed about its
// containers. Everything here is pure: the same observation gives the same
// status, times included, except for conditions that change now.
package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Container is what is observed about one container.
type Container struct {
	Name  string
	Image string
	// ID changes with every start of the container.
	ID string
	// State has exactly one of its fields set.
	State corev1.ContainerState
	// Last is the previous end of the container, if it was restarted.
	Last         *corev1.ContainerStateTerminated
	RestartCount int32
	// Started says that the startup probe, if any, has passed. Ready says the
	// same of the readiness probe; for init containers, that they are done.
	Started, Ready bool
}

// Rejection says why the node refuses to run the pod.
type Rejection struct{ Reason, Message string }

// Observation is what is known about a pod now.
type Observation struct {
	// Pod is the pod's object. Of its status only what others have set is
	// looked at.
	Pod *corev1.Pod
	// Previous is the status computed last, for times of transition.
	Previous corev1.PodStatus
	// Init and App are in the order of the specification.
	Init, App []Container
	// PodIP is empty until the pod has an address.
	PodIP, HostIP string
	// Rejected is set when the node will never run the pod.
	Rejected *Rejection
	// Over says that no container will be started again.
	Over bool
	Now  metav1.Time
}

// Reasons of conditions, as the kubelet gives them.
const (
	reasonNotReady        = "ContainersNotReady"
	reasonNotInitialized  = "ContainersNotInitialized"
	reasonPodCompleted    = "PodCompleted"
	reasonPodFailed       = "PodFailed"
	reasonReadinessGate   = "ReadinessGatesNotReady"
	messageUnready        = "containers with unready status: [%s]"
	messageIncomplete     = "containers with incomplete status: [%s]"
	messageReadinessGates = "corresponding condition of pod readiness gate %q does not exist or is not True"
)

// Compute returns the whole status.
func Compute(o Observation) corev1.PodStatus {
	computed := corev1.PodStatus{
		ObservedGeneration: o.Pod.Generation,
		HostIP:             o.HostIP,
		HostIPs:            []corev1.HostIP{{IP: o.HostIP}},
		QOSClass:           o.Pod.Status.QOSClass,
		StartTime:          o.Previous.StartTime,
	}
	if computed.StartTime == nil {
		computed.StartTime = o.Now.DeepCopy()
	}
	if o.Rejected != nil {
		computed.Phase, computed.Reason, computed.Message = corev1.PodFailed, o.Rejected.Reason, o.Rejected.Message
		computed.Conditions = o.Previous.Conditions
		return computed
	}
	if o.PodIP != "" {
		computed.PodIP, computed.PodIPs = o.PodIP, []corev1.PodIP{{IP: o.PodIP}}
	}
	computed.Phase = phase(o)
	computed.InitContainerStatuses = containerStatuses(o.Init)
	computed.ContainerStatuses = containerStatuses(o.App)
	computed.Conditions = conditions(o, computed.Phase)
	return computed
}

// Initialized says whether every init container has succeeded.
func (o Observation) Initialized() bool {
	return !slices.ContainsFunc(o.Init, func(c Container) bool { return !succeeded(c) })
}

func phase(o Observation) corev1.PodPhase {
	if slices.ContainsFunc(o.Init, func(c Container) bool { return o.Over && !succeeded(c) }) {
		return corev1.PodFailed
	}
	if !o.Initialized() {
		return corev1.PodPending
	}
	var waiting, failed int
	for _, container := range o.App {
		switch {
		case container.State.Running != nil:
		case lastEnd(container) != nil && lastEnd(container).ExitCode != 0:
			failed++
		case lastEnd(container) == nil:
			waiting++
		}
	}
	switch {
	case o.Over && failed+waiting > 0:
		return corev1.PodFailed
	case o.Over:
		return corev1.PodSucceeded
	case waiting > 0:
		return corev1.PodPending
	default:
		return corev1.PodRunning
	}
}

// lastEnd is how a container that is not running ended last, if it ever ran.
func lastEnd(container Container) *corev1.ContainerStateTerminated {
	if container.State.Terminated != nil {
		return container.State.Terminated
	}
	return container.Last
}

func succeeded(container Container) bool {
	return container.State.Terminated != nil && container.State.Terminated.ExitCode == 0
}

func containerStatuses(containers []Container) []corev1.ContainerStatus {
	var statuses []corev1.ContainerStatus
	for _, container := range containers {
		started, running := container.Started, container.State.Running != nil
		status := corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, State: container.State,
			RestartCount: container.RestartCount, Ready: container.Ready, ContainerID: container.ID,
		}
		if container.ID != "" {
			status.ImageID = container.Image
		}
		if container.Last != nil {
			status.LastTerminationState.Terminated = container.Last
		}
		started = started && running
		status.Started = &started
		statuses = append(statuses, status)
	}
	return statuses
}

// conditions replaces the conditions the node owns and keeps those of others.
func conditions(o Observation, podPhase corev1.PodPhase) []corev1.PodCondition {
	containersReady := containersReadyCondition(o, podPhase)
	owned := []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: boolean(o.PodIP != "")},
		initializedCondition(o, podPhase),
		readyCondition(o, containersReady),
		containersReady,
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
	}
	for i := range owned {
		owned[i].ObservedGeneration = o.Pod.Generation
		owned[i].LastTransitionTime = o.Now
		if old := find(o.Previous.Conditions, owned[i].Type); old != nil && old.Status == owned[i].Status {
			owned[i].LastTransitionTime = old.LastTransitionTime
		}
	}
	return append(owned, Foreign(o.Pod.Status.Conditions)...)
}

// Foreign returns the conditions that are not the node's to set.
func Foreign(conditions []corev1.PodCondition) []corev1.PodCondition {
	var foreign []corev1.PodCondition
	for _, condition := range conditions {
		switch condition.Type {
		case corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled:
		default:
			foreign = append(foreign, condition)
		}
	}
	return foreign
}

func initializedCondition(o Observation, podPhase corev1.PodPhase) corev1.PodCondition {
	condition := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if podPhase == corev1.PodSucceeded {
		condition.Reason = reasonPodCompleted
	}
	if !o.Initialized() {
		condition.Status, condition.Reason = corev1.ConditionFalse, reasonNotInitialized
		condition.Message = fmt.Sprintf(messageIncomplete, names(o.Init, func(c Container) bool { return !succeeded(c) }))
	}
	return condition
}

func containersReadyCondition(o Observation, podPhase corev1.PodPhase) corev1.PodCondition {
	condition := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	unready := names(o.App, func(c Container) bool { return !c.Ready })
	switch {
	case podPhase == corev1.PodSucceeded:
		condition.Reason = reasonPodCompleted
	case podPhase == corev1.PodFailed:
		condition.Reason = reasonPodFailed
	case unready != "":
		condition.Reason, condition.Message = reasonNotReady, fmt.Sprintf(messageUnready, unready)
	default:
		condition.Status = corev1.ConditionTrue
	}
	return condition
}

func readyCondition(o Observation, containersReady corev1.PodCondition) corev1.PodCondition {
	condition := containersReady
	condition.Type = corev1.PodReady
	if condition.Status != corev1.ConditionTrue {
		return condition
	}
	for _, gate := range o.Pod.Spec.ReadinessGates {
		set := find(o.Pod.Status.Conditions, gate.ConditionType)
		if set == nil || set.Status != corev1.ConditionTrue {
			condition.Status, condition.Reason = corev1.ConditionFalse, reasonReadinessGate
			condition.Message = fmt.Sprintf(messageReadinessGates, gate.ConditionType)
			return condition
		}
	}
	return condition
}

func names(containers []Container, selected func(Container) bool) string {
	var found []string
	for _, container := range containers {
		if selected(container) {
			found = append(found, container.Name)
		}
	}
	return strings.Join(found, " ")
}

func find(conditions []corev1.PodCondition, conditionType corev1.PodConditionType) *corev1.PodCondition {
	for i := range conditions {
		if conditions[i].Type == conditionType {
			return &conditions[i]
		}
	}
	return nil
}

func boolean(value bool) corev1.ConditionStatus {
	if value {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}
