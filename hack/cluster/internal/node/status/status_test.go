// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	earlier = metav1.NewTime(time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC))
	now     = metav1.NewTime(earlier.Add(time.Minute))
)

func running(name string, ready bool) Container {
	return Container{Name: name, ID: "process://1", Started: true, Ready: ready, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: earlier}}}
}

func ended(name string, code int32) Container {
	return Container{Name: name, ID: "process://1", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func crashed(name string) Container {
	return Container{Name: name, RestartCount: 1, State: Waiting("CrashLoopBackOff", ""), Last: &corev1.ContainerStateTerminated{ExitCode: 1}}
}

func creating(name string) Container {
	return Container{Name: name, State: Waiting("ContainerCreating", "")}
}

// summary is what the phase table compares.
type summary struct {
	Phase                                     corev1.PodPhase
	Initialized, ContainersReady, Ready, Sand corev1.ConditionStatus
	Message                                   string
}

func summarise(status corev1.PodStatus) summary {
	get := func(conditionType corev1.PodConditionType) corev1.ConditionStatus {
		if condition := find(status.Conditions, conditionType); condition != nil {
			return condition.Status
		}
		return "absent"
	}
	message := ""
	if ready := find(status.Conditions, corev1.PodReady); ready != nil {
		message = ready.Message
	}
	return summary{status.Phase, get(corev1.PodInitialized), get(corev1.ContainersReady), get(corev1.PodReady), get(corev1.PodReadyToStartContainers), message}
}

func TestCompute(t *testing.T) {
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	tests := map[string]struct {
		observation Observation
		want        summary
	}{
		"a pod without an address yet": {
			observation: Observation{App: []Container{creating("a")}},
			want:        summary{corev1.PodPending, yes, no, no, no, "containers with unready status: [a]"},
		},
		"running and ready": {
			observation: Observation{PodIP: "127.9.1.2", App: []Container{running("a", true)}},
			want:        summary{corev1.PodRunning, yes, yes, yes, yes, ""},
		},
		"one of two is not ready": {
			observation: Observation{PodIP: "127.9.1.2", App: []Container{running("a", true), running("b", false)}},
			want:        summary{corev1.PodRunning, yes, no, no, yes, "containers with unready status: [b]"},
		},
		"one of two is still being created": {
			observation: Observation{PodIP: "127.9.1.2", App: []Container{running("a", true), creating("b")}},
			want:        summary{corev1.PodPending, yes, no, no, yes, "containers with unready status: [b]"},
		},
		"a crash loop is a running pod": {
			observation: Observation{PodIP: "127.9.1.2", App: []Container{crashed("a")}},
			want:        summary{corev1.PodRunning, yes, no, no, yes, "containers with unready status: [a]"},
		},
		"a pod stopped in a crash loop has failed": {
			observation: Observation{PodIP: "127.9.1.2", App: []Container{crashed("a")}, Over: true},
			want:        summary{corev1.PodFailed, yes, no, no, yes, ""},
		},
		"init containers come first": {
			observation: Observation{PodIP: "127.9.1.2", Init: []Container{running("i", false)}, App: []Container{creating("a")}},
			want:        summary{corev1.PodPending, no, no, no, yes, "containers with unready status: [a]"},
		},
		"an init container that failed for good fails the pod": {
			observation: Observation{PodIP: "127.9.1.2", Init: []Container{ended("i", 1)}, App: []Container{creating("a")}, Over: true},
			want:        summary{corev1.PodFailed, no, no, no, yes, ""},
		},
		"all containers ended well": {
			observation: Observation{PodIP: "127.9.1.2", Init: []Container{ended("i", 0)}, App: []Container{ended("a", 0)}, Over: true},
			want:        summary{corev1.PodSucceeded, yes, no, no, yes, ""},
		},
		"one container ended badly": {
			observation: Observation{PodIP: "127.9.1.2", App: []Container{ended("a", 0), ended("b", 2)}, Over: true},
			want:        summary{corev1.PodFailed, yes, no, no, yes, ""},
		},
		"an ended container that will be restarted does not end the pod": {
			observation: Observation{PodIP: "127.9.1.2", App: []Container{ended("a", 2)}},
			want:        summary{corev1.PodRunning, yes, no, no, yes, "containers with unready status: [a]"},
		},
		"a pod stopped before its container started has failed": {
			observation: Observation{App: []Container{creating("a")}, Over: true},
			want:        summary{corev1.PodFailed, yes, no, no, no, ""},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.observation.Pod, test.observation.Now = &corev1.Pod{}, now
			if diff := cmp.Diff(test.want, summarise(Compute(test.observation))); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestComputeKeepsTimesAndForeignConditions(t *testing.T) {
	foreign := corev1.PodCondition{Type: "example.test/Gate", Status: corev1.ConditionTrue, LastTransitionTime: earlier}
	previous := Compute(Observation{Pod: &corev1.Pod{}, App: []Container{running("a", false)}, PodIP: "127.9.1.2", Now: earlier})
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{foreign, {Type: corev1.PodReady, Status: "stale"}}}}
	got := Compute(Observation{Pod: pod, App: []Container{running("a", true)}, PodIP: "127.9.1.2", Now: now, Previous: previous})

	if !got.StartTime.Equal(&earlier) {
		t.Errorf("start time %v, want %v", got.StartTime, earlier)
	}
	if diff := cmp.Diff(&foreign, find(got.Conditions, foreign.Type)); diff != "" {
		t.Errorf("somebody else's condition (-want +got):\n%s", diff)
	}
	if ready := find(got.Conditions, corev1.PodReady); !ready.LastTransitionTime.Equal(&now) {
		t.Errorf("Ready changed at %v, want %v", ready.LastTransitionTime, now)
	}
	if initialized := find(got.Conditions, corev1.PodInitialized); !initialized.LastTransitionTime.Equal(&earlier) {
		t.Errorf("Initialized changed at %v, want %v", initialized.LastTransitionTime, earlier)
	}
	again := Compute(Observation{Pod: pod, App: []Container{running("a", true)}, PodIP: "127.9.1.2", Now: metav1.NewTime(now.Add(time.Hour)), Previous: got})
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("the same observation later gave another status:\n%s", diff)
	}
}

func TestComputeHonoursReadinessGates(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "example.test/Gate"}}}}
	observation := Observation{Pod: pod, App: []Container{running("a", true)}, PodIP: "127.9.1.2", Now: now}
	if got := find(Compute(observation).Conditions, corev1.PodReady); got.Status != corev1.ConditionFalse || got.Reason != reasonReadinessGate {
		t.Errorf("Ready is %v (%s) although the gate is closed", got.Status, got.Reason)
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: "example.test/Gate", Status: corev1.ConditionTrue}}
	if got := find(Compute(observation).Conditions, corev1.PodReady); got.Status != corev1.ConditionTrue {
		t.Errorf("Ready is %v although the gate is open", got.Status)
	}
}

