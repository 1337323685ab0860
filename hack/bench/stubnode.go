// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

const (
	// stubNodeName is the node on which all pods of the measurement run.
	stubNodeName = "stub"
	// stubWorkers is how many pods the stub works on side by side.
	stubWorkers = 8
	// heartbeat is how often the node's lease is renewed; the node lifecycle
	// controller waits 40 seconds.
	heartbeat = 10 * time.Second
)

// stubNode is a node that runs nothing: it says at once of every pod that it is
// ready, so that what is measured is the control plane and the operator, and not
// how fast this machine starts processes. Both sides of the comparison have it.
type stubNode struct {
	client  kubernetes.Interface
	address string // of every pod
	queue   workqueue.TypedRateLimitingInterface[string]
	pods    cache.Indexer
}

// serveReport answers at every pod's address, as a connector that serves, until ctx
// ends: the operator asks its connectors how they are.
func serveReport(ctx context.Context, podAddress string) error {
	now := time.Now()
	report, err := json.Marshal(config.Status{
		Version: "stub", Ready: true, Reason: config.ReasonServing,
		Certificate: config.CertificateStatus{NotAfter: now.Add(180 * 24 * time.Hour)},
		Bootstrap:   config.BootstrapStatus{LastSuccess: &now, ConnectorState: "Ok"},
		Links:       []config.LinkStatus{{Endpoint: "stub", State: config.LinkAttached, Since: now}},
		Validator:   config.ValidatorStatus{Method: "LDAP", State: config.ValidatorProven},
	})
	if err != nil {
		return fmt.Errorf("encoding the stub's report: %w", err)
	}
	var listening net.ListenConfig
	l, err := listening.Listen(ctx, "tcp", net.JoinHostPort(podAddress, strconv.Itoa(config.DefaultHealthPort)))
	if err != nil {
		return fmt.Errorf("serving the stub's reports: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(report) // who asked will ask again
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close() // the measurement is over
	}()
	go func() { _ = server.Serve(l) }() // until it is closed
	return nil
}

// startStubNode registers the node and runs it until ctx ends.
func startStubNode(ctx context.Context, client kubernetes.Interface, podAddress string) error {
	n := &stubNode{client: client, address: podAddress, queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())}
	if _, err := client.CoreV1().Nodes().Create(ctx, n.node(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("registering the stub node: %w", err)
	}
	if err := n.beat(ctx); err != nil {
		return err
	}
	assigned := fields.OneTermEqualSelector("spec.nodeName", stubNodeName)
	informer := cache.NewSharedIndexInformer(cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", "", assigned), &corev1.Pod{}, 0, cache.Indexers{})
	n.pods = informer.GetIndexer()
	enqueue := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			n.queue.Add(key)
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: enqueue, UpdateFunc: func(_, object any) { enqueue(object) }}); err != nil {
		return fmt.Errorf("watching the stub node's pods: %w", err)
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("the stub node's pods could not be listed")
	}
	for range stubWorkers {
		go n.work(ctx)
	}
	go func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				n.queue.ShutDown()
				return
			case <-tick.C:
				_ = n.beat(ctx) // the next one comes soon
			}
		}
	}()
	return nil
}

func (n *stubNode) node() *corev1.Node {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1000"), corev1.ResourceMemory: resource.MustParse("1000Gi"), corev1.ResourcePods: resource.MustParse("2000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: stubNodeName, Labels: map[string]string{corev1.LabelOSStable: string(corev1.Windows), corev1.LabelHostname: stubNodeName}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Stub", Message: "it runs nothing",
				LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
			}},
		},
	}
}

// beat renews the node's lease.
func (n *stubNode) beat(ctx context.Context) error {
	leases := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now, holder, seconds := metav1.NowMicro(), stubNodeName, int32(40)
	lease, err := leases.Get(ctx, stubNodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: stubNodeName},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})
	} else if err == nil {
		lease.Spec.RenewTime = &now
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renewing the stub node's lease: %w", err)
	}
	return nil
}

func (n *stubNode) work(ctx context.Context) {
	for {
		key, shutdown := n.queue.Get()
		if shutdown {
			return
		}
		if err := n.settle(ctx, key); err != nil {
			n.queue.AddRateLimited(key)
		} else {
			n.queue.Forget(key)
		}
		n.queue.Done(key)
	}
}

// settle makes a pod run, or end.
func (n *stubNode) settle(ctx context.Context, key string) error {
	object, exists, err := n.pods.GetByKey(key)
	if err != nil || !exists {
		return err
	}
	pod := object.(*corev1.Pod)
	pods := n.client.CoreV1().Pods(pod.Namespace)
	switch {
	case pod.DeletionTimestamp != nil:
		now := int64(0)
		err = pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	case pod.Status.Phase == corev1.PodPending:
		_, err = pods.UpdateStatus(ctx, n.running(pod), metav1.UpdateOptions{})
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (n *stubNode) running(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	now, started := metav1.Now(), true
	pod.Status.Phase, pod.Status.StartTime = corev1.PodRunning, &now
	pod.Status.PodIP, pod.Status.PodIPs = n.address, []corev1.PodIP{{IP: n.address}}
	scheduled := pod.Status.Conditions
	pod.Status.Conditions = nil
	for _, c := range scheduled {
		if c.Type == corev1.PodScheduled {
			pod.Status.Conditions = append(pod.Status.Conditions, c)
		}
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	pod.Status.ContainerStatuses = nil
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: true, Started: &started,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return pod
}
