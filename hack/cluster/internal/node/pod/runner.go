// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/downward"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/status"
)

const (
	// addressRetry is how often a pod without an address asks again.
	addressRetry = time.Second
	reasonFailed = "Failed"
)

// Runner runs one pod. Make it with [New], then call Run once.
type Runner struct {
	config *Config
	log    logr.Logger
	// dir and logDir are the pod's own directories.
	dir, logDir string

	stop     context.CancelFunc // ends stopped
	stopped  context.Context    // done when the pod has to end
	kill     chan struct{}      // closed when the grace period is over
	ending   chan struct{}      // closed when the last container has ended
	done     chan struct{}      // closed when Run returns
	dirty    chan struct{}      // says that a status has to be published
	refresh  chan struct{}      // says that volumes have to be looked at
	volumes  *volumes
	sandbox  Sandbox                  // nil without
	runtime  Runtime                  // the sandbox, or what all pods share
	restarts map[string]chan struct{} // by container: its image has changed

	mu        sync.Mutex // protects what follows
	pod       *corev1.Pod
	init, app []status.Container
	podIP     netip.Addr
	rejected  *status.Rejection
	over      bool
	silent    bool // publish nothing more
	published corev1.PodStatus
	killAt    time.Time
	killTimer *time.Timer
}

// New prepares to run the pod, going on from its status if it was run before.
func New(config *Config, pod *corev1.Pod) *Runner {
	stopped, stop := context.WithCancel(context.Background())
	runner := &Runner{
		config: config, pod: pod, published: pod.Status,
		log:    config.Log.WithValues("namespace", pod.Namespace, "pod", pod.Name, "uid", pod.UID),
		dir:    podDir(config, pod),
		logDir: logDir(config, pod),
		stop:   stop, stopped: stopped,
		kill: make(chan struct{}), ending: make(chan struct{}), done: make(chan struct{}),
		dirty: make(chan struct{}, 1), refresh: make(chan struct{}, 1),
		restarts: map[string]chan struct{}{},
	}
	runner.init, runner.app = status.Resume(pod, metav1.Now())
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		runner.restarts[container.Name] = make(chan struct{}, 1)
	}
	runner.volumes = newVolumes(runner)
	runner.runtime = config.Runtime
	return runner
}

// Run runs the pod until all its containers have ended for good, be it by
// themselves or because of Stop. It returns after the last status is published.
func (r *Runner) Run() {
	defer close(r.done)
	var background sync.WaitGroup
	background.Go(r.keepPublishing)
	r.live(&background)
	r.update(func() { r.over = true })
	close(r.ending)
	background.Wait()
	r.stop() // releases the context
	r.volumes.release()
	if r.sandbox != nil {
		r.sandbox.Close()
	}
	if r.podIP.IsValid() {
		r.config.Addresses.Release(r.podIP)
	}
}

// live is the pod's life in the order of its stages. What it leaves running in
// the background ends when ending is closed.
func (r *Runner) live(background *sync.WaitGroup) {
	if rejection := admit(r.Pod(), r.config.OS); rejection != nil {
		r.log.Info("rejected the pod", "reason", rejection.Reason)
		r.event(corev1.EventTypeWarning, rejection.Reason, rejection.Message)
		r.update(func() { r.rejected = rejection })
		return
	}
	if reason := unsupported(r.Pod()); reason != "" {
		r.event(corev1.EventTypeWarning, reasonFailed, reason)
		r.update(func() {
			for i := range r.app {
				r.app[i].State = status.Waiting("CreateContainerConfigError", reason)
			}
		})
		<-r.stopped.Done()
		return
	}
	if !r.setUp() {
		return
	}
	background.Go(r.volumes.keepFresh)
	if r.runInit() {
		r.runApp()
	}
}

// setUp gives the pod its address, directories and volumes.
func (r *Runner) setUp() bool {
	for !r.assignAddress() || !r.openSandbox() {
		select {
		case <-r.stopped.Done():
			return false
		case <-time.After(addressRetry):
		}
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		r.log.Error(err, "cannot make the pod's directory")
		return false
	}
	return r.volumes.prepare()
}

func (r *Runner) assignAddress() bool {
	if r.podIP.IsValid() {
		return true
	}
	assigned, err := r.config.Addresses.Allocate(r.Pod().Status.PodIP)
	if err != nil {
		r.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", err.Error())
		return false
	}
	r.update(func() { r.podIP = assigned })
	return true
}

