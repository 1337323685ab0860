// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func podDir(config *Config, pod *corev1.Pod) string {
	return filepath.Join(config.PodDir, string(pod.UID))
}

func logDir(config *Config, pod *corev1.Pod) string {
	return filepath.Join(config.LogDir, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
}

// Log finds the log that is current for the container, or the previous one. It
// returns the number of the start that wrote it, for [Writing].
func Log(config *Config, pod *corev1.Pod, container string, previous bool) (path string, start int32, err error) {
	status := Status(pod, container)
	if status == nil {
		return "", 0, fmt.Errorf("container %q in pod %q is waiting to start: its status is not known yet", container, pod.Name)
	}
	start = status.RestartCount
	switch waiting := status.State.Waiting; {
	case waiting != nil && status.LastTerminationState.Terminated != nil:
		// The container that ended is both the current and the previous one.
	case waiting != nil:
		return "", 0, fmt.Errorf("container %q in pod %q is waiting to start: %s", container, pod.Name, waiting.Reason)
	case previous:
		start--
	}
	if start < 0 {
		return "", 0, fmt.Errorf("previous terminated container %q in pod %q not found", container, pod.Name)
	}
	return filepath.Join(logDir(config, pod), container, logName(start)), start, nil
}

// Writing says whether that start of the container may still write its log.
func Writing(pod *corev1.Pod, container string, start int32) bool {
	status := Status(pod, container)
	return status != nil && status.RestartCount == start && status.State.Running != nil
}

// Status returns the status of the container, or nil.
func Status(pod *corev1.Pod, container string) *corev1.ContainerStatus {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range statuses {
			if statuses[i].Name == container {
				return &statuses[i]
			}
		}
	}
	return nil
}

// Remove deletes the pod's files and logs. Its runner, if any, must be done.
func Remove(config *Config, pod *corev1.Pod) error {
	return errors.Join(os.RemoveAll(podDir(config, pod)), os.RemoveAll(logDir(config, pod)))
}

// RemoveOthers deletes what pods have left that are not known any more.
func RemoveOthers(config *Config, known map[types.UID]bool) error {
	var problems []error
	for _, parent := range []string{config.PodDir, config.LogDir} {
		entries, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
		for _, entry := range entries {
			// Directories are named by, or end in, the pod's UID.
			name := entry.Name()
			uid := name[strings.LastIndexByte(name, '_')+1:]
			if !known[types.UID(uid)] {
				problems = append(problems, os.RemoveAll(filepath.Join(parent, name)))
			}
		}
	}
	return errors.Join(problems...)
}

func logName(start int32) string { return fmt.Sprintf("%d.log", start) }

func (r *Runner) logPath(container string, start int32) string {
	return filepath.Join(r.logDir, container, logName(start))
}

func (r *Runner) forgetLogs(container string, start int32) {
	if old := start - keptLogs - 1; old >= 0 {
		_ = os.Remove(r.logPath(container, old))
	}
}

func (r *Runner) terminationPath(container string) string {
	return filepath.Join(r.dir, "termination", container)
}
