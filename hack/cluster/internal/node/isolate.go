// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/netpolicy"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/pod"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/sandbox"
)

// nameService is the address that pods ask for names: where most clusters have
// the Service of their name servers.
var nameService = netip.MustParseAddr("10.96.0.10")

// isolated gives pods sandboxes, with the rules of network policies in force
// before anything runs in them.
type isolated struct {
	gateway  netip.Addr
	resolver string // a file
	policies *netpolicy.Enforcer
}

func isolate(ctx context.Context, options Options, client kubernetes.Interface, events record.EventRecorder, log logr.Logger) (*isolated, error) {
	if err := sandbox.Possible(); err != nil {
		return nil, err
	}
	resolver := filepath.Join(options.Dir, "resolv.conf")
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the node's directory: %w", err)
	}
	text := fmt.Sprintf("nameserver %s\noptions timeout:2 attempts:3\n", nameService)
	if err := os.WriteFile(resolver, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("writing the pods' resolver configuration: %w", err)
	}
	policies, err := netpolicy.Start(ctx, netpolicy.Options{
		Node: options.Name, Block: options.PodBlock, NameService: nameService, Client: client, Events: events, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("enforcing network policies: %w", err)
	}
	return &isolated{gateway: options.Address, resolver: resolver, policies: policies}, nil
}

// Open makes the pod's sandbox.
func (i *isolated) Open(opened *corev1.Pod, address netip.Addr) (pod.Sandbox, error) {
	ctx, cancel := context.WithTimeout(context.Background(), admitTimeout)
	defer cancel()
	if err := i.policies.Admit(ctx, opened, address); err != nil {
		return nil, err
	}
	hostname := opened.Spec.Hostname
	if hostname == "" {
		hostname = opened.Name
	}
	made, err := sandbox.Open(sandbox.Spec{Hostname: hostname, Address: address, Gateway: i.gateway, Resolver: i.resolver})
	if err != nil {
		i.policies.Forget(opened)
		return nil, err
	}
	return &podSandbox{made, func() { i.policies.Forget(opened) }}, nil
}

// podSandbox is a sandbox as runners know it.
type podSandbox struct {
	*sandbox.Sandbox
	forget func()
}

func (s *podSandbox) Start(spec process.Spec) (pod.Process, error) {
	return process.StartBy(s.Sandbox.Start, spec)
}

func (s *podSandbox) Close() {
	s.Sandbox.Close()
	s.forget()
}
