// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestLog(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	tests := map[string]struct {
		status    corev1.ContainerStatus
		previous  bool
		want      string
		wantError string
	}{
		"the log of a running container":                {status: corev1.ContainerStatus{Name: "c", State: running, RestartCount: 2}, want: "2.log"},
		"the log of its previous start":                 {status: corev1.ContainerStatus{Name: "c", State: running, RestartCount: 2}, previous: true, want: "1.log"},
		"a container never restarted has no other":      {status: corev1.ContainerStatus{Name: "c", State: running}, previous: true, wantError: "not found"},
		"the log of a container that ended":             {status: corev1.ContainerStatus{Name: "c", State: ended, RestartCount: 1}, want: "1.log"},
		"a crash loop shows the last end":               {status: corev1.ContainerStatus{Name: "c", State: waiting, LastTerminationState: ended, RestartCount: 3}, want: "3.log"},
		"and calls it the previous one, too":            {status: corev1.ContainerStatus{Name: "c", State: waiting, LastTerminationState: ended, RestartCount: 3}, previous: true, want: "3.log"},
		"a container that never started has no log":     {status: corev1.ContainerStatus{Name: "c", State: waiting}, wantError: "waiting to start: CrashLoopBackOff"},
		"a container without status is not known about": {status: corev1.ContainerStatus{Name: "other"}, wantError: "not known yet"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := newPod(func(pod *corev1.Pod) { pod.Status.ContainerStatuses = []corev1.ContainerStatus{test.status} })
			path, _, err := Log(&Config{LogDir: "/logs"}, pod, "c", test.previous)
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Errorf("error %v, want one with %q", err, test.wantError)
				}
				return
			}
			if want := "/logs/ns_p_u/c/" + test.want; err != nil || path != want {
				t.Errorf("got %q, %v; want %q", path, err, want)
			}
		})
	}
}

func TestRemoveOthersKeepsWhatIsKnown(t *testing.T) {
	config := &Config{PodDir: filepath.Join(t.TempDir(), "pods"), LogDir: filepath.Join(t.TempDir(), "logs")}
	for _, dir := range []string{config.PodDir + "/u1", config.PodDir + "/u2", config.LogDir + "/ns_a_u1", config.LogDir + "/ns_b_u2"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveOthers(config, map[types.UID]bool{"u2": true}); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, dir := range []string{config.PodDir, config.LogDir} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			left = append(left, entry.Name())
		}
	}
	if diff := cmp.Diff([]string{"u2", "ns_b_u2"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if err := RemoveOthers(&Config{PodDir: "/nowhere/x", LogDir: "/nowhere/y"}, nil); err != nil {
		t.Errorf("a node that never ran a pod: %v", err)
	}
}
