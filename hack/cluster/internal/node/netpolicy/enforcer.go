// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package netpolicy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corev1listers "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

const (
	// loadTimeout bounds one run of nft.
	loadTimeout = 20 * time.Second
	// loadRetry is the pause after one that failed.
	loadRetry = time.Second
)

// Options of an enforcer. All are required.
type Options struct {
	// Node is the node's name, Block the addresses of its pods.
	Node  string
	Block netip.Prefix
	// NameService is the address that pods ask for names.
	NameService netip.Addr
	Client      kubernetes.Interface
	Events      record.EventRecorder
	Log         logr.Logger
}

// Enforcer keeps the node's rules as the API server's objects want them. Make it
// with [Start].
type Enforcer struct {
	options    Options
	pods       corev1listers.PodLister
	namespaces corev1listers.NamespaceLister
	policies   networkinglisters.NetworkPolicyLister
	changed    chan struct{}

	mu     sync.Mutex // protects what follows, and orders loads
	local  map[types.UID]local
	loaded string
	told   map[string]bool // problems that have been reported
}

// local is a pod of the node.
type local struct {
	pod *corev1.Pod
	ip  netip.Addr
}

// Start watches policies, pods and namespaces, and loads first rules, which let
// no pod out. Run then follows the changes.
func Start(ctx context.Context, options Options) (*Enforcer, error) {
	factory := informers.NewSharedInformerFactory(options.Client, 0)
	core, networking := factory.Core().V1(), factory.Networking().V1()
	e := &Enforcer{
		options: options, changed: make(chan struct{}, 1), local: map[types.UID]local{}, told: map[string]bool{},
		pods: core.Pods().Lister(), namespaces: core.Namespaces().Lister(), policies: networking.NetworkPolicies().Lister(),
	}
	for _, informer := range []cache.SharedIndexInformer{core.Pods().Informer(), core.Namespaces().Informer(), networking.NetworkPolicies().Informer()} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { e.wake() },
			UpdateFunc: func(any, any) { e.wake() },
			DeleteFunc: func(any) { e.wake() },
		}); err != nil {
			return nil, fmt.Errorf("watching for what network policies depend on: %w", err)
		}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, fmt.Errorf("watching %s: %w", kind, context.Cause(ctx))
		}
	}
	return e, e.load(ctx)
}

// Run loads rules after every change, until the context ends.
func (e *Enforcer) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.changed:
		}
		if err := e.load(ctx); err != nil && ctx.Err() == nil {
			e.options.Log.Error(err, "network policies are not enforced as they are now; trying again")
			time.AfterFunc(loadRetry, e.wake)
		}
	}
}

// Admit puts rules in force for a pod that is about to start. Until then, its
// address may reach nothing.
func (e *Enforcer) Admit(ctx context.Context, pod *corev1.Pod, ip netip.Addr) error {
	e.mu.Lock()
	e.local[pod.UID] = local{pod, ip}
	e.mu.Unlock()
	return e.load(ctx)
}

// Forget ends what Admit began.
func (e *Enforcer) Forget(pod *corev1.Pod) {
	e.mu.Lock()
	delete(e.local, pod.UID)
	e.mu.Unlock()
	e.wake()
}

func (e *Enforcer) wake() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// load brings the rules up to date.
func (e *Enforcer) load(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	state, err := e.state()
	if err != nil {
		return err
	}
	ruleset, problems := Compile(state)
	e.report(problems)
	if ruleset == e.loaded {
		return nil
	}
	if err := load(ctx, ruleset); err != nil {
		return err
	}
	e.loaded = ruleset
	e.options.Log.Info("loaded the rules of network policies", "pods", len(state.Local), "policies", len(state.Policies))
	return nil
}

func (e *Enforcer) state() (State, error) {
	s := State{
		Table: "kubecluster-" + e.options.Node, Block: e.options.Block, NameService: e.options.NameService,
		Namespaces: map[string]map[string]string{},
	}
	policies, policyErr := e.policies.List(labels.Everything())
	namespaces, namespaceErr := e.namespaces.List(labels.Everything())
	pods, podErr := e.pods.List(labels.Everything())
	if err := errors.Join(policyErr, namespaceErr, podErr); err != nil {
		return s, fmt.Errorf("listing what network policies depend on: %w", err)
	}
	s.Policies = policies
	for _, namespace := range namespaces {
		s.Namespaces[namespace.Name] = namespace.Labels
	}
	for _, pod := range pods {
		ip, err := netip.ParseAddr(pod.Status.PodIP)
		if err == nil && ip.Is4() && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			s.Pods = append(s.Pods, Pod{pod.Namespace, pod.Name, pod.Labels, ip})
		}
	}
	for uid, l := range e.local {
		// Its labels may have changed since.
		if current, err := e.pods.Pods(l.pod.Namespace).Get(l.pod.Name); err == nil && current.UID == uid {
			l.pod = current
		}
		s.Local = append(s.Local, Pod{l.pod.Namespace, l.pod.Name, l.pod.Labels, l.ip})
	}
	return s, nil
}

// report tells each problem once: in an event of the policy, where its author
// looks, and in the log.
func (e *Enforcer) report(problems []Problem) {
	told := map[string]bool{}
	for _, problem := range problems {
		key := fmt.Sprint(problem.Policy.UID, problem.Policy.Generation, problem.Text)
		told[key] = true
		if !e.told[key] {
			e.warn(problem.Policy, problem.Text)
		}
	}
	e.told = told
}

func (e *Enforcer) warn(policy *networkingv1.NetworkPolicy, text string) {
	e.options.Log.Error(errors.New(text), "a network policy is not enforced as it says", "namespace", policy.Namespace, "policy", policy.Name)
	e.options.Events.Event(policy, corev1.EventTypeWarning, "NotEnforced", text)
}

// load replaces the table in one transaction: there is no moment without rules.
func load(ctx context.Context, ruleset string) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "nft", "-f", "-")
	command.Stdin = strings.NewReader(ruleset)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft refused the rules of network policies: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}
