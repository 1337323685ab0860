// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/probe"
)

// defaultGrace is the grace period of a pod that names none.
const defaultGrace = 30 * time.Second

// watch probes a running container and returns when it has ended: by itself,
// because the pod is stopped, because it failed a probe, or for a new image.
func (c *container) watch(running Process, began time.Time) {
	alive, ended := context.WithCancel(context.Background())
	unhealthy := make(chan *corev1.Probe, 1)
	probing := make(chan struct{})
	go func() {
		defer close(probing)
		c.probe(alive, began, unhealthy)
	}()
	defer func() {
		ended()
		<-probing // no verdict may arrive after the end is recorded
	}()
	select {
	case <-running.Exited():
		return
	case <-c.runner.stopped.Done():
		c.runner.event(corev1.EventTypeNormal, "Killing", "Stopping container "+c.name)
		running.Terminate()
	case failed := <-unhealthy:
		c.runner.event(corev1.EventTypeNormal, "Killing", fmt.Sprintf("Container %s failed a probe, will be restarted", c.name))
		c.terminate(running, c.grace(failed))
	case <-c.restart:
		c.runner.event(corev1.EventTypeNormal, "Killing", fmt.Sprintf("Container %s definition changed, will be restarted", c.name))
		c.terminate(running, c.grace(nil))
	}
	select {
	case <-running.Exited():
	case <-c.runner.kill:
		running.Kill()
		<-running.Exited()
	}
}

// terminate asks the process to end and kills it after the grace period. The
// pod's own end cuts that short.
func (c *container) terminate(running Process, grace time.Duration) {
	running.Terminate()
	select {
	case <-running.Exited():
	case <-time.After(grace):
		running.Kill()
	case <-c.runner.kill:
		running.Kill()
	}
}

func (c *container) grace(failed *corev1.Probe) time.Duration {
	if failed != nil && failed.TerminationGracePeriodSeconds != nil {
		return time.Duration(*failed.TerminationGracePeriodSeconds) * time.Second
	}
	return gracePeriod(c.runner.Pod())
}

// gracePeriod is how long the pod's containers may take to end.
func gracePeriod(pod *corev1.Pod) time.Duration {
	if seconds := pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return defaultGrace
}

// probe runs the container's probes while it is alive: startup alone first,
// then liveness and readiness side by side.
func (c *container) probe(alive context.Context, began time.Time, unhealthy chan<- *corev1.Probe) {
	spec := c.spec()
	giveUp := func(p *corev1.Probe) func(bool) {
		return func(healthy bool) {
			if !healthy {
				unhealthy <- p
			}
		}
	}
	if startup := spec.StartupProbe; startup != nil && !c.init {
		started, cancel := context.WithCancel(alive)
		c.ask(started, probe.Startup, startup, began, func(healthy bool) {
			defer cancel()
			if healthy {
				c.runner.update(func() { c.slot.Started = true })
			}
			giveUp(startup)(healthy)
		})
		cancel()
		if !c.observed().Started {
			return
		}
	}
	c.runner.update(func() { c.slot.Started, c.slot.Ready = true, spec.ReadinessProbe == nil && !c.init })
	if c.init {
		return
	}
	readinessDone := make(chan struct{})
	go func() {
		defer close(readinessDone)
		c.ask(alive, probe.Readiness, spec.ReadinessProbe, began, func(ready bool) {
			c.runner.update(func() { c.slot.Ready = ready })
		})
	}()
	// A pod that is being stopped may be as unhealthy as it likes.
	wanted, cancel := context.WithCancel(alive)
	release := context.AfterFunc(c.runner.stopped, cancel)
	c.ask(wanted, probe.Liveness, spec.LivenessProbe, began, func(healthy bool) {
		giveUp(spec.LivenessProbe)(healthy)
		cancel()
	})
	release()
	cancel()
	<-readinessDone
}

// ask asks again and again until the context ends, and calls decided at each
// change of verdict. It returns at once if there is no probe.
func (c *container) ask(ctx context.Context, kind probe.Kind, spec *corev1.Probe, began time.Time, decided func(healthy bool)) {
	if spec == nil {
		return
	}
	question, err := probe.Prepare(spec, c.spec(), c.runner.facts().PodIP)
	if err != nil {
		c.unhealthy(kind, err)
		return
	}
	tracker := probe.NewTracker(kind, spec)
	pause := time.Until(began.Add(time.Duration(spec.InitialDelaySeconds) * time.Second))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		err := askOnce(ctx, question, spec)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.unhealthy(kind, err)
		}
		if verdict, changed := tracker.Observe(err == nil); changed {
			c.runner.log.Info("a probe changed its verdict", "container", c.name, "probe", kind, "healthy", verdict == probe.Passing)
			decided(verdict == probe.Passing)
		}
		pause = time.Duration(max(1, spec.PeriodSeconds)) * time.Second
	}
}

func askOnce(ctx context.Context, question probe.Ask, spec *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(1, spec.TimeoutSeconds))*time.Second)
	defer cancel()
	return question(ctx)
}

func (c *container) unhealthy(kind probe.Kind, err error) {
	c.runner.event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %v", kind, err))
}
