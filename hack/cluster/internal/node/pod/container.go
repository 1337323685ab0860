// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"fmt"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/backoff"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/containerlog"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/status"
)

const (
	// pullRetry and pullRetryMax bound the delays between looks for a program.
	pullRetry    = 2 * time.Second
	pullRetryMax = 30 * time.Second
	// configRetry is how often an environment that cannot be resolved is tried again.
	configRetry = time.Second
	// startErrorCode is the exit code of a container that could not be started.
	startErrorCode = 128
	// messageLimit and messageLines bound a termination message.
	messageLimit = 4096
	messageLines = 80
	// keptLogs is how many logs of ended containers stay: the one that
	// kubectl logs --previous shows.
	keptLogs = 1
)

// container walks one container through its cycle.
type container struct {
	runner  *Runner
	name    string
	init    bool
	slot    *status.Container // protected by runner.mu
	next    int32             // number of the next start; the first is 0
	crashes *backoff.Crashes
	restart <-chan struct{}
}

func newContainer(runner *Runner, index int, init bool) *container {
	observed := runner.app
	if init {
		observed = runner.init
	}
	slot := &observed[index]
	next := slot.RestartCount
	if slot.ID != "" { // it ran under the previous node
		next++
	}
	return &container{
		runner: runner, name: slot.Name, init: init, slot: slot, next: next,
		crashes: backoff.New(runner.config.Backoff), restart: runner.restarts[slot.Name],
	}
}

// run keeps the container running as the pod's policy says, and returns when it
// has ended for good: whether with success.
func (c *container) run() bool {
	if ended := c.observed().State.Terminated; ended != nil { // with the previous node
		if !c.again(ended.ExitCode) {
			return ended.ExitCode == 0
		}
		c.wait(0)
	}
	for {
		ended, ok := c.once()
		if !ok || c.runner.stopped.Err() != nil {
			return false
		}
		if !c.again(ended.ExitCode) {
			return ended.ExitCode == 0
		}
		ran := ended.FinishedAt.Sub(ended.StartedAt.Time)
		if !c.wait(c.crashes.Next(ran)) {
			return false
		}
	}
}

// once starts the container and sees it through to its end. It is not ok when
// the pod was stopped before anything could be started.
func (c *container) once() (ended corev1.ContainerStateTerminated, ok bool) {
	path, ok := c.pull()
	if !ok {
		return ended, false
	}
	spec, ok := c.configure(path)
	if !ok {
		return ended, false
	}
	start := c.next
	c.next++
	log, err := containerlog.Create(c.runner.logPath(c.name, start))
	if err != nil {
		return c.failed(start, time.Now(), err), true
	}
	defer func() { _ = log.Close() }()
	c.runner.forgetLogs(c.name, start)
	stdout, stderr := log.Stream("stdout"), log.Stream("stderr")
	spec.Stdout, spec.Stderr = stdout, stderr

	began := time.Now()
	running, err := c.runner.runtime.Start(spec)
	if err != nil {
		return c.failed(start, began, err), true
	}
	id, image := "process://"+strconv.Itoa(running.Pid()), c.spec().Image
	c.runner.log.Info("started a container", "container", c.name, "pid", running.Pid(), "restarts", start)
	c.runner.event(corev1.EventTypeNormal, "Started", "Container started: "+c.name)
	c.runner.update(func() {
		c.slot.ID, c.slot.Image, c.slot.RestartCount = id, image, start
		c.slot.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(began)}}
	})
	c.watch(running, began)
	_, _ = stdout.Close(), stderr.Close()
	return c.finished(began, id, running.Exit()), true
}

// again says whether the pod's policy wants the container started again.
func (c *container) again(code int32) bool {
	switch policy := c.runner.Pod().Spec.RestartPolicy; {
	case policy == corev1.RestartPolicyNever:
		return false
	case policy == corev1.RestartPolicyOnFailure || c.init:
		return code != 0
	default:
		return true
	}
}