func TestComputeRejection(t *testing.T) {
	got := Compute(Observation{Pod: &corev1.Pod{}, Now: now, Rejected: &Rejection{Reason: "PodOSNotSupported", Message: "m"}, App: []Container{creating("a")}})
	want := corev1.PodStatus{Phase: corev1.PodFailed, Reason: "PodOSNotSupported", Message: "m", StartTime: &now, HostIPs: []corev1.HostIP{{}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestResume(t *testing.T) {
	tests := map[string]struct {
		before corev1.ContainerStatus
		want   Container
	}{
		"a container never seen before": {
			before: corev1.ContainerStatus{Name: "other"},
			want:   Container{Name: "a", Image: "i", State: Waiting("ContainerCreating", "")},
		},
		"a running container was killed with the node": {
			before: corev1.ContainerStatus{Name: "a", ContainerID: "process://7", RestartCount: 2, State: running("a", true).State},
			want: Container{Name: "a", Image: "i", ID: "process://7", RestartCount: 2, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 137, Signal: 9, Reason: "Error", Message: "The node that ran the container was stopped.",
				StartedAt: earlier, FinishedAt: now, ContainerID: "process://7",
			}}},
		},
		"a container that had ended stays so": {
			before: corev1.ContainerStatus{Name: "a", ContainerID: "process://7", State: ended("a", 3).State},
			want:   Container{Name: "a", Image: "i", ID: "process://7", State: ended("a", 3).State},
		},
		"a crash loop is remembered": {
			before: corev1.ContainerStatus{Name: "a", RestartCount: 4, State: Waiting("CrashLoopBackOff", ""), LastTerminationState: ended("a", 3).State},
			want:   Container{Name: "a", Image: "i", RestartCount: 4, State: Waiting("ContainerCreating", ""), Last: ended("a", 3).State.Terminated},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "i"}}},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{test.before}},
			}
			_, app := Resume(pod, now)
			if diff := cmp.Diff([]Container{test.want}, app); diff != "" {
				t.Errorf("containers (-want +got):\n%s", diff)
			}
		})
	}
}
