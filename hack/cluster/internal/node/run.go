// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
	vkslog "github.com/virtual-kubelet/virtual-kubelet/log/slog"
	vknode "github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/address"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/backoff"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/objects"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/pod"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/wine"
)

const (
	// admitTimeout bounds putting rules in force for a new pod.
	admitTimeout = 30 * time.Second
	// stopGrace is how long pods get when the node itself is stopped.
	stopGrace = 4 * time.Second
	// podWorkers bounds how many pods are created or deleted at a time.
	podWorkers = 8
	// forgiveAfter is how long a container must run for its crashes to be forgotten.
	forgiveAfter = 10 * time.Minute
	// statusInterval is how often the node's whole status is renewed.
	statusInterval = time.Minute
	// clientQPS and clientBurst are generous: both ends share the machine.
	clientQPS   = 100
	clientBurst = 200
)

// Main runs a node until the context ends, then stops its pods.
func Main(ctx context.Context, arguments []string) error {
	options, err := Parse(arguments)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("node", options.Name)
	klog.SetSlogLogger(logger)
	vklog.L = vkslog.FromSlog(logger)
	return run(ctx, options, logr.FromSlogHandler(logger.Handler()))
}

func run(ctx context.Context, options Options, log logr.Logger) error {
	restConfig, err := clientcmd.BuildConfigFromFlags("", options.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the node's client configuration: %w", err)
	}
	restConfig.QPS, restConfig.Burst = clientQPS, clientBurst
	restConfig.UserAgent = "kubecluster-node/" + options.Name
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return fmt.Errorf("making the node's client: %w", err)
	}
	addresses, err := address.NewPool(options.PodBlock)
	if err != nil {
		return err
	}
	// The controllers outlive the signal to stop until the pods have ended.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	events := record.NewBroadcaster(record.WithContext(life))
	defer events.Shutdown()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: client.CoreV1().Events("")})
	recorder := events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubecluster-node", Host: options.Name})

	informer := podInformer(life, client, options.Name)
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return nil // told to stop before the API server answered
	}
	containers, err := newRuntime(options)
	if err != nil {
		return err
	}
	config := &pod.Config{
		OS: options.OS, HostIP: options.Address, APIServer: restConfig.Host,
		PodDir: filepath.Join(options.Dir, "pods"), LogDir: filepath.Join(options.Dir, "logs"),
		Backoff:     backoff.Policy{Base: options.CrashBackoff, Max: options.CrashBackoffMax, ResetAfter: forgiveAfter},
		Allocatable: capacity(),
		Runtime:     containers, Images: options.Images, Tokens: tokens{client.CoreV1()},
		Objects: objects.New(client.CoreV1().RESTClient()), Addresses: addresses, Events: recorder, Log: log,
	}
	var group sync.WaitGroup
	defer group.Wait()
	if options.Isolate {
		isolated, err := isolate(life, options, client, recorder, log)
		if err != nil {
			return err
		}
		config.Sandboxes = isolated
		group.Go(func() { isolated.policies.Run(life) })
	}
	pods := newProvider(life, client, informer, config)
	if err := pods.forgetGone(); err != nil {
		end(err)
		return err
	}
	group.Go(func() { end(serve(life, options, pods)) })
	group.Go(func() { end(runNode(life, client, options)) })
	group.Go(func() { end(runPods(life, client, informer, pods, recorder)) })
	select {
	case <-ctx.Done():
		log.Info("stopping the pods")
		pods.suspend(stopGrace)
		end(nil)
		return nil
	case <-life.Done():
		return context.Cause(life)
	}
}

// podInformer watches the pods bound to the node.
func podInformer(ctx context.Context, client kubernetes.Interface, node string) corev1informers.PodInformer {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(list *metav1.ListOptions) {
		list.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node).String()
	}))
	informer := factory.Core().V1().Pods()
	informer.Informer() // registers it with the factory
	factory.Start(ctx.Done())
	return informer
}

// runNode registers the node and keeps its lease fresh.
func runNode(ctx context.Context, client kubernetes.Interface, options Options) error {
	leases := client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	controller, err := vknode.NewNodeController(vknode.NaiveNodeProvider{}, object(options), client.CoreV1().Nodes(),
		vknode.WithNodeEnableLeaseV1(leases, vknode.DefaultLeaseDuration),
		vknode.WithNodeStatusUpdateInterval(statusInterval),
	)
	if err != nil {
		return fmt.Errorf("making the node's controller: %w", err)
	}
	if err := controller.Run(ctx); err != nil {
		return fmt.Errorf("registering the node: %w", err)
	}
	return nil
}

// runPods runs what is bound to the node.
func runPods(ctx context.Context, client kubernetes.Interface, informer corev1informers.PodInformer, pods *provider, recorder record.EventRecorder) error {
	// The controller insists on informers for objects that the runners read
	// in their own, narrower way. These are never started.
	idle := informers.NewSharedInformerFactory(client, 0).Core().V1()
	controller, err := vknode.NewPodController(vknode.PodControllerConfig{
		PodClient: podsGetter{client.CoreV1()}, PodInformer: informer, Provider: pods, EventRecorder: quietRecorder{recorder},
		ConfigMapInformer: idle.ConfigMaps(), SecretInformer: idle.Secrets(), ServiceInformer: idle.Services(),
		SkipDownwardAPIResolution: true,
	})
	if err != nil {
		return fmt.Errorf("making the pod controller: %w", err)
	}
	if err := controller.Run(ctx, podWorkers); err != nil {
		return fmt.Errorf("running pods: %w", err)
	}
	return nil
}

// processes is the runtime: a container is a process of this machine.
type processes struct{}

func (processes) Start(spec process.Spec) (pod.Process, error) { return process.Start(spec) }

// windowsPrograms is the runtime of a Windows node that has Wine.
type windowsPrograms struct{ *wine.Runtime }

func (w windowsPrograms) Start(spec process.Spec) (pod.Process, error) { return w.Runtime.Start(spec) }

func newRuntime(options Options) (pod.Runtime, error) {
	if options.Runtime != RuntimeWine {
		return processes{}, nil
	}
	runtime, err := wine.New(options.Wine, filepath.Join(options.Dir, "wine"))
	if err != nil {
		return nil, err
	}
	return windowsPrograms{runtime}, nil
}