// openSandbox gives the pod its namespaces, where pods have such.
func (r *Runner) openSandbox() bool {
	if r.config.Sandboxes == nil {
		return true
	}
	opened, err := r.config.Sandboxes.Open(r.Pod(), r.podIP)
	if err != nil {
		r.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", err.Error())
		r.log.Error(err, "cannot make the pod's sandbox; trying again")
		return false
	}
	r.sandbox, r.runtime = opened, opened
	return true
}

// runInit runs the init containers one after the other.
func (r *Runner) runInit() bool {
	for i := range r.init {
		if !newContainer(r, i, true).run() {
			return false
		}
	}
	return true
}

// runApp runs the containers side by side until all have ended.
func (r *Runner) runApp() {
	var group sync.WaitGroup
	for i := range r.app {
		container := newContainer(r, i, false)
		group.Go(func() { container.run() })
	}
	group.Wait()
}

// Stop ends the pod: containers are asked to end and killed after the grace
// period. A second call can only shorten it. Stop does not wait.
func (r *Runner) Stop(grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := time.Now().Add(grace)
	switch {
	case r.killTimer == nil:
		r.killTimer = time.AfterFunc(grace, func() { close(r.kill) })
	case at.Before(r.killAt) && r.killTimer.Stop(): // not fired yet
		r.killTimer.Reset(grace)
	default:
		return
	}
	r.killAt = at
	r.stop()
}

// Suspend stops the pod without telling the API server, for a node that will
// come back and go on.
func (r *Runner) Suspend(grace time.Duration) {
	r.mu.Lock()
	r.silent = true
	r.mu.Unlock()
	r.Stop(grace)
}

// Done is closed when Run has returned.
func (r *Runner) Done() <-chan struct{} { return r.done }

// Update takes a newer version of the pod's object: labels and annotations
// reach downward API files, a changed image restarts its container.
func (r *Runner) Update(pod *corev1.Pod) {
	r.mu.Lock()
	before := r.pod
	r.pod = pod
	r.mu.Unlock()
	for i := range pod.Spec.Containers {
		if old := containerNamed(before, pod.Spec.Containers[i].Name); old != nil && old.Image != pod.Spec.Containers[i].Image {
			signal(r.restarts[old.Name])
		}
	}
	signal(r.refresh)
	signal(r.dirty) // somebody's condition may open a readiness gate
}

// Pod returns the pod with the status published last. It must not be changed.
func (r *Runner) Pod() *corev1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	withStatus := *r.pod
	withStatus.Status = r.published
	return &withStatus
}

// facts are what the downward API adds to the pod's object.
func (r *Runner) facts() downward.Facts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return downward.Facts{PodIP: r.podIP.String(), HostIP: r.config.HostIP.String(), Allocatable: r.config.Allocatable}
}

// update changes what is observed and has a new status published.
func (r *Runner) update(change func()) {
	r.mu.Lock()
	change()
	r.mu.Unlock()
	signal(r.dirty)
}

// keepPublishing publishes after changes, and a last time at the pod's end.
func (r *Runner) keepPublishing() {
	for {
		select {
		case <-r.dirty:
			r.publish()
		case <-r.ending:
			r.publish()
			return
		}
	}
}

func (r *Runner) publish() {
	r.mu.Lock()
	observation := status.Observation{
		Pod: r.pod, Previous: r.published, Init: slices.Clone(r.init), App: slices.Clone(r.app),
		HostIP: r.config.HostIP.String(), Rejected: r.rejected, Over: r.over, Now: metav1.Now(),
	}
	if r.podIP.IsValid() {
		observation.PodIP = r.podIP.String()
	}
	computed := status.Compute(observation)
	unchanged := r.silent || apiequality.Semantic.DeepEqual(computed, r.published)
	r.published = computed
	withStatus := r.pod.DeepCopy()
	computed.DeepCopyInto(&withStatus.Status)
	r.mu.Unlock()
	if !unchanged {
		r.config.Publish(withStatus)
	}
}

func (r *Runner) event(eventType, reason, message string) {
	r.config.Events.Event(r.Pod(), eventType, reason, message)
}

// signal wakes the channel's reader unless it is to wake up already.
func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

func containerNamed(pod *corev1.Pod, name string) *corev1.Container {
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			if containers[i].Name == name {
				return &containers[i]
			}
		}
	}
	return nil
}
