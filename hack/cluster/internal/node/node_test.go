// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

var required = []string{
	"--name=windows-0", "--kubeconfig=k", "--dir=d", "--pod-cidr=127.9.32.0/20",
	"--tls-cert-file=c", "--tls-private-key-file=p", "--client-ca-file=a",
}

func TestParse(t *testing.T) {
	options, err := Parse(append(required, "--os=windows", "--image=a=/bin/a", "--image=b:1=/bin/b", "--taint=os=windows:NoSchedule"))
	if err != nil {
		t.Fatal(err)
	}
	if options.PodBlock != netip.MustParsePrefix("127.9.32.0/20") || options.Images["b:1"] != "/bin/b" {
		t.Errorf("options %+v", options)
	}
	if diff := cmp.Diff([]corev1.Taint{{Key: "os", Value: "windows", Effect: corev1.TaintEffectNoSchedule}}, options.Taints); diff != "" {
		t.Errorf("taints (-want +got):\n%s", diff)
	}
	tests := map[string]struct{ flags, want string }{
		"another system":         {"--os=plan9", "has to be linux or windows"},
		"a taint with no effect": {"--taint=os=windows", "not of the form"},
		"an image with no path":  {"--image=a", "not of the form"},
		"a name that is empty":   {"--name=", "--name is required"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(append(required, test.flags)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestObjectOfAWindowsNode(t *testing.T) {
	node := object(Options{Name: "windows-0", OS: "windows", Address: netip.MustParseAddr("127.9.32.1"), Port: 4711})
	if node.Labels[corev1.LabelOSStable] != "windows" || node.Labels[corev1.LabelWindowsBuild] != windowsBuild || node.Status.NodeInfo.OperatingSystem != "windows" {
		t.Errorf("labels %v, node info %+v", node.Labels, node.Status.NodeInfo)
	}
	if len(node.Spec.Taints) != 0 {
		t.Errorf("taints %v that nobody asked for", node.Spec.Taints)
	}
	if node.Status.DaemonEndpoints.KubeletEndpoint.Port != 4711 || node.Status.Addresses[0].Address != "127.9.32.1" {
		t.Errorf("endpoint %+v at %+v", node.Status.DaemonEndpoints, node.Status.Addresses)
	}
}

func TestUpdateStatusTouchesOnlyWhatIsTheNodes(t *testing.T) {
	gate := corev1.PodCondition{Type: "example.test/Gate", Status: corev1.ConditionTrue}
	stored := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "new", Labels: map[string]string{"since": "changed"}},
		Status:     corev1.PodStatus{QOSClass: corev1.PodQOSBestEffort, Conditions: []corev1.PodCondition{gate, {Type: corev1.PodReady, Status: corev1.ConditionFalse}}},
	}
	tests := map[string]struct {
		uid  string
		want corev1.PodStatus
	}{
		"the pod itself": {uid: "new", want: corev1.PodStatus{
			Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBestEffort,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, gate},
		}},
		"an older pod of the same name": {uid: "old", want: stored.Status},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(stored.DeepCopy())
			stale := gate
			stale.Status = corev1.ConditionFalse
			update := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: types.UID(test.uid)},
				Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
					{Type: corev1.PodReady, Status: corev1.ConditionTrue}, stale,
				}},
			}
			pods := podsGetter{client.CoreV1()}.Pods("ns")
			if _, err := pods.UpdateStatus(t.Context(), update, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			got, err := pods.Get(t.Context(), "p", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Status); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if got.Labels["since"] != "changed" {
				t.Errorf("labels %v were undone", got.Labels)
			}
		})
	}
}

func TestDied(t *testing.T) {
	started := metav1.NewTime(time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC))
	lost := &corev1.Pod{
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "c", ContainerID: "process://7", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}},
		}}},
	}
	got := died(lost, metav1.NewTime(started.Add(time.Minute))).Status
	if ended := got.ContainerStatuses[0].State.Terminated; got.Phase != corev1.PodFailed || ended == nil || ended.ExitCode != 137 || got.ContainerStatuses[0].Ready {
		t.Errorf("phase %s, container %+v", got.Phase, got.ContainerStatuses[0])
	}
}