// wait holds an ended container back before its restart. It is false when the
// pod was stopped meanwhile.
func (c *container) wait(delay time.Duration) bool {
	pod, state := c.runner.Pod(), status.Waiting("ContainerCreating", "")
	if delay > 0 {
		state = status.Waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", delay, c.name, pod.Name, pod.Namespace, pod.UID))
	}
	c.runner.update(func() {
		c.slot.Last, c.slot.State = c.slot.State.Terminated, state
	})
	if delay == 0 {
		return true
	}
	c.runner.event(corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.name, pod.Name))
	select {
	case <-c.runner.stopped.Done():
		return false
	case <-c.restart: // a new image deserves a new chance
		return true
	case <-time.After(delay):
		return true
	}
}

// pull finds the program of the container's image, waiting for it to appear.
func (c *container) pull() (path string, ok bool) {
	delay := pullRetry
	for {
		image := c.spec().Image
		path, err := c.runner.config.Images.Find(image)
		if err == nil {
			return path, true
		}
		c.waiting("ErrImagePull", err.Error())
		c.runner.event(corev1.EventTypeWarning, reasonFailed, fmt.Sprintf("Failed to pull image %q: %v", image, err))
		for _, pause := range []time.Duration{pullRetry / 2, delay} {
			select {
			case <-c.runner.stopped.Done():
				return "", false
			case <-c.restart:
			case <-time.After(pause):
				c.waiting("ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: %v", image, err))
			}
		}
		delay = min(2*delay, pullRetryMax)
	}
}

// configure resolves what the process is given, waiting for objects it needs.
func (c *container) configure(path string) (spec process.Spec, ok bool) {
	reported := ""
	for {
		spec, err := c.processSpec(path)
		if err == nil {
			return spec, true
		}
		if err.Error() != reported {
			reported = err.Error()
			c.waiting("CreateContainerConfigError", reported)
			c.runner.event(corev1.EventTypeWarning, reasonFailed, "Error: "+reported)
		}
		select {
		case <-c.runner.stopped.Done():
			return spec, false
		case <-time.After(configRetry):
		}
	}
}

func (c *container) waiting(reason, message string) {
	c.runner.update(func() { c.slot.State = status.Waiting(reason, message) })
}

// failed records a container that could not be started.
func (c *container) failed(start int32, began time.Time, err error) corev1.ContainerStateTerminated {
	c.runner.event(corev1.EventTypeWarning, reasonFailed, "Error: "+err.Error())
	c.runner.update(func() { c.slot.RestartCount = start })
	return c.record(corev1.ContainerStateTerminated{
		ExitCode: startErrorCode, Reason: "StartError", Message: err.Error(),
		StartedAt: metav1.NewTime(began), FinishedAt: metav1.Now(),
	})
}

// finished records the end of a container that ran.
func (c *container) finished(began time.Time, id string, exit process.Exit) corev1.ContainerStateTerminated {
	ended := corev1.ContainerStateTerminated{
		ExitCode: int32(exit.Code), Signal: int32(exit.Signal), Reason: "Completed", ContainerID: id,
		StartedAt: metav1.NewTime(began), FinishedAt: metav1.Now(),
	}
	if exit.Code != 0 {
		ended.Reason = "Error"
	}
	ended.Message = c.terminationMessage(exit)
	c.runner.log.Info("a container ended", "container", c.name, "exitCode", exit.Code)
	return c.record(ended)
}

func (c *container) record(ended corev1.ContainerStateTerminated) corev1.ContainerStateTerminated {
	c.runner.update(func() {
		c.slot.State = corev1.ContainerState{Terminated: &ended}
		c.slot.Started, c.slot.Ready = false, c.init && ended.ExitCode == 0
	})
	return ended
}

// terminationMessage is what the container wrote for its owner, or the end of
// its log if the pod asks for that.
func (c *container) terminationMessage(exit process.Exit) string {
	spec := c.spec()
	data, err := os.ReadFile(c.runner.terminationPath(c.name))
	if err == nil && len(data) > 0 {
		return string(data[:min(len(data), messageLimit)])
	}
	if exit.Code != 0 && spec.TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError {
		return containerlog.Tail(c.runner.logPath(c.name, c.observed().RestartCount), messageLines, messageLimit/2)
	}
	return ""
}

// spec is the container's specification as it is now.
func (c *container) spec() *corev1.Container { return containerNamed(c.runner.Pod(), c.name) }

func (c *container) observed() status.Container {
	c.runner.mu.Lock()
	defer c.runner.mu.Unlock()
	return *c.slot
}
