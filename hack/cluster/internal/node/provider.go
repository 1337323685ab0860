// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/pod"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/status"
)

const (
	// orphanGrace is what is left to a pod whose object is gone already.
	orphanGrace = time.Second
	// deleteTimeout bounds one attempt to delete a pod's object.
	deleteTimeout = 10 * time.Second
	// deleteRetry is the pause between attempts.
	deleteRetry = time.Second
)

// provider is what virtual-kubelet's pod controller drives. It keeps a runner
// for each pod by its UID: a pod that was deleted and made again under its old
// name is another pod, even while the first is still ending.
type provider struct {
	ctx    context.Context // the node's life
	config *pod.Config
	pods   corev1listers.PodLister
	client corev1client.PodsGetter
	log    logr.Logger

	mu      sync.Mutex // protects what follows
	runners map[types.UID]*pod.Runner
	closed  bool
	group   sync.WaitGroup
}

func newProvider(ctx context.Context, client kubernetes.Interface, informer corev1informers.PodInformer, config *pod.Config) *provider {
	p := &provider{
		ctx: ctx, config: config, pods: informer.Lister(), client: podsGetter{client.CoreV1()}, log: config.Log,
		runners: map[types.UID]*pod.Runner{},
	}
	// The pod controller passes on changes that it thinks matter; conditions
	// that others set, which may be readiness gates, are not among them.
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, updated any) { _ = p.UpdatePod(ctx, updated.(*corev1.Pod)) },
	})
	if err != nil {
		p.log.Error(err, "cannot watch for changes of pods")
	}
	return p
}

// NotifyPods takes the function that brings statuses to the API server. It is
// called before any pod is.
func (p *provider) NotifyPods(_ context.Context, notify func(*corev1.Pod)) { p.config.Publish = notify }

// CreatePod starts to run the pod. It never fails: what is wrong with a pod is
// told by its status.
func (p *provider) CreatePod(_ context.Context, created *corev1.Pod) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.runners[created.UID] != nil {
		return nil
	}
	for _, runner := range p.runners {
		if old := runner.Pod(); old.Namespace == created.Namespace && old.Name == created.Name {
			runner.Stop(orphanGrace)
		}
	}
	runner := pod.New(p.config, created)
	p.runners[created.UID] = runner
	p.group.Go(runner.Run)
	return nil
}

// UpdatePod hands a newer object to the pod's runner.
func (p *provider) UpdatePod(_ context.Context, updated *corev1.Pod) error {
	if runner := p.runner(updated.UID); runner != nil {
		runner.Update(updated)
	}
	return nil
}

// DeletePod stops the pod and, when its processes have ended, deletes its
// object and its files. It does not wait for that.
func (p *provider) DeletePod(_ context.Context, deleted *corev1.Pod) error {
	runner := p.runner(deleted.UID)
	if runner == nil { // it died with the node before this one
		go func() {
			p.deleteObject(died(deleted, metav1.Now()))
			p.remove(deleted)
		}()
		return nil
	}
	grace := orphanGrace
	current, err := p.pods.Pods(deleted.Namespace).Get(deleted.Name)
	if err == nil && current.UID == deleted.UID && current.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*current.DeletionGracePeriodSeconds) * time.Second
	}
	runner.Stop(grace)
	go p.finish(runner, deleted)
	return nil
}

// GetPod returns the pod of that name that is run here. If the API server has
// a younger pod of the same name, the one run here is not it.
func (p *provider) GetPod(_ context.Context, namespace, name string) (*corev1.Pod, error) {
	current, err := p.pods.Pods(namespace).Get(name)
	if err == nil {
		if runner := p.runner(current.UID); runner != nil {
			return runner.Pod(), nil
		}
		return nil, errdefs.NotFoundf("pod %s/%s is not run here", namespace, name)
	}
	for _, runner := range p.all() {
		if candidate := runner.Pod(); candidate.Namespace == namespace && candidate.Name == name {
			return candidate, nil
		}
	}
	return nil, errdefs.NotFoundf("pod %s/%s is not run here", namespace, name)
}

// GetPodStatus returns the status published last.
func (p *provider) GetPodStatus(ctx context.Context, namespace, name string) (*corev1.PodStatus, error) {
	found, err := p.GetPod(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return &found.Status, nil
}

// GetPods returns every pod that is run here.
func (p *provider) GetPods(context.Context) ([]*corev1.Pod, error) {
	var pods []*corev1.Pod
	for _, runner := range p.all() {
		pods = append(pods, runner.Pod())
	}
	return pods, nil
}

// logPath finds the log that kubectl asks for. Pods that ended before this
// node was started have no runner, but a log.
func (p *provider) logPath(_ context.Context, namespace, name, container string, previous bool) (path string, ended func() bool, err error) {
	current, err := p.pods.Pods(namespace).Get(name)
	if err != nil {
		return "", nil, errdefs.NotFoundf("pod %s/%s is not run here", namespace, name)
	}
	latest := func() *corev1.Pod {
		if runner := p.runner(current.UID); runner != nil {
			return runner.Pod()
		}
		return current
	}
	path, start, err := pod.Log(p.config, latest(), container, previous)
	return path, func() bool { return !pod.Writing(latest(), container, start) }, err
}

// suspend stops all pods, to be gone on with by the node's next start.
func (p *provider) suspend(grace time.Duration) {
	p.mu.Lock()
	p.closed = true
	for _, runner := range p.runners {
		runner.Suspend(grace)
	}
	p.mu.Unlock()
	p.group.Wait()
}

// finish waits for the pod's end and removes what is left of it.
func (p *provider) finish(runner *pod.Runner, deleted *corev1.Pod) {
	<-runner.Done()
	p.deleteObject(runner.Pod())
	if p.ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	delete(p.runners, deleted.UID)
	p.mu.Unlock()
	p.remove(deleted)
}

func (p *provider) remove(deleted *corev1.Pod) {
	if err := pod.Remove(p.config, deleted); err != nil {
		p.log.Error(err, "cannot remove what is left of a pod", "namespace", deleted.Namespace, "pod", deleted.Name)
	}
}

// forgetGone removes the files of pods that were deleted while no node ran.
func (p *provider) forgetGone() error {
	bound, err := p.pods.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing the node's pods: %w", err)
	}
	known := map[types.UID]bool{}
	for _, candidate := range bound {
		known[candidate.UID] = true
	}
	if err := pod.RemoveOthers(p.config, known); err != nil {
		return fmt.Errorf("removing what deleted pods have left: %w", err)
	}
	return nil
}

// deleteObject tells the API server that the pod's containers have ended, and
// deletes the object if its deletion was asked for: what a kubelet does at the
// end of the grace period, or as soon as it can.
func (p *provider) deleteObject(ended *corev1.Pod) {
	for p.ctx.Err() == nil {
		err := p.tryDelete(ended)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		// A node may not even ask for a pod that is not bound to it any more, so
		// "forbidden" can mean that the pod is gone. The watch knows.
		if current, watchErr := p.pods.Pods(ended.Namespace).Get(ended.Name); watchErr != nil || current.UID != ended.UID {
			return
		}
		p.log.Error(err, "cannot delete a pod; trying again", "namespace", ended.Namespace, "pod", ended.Name)
		select {
		case <-p.ctx.Done():
		case <-time.After(deleteRetry):
		}
	}
}

func (p *provider) tryDelete(ended *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(p.ctx, deleteTimeout)
	defer cancel()
	pods := p.client.Pods(ended.Namespace)
	current, err := pods.Get(ctx, ended.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if current.UID != ended.UID || current.DeletionTimestamp == nil {
		return nil
	}
	if _, err := pods.UpdateStatus(ctx, ended, metav1.UpdateOptions{}); err != nil {
		return err
	}
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(ended.UID))
	return pods.Delete(ctx, ended.Name, *options)
}

// died returns the pod as it is after the node that ran it has stopped, and
// nobody will start it again.
func died(lost *corev1.Pod, now metav1.Time) *corev1.Pod {
	observation := status.Observation{
		Pod: lost, Previous: lost.Status, PodIP: lost.Status.PodIP, HostIP: lost.Status.HostIP, Over: true, Now: now,
	}
	observation.Init, observation.App = status.Resume(lost, now)
	dead := lost.DeepCopy()
	dead.Status = status.Compute(observation)
	return dead
}

func (p *provider) runner(uid types.UID) *pod.Runner {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runners[uid]
}

func (p *provider) all() []*pod.Runner {
	p.mu.Lock()
	defer p.mu.Unlock()
	runners := make([]*pod.Runner, 0, len(p.runners))
	for _, runner := range p.runners {
		runners = append(runners, runner)
	}
	return runners
}
