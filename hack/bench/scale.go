// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

const (
	resources = 100
	replicas  = 3
	// tenants share the resources out: a tenant takes at most 40 agents, and one has
	// those of the warm-up, too.
	tenants = 9

	// lookEvery is how often both sides are looked at, so that looking costs both the
	// same.
	lookEvery = 500 * time.Millisecond
	// quietFor is how long the operator is watched after everything is ready.
	quietFor = 45 * time.Second
	// patience bounds either side.
	patience = 15 * time.Minute

	baselineNamespace = "kubectl-alone"
	warmUpNamespace   = "warm-up"
	// podAddress is the address of every pod of the stub node: loopback, so that
	// nothing the operator asks leaves this machine.
	podAddress = "127.251.0.1"
)

// measurement is one run of both sides.
type measurement struct {
	baseline, operator time.Duration
	// baselineApply and operatorApply are the parts that kubectl took.
	baselineApply, operatorApply time.Duration
	converging, quiet            requests
	peak                         float64
}

// stage is where the measurement happens.
type stage struct {
	bed     *testbed.Testbed
	client  client.Client
	metrics string // address of the operator's metrics
	tenants []*testbed.Tenant
}

// scale measures how the operator copes with many resources.
func scale(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "bench-scale-")
	if err != nil {
		return fmt.Errorf("making a folder for the measurement: %w", err)
	}
	defer os.RemoveAll(dir)
	say := func(what string) { fmt.Fprintln(os.Stderr, what+"...") }
	bed, err := testbed.Start(ctx, testbed.Options{Dir: dir, Progress: say, ClusterArgs: []string{"--node", "linux=0", "--node", "windows=0"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Stop()) }()
	s, operator, err := prepare(ctx, bed)
	if err != nil {
		return err
	}
	say("measuring: first what kubectl alone takes, then the operator")
	m, err := s.measure(ctx, operator.PID())
	if err != nil {
		return err
	}
	m.print()
	return nil
}

// prepare starts node, tenants and operator, and lets the operator work once, so
// that neither side pays for what a control plane does for the first time.
func prepare(ctx context.Context, bed *testbed.Testbed) (*stage, *testbed.Process, error) {
	config, err := clientcmd.BuildConfigFromFlags("", bed.Kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the cluster's credentials: %w", err)
	}
	config.QPS, config.Burst = 1000, 1000
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, nil, fmt.Errorf("registering API types: %w", err)
	}
	s := &stage{bed: bed}
	if s.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, nil, fmt.Errorf("making a client: %w", err)
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("making a client: %w", err)
	}
	if err := errors.Join(serveReport(ctx, podAddress), startStubNode(ctx, typed, podAddress)); err != nil {
		return nil, nil, err
	}
	for i := range tenants {
		tenant, err := bed.StartTenant(ctx, fmt.Sprintf("tenant-%d", i), tenantID(i))
		if err != nil {
			return nil, nil, err
		}
		s.tenants = append(s.tenants, tenant)
		if err := s.prepareNamespace(ctx, tenantNamespace(i), tenant); err != nil {
			return nil, nil, err
		}
	}
	if err := s.prepareNamespace(ctx, warmUpNamespace, s.tenants[0]); err != nil {
		return nil, nil, err
	}
	if _, err := bed.Kubectl(ctx, nil, "create", "namespace", baselineNamespace); err != nil {
		return nil, nil, err
	}
	if _, err := bed.Kubectl(ctx, nil, "apply", "--server-side", "-k", "config/crd"); err != nil {
		return nil, nil, err
	}
	if _, err := bed.Kubectl(ctx, nil, "wait", "--for=condition=Established", "--timeout=60s", "crd/passthroughconnectors.identity.passthrough.dev"); err != nil {
		return nil, nil, err
	}
	if s.metrics, err = freeAddress(ctx); err != nil {
		return nil, nil, err
	}
	operator, err := bed.StartOperator("--metrics-bind-address="+s.metrics, "--health-probe-bind-address=0", "--connector-image="+testbed.ConnectorImage)
	if err != nil {
		return nil, nil, err
	}
	if err := s.apply(ctx, s.resource(warmUpNamespace, "corp", 0)); err != nil {
		return nil, nil, err
	}
	return s, operator, s.until(ctx, "the first resource is ready", func(ctx context.Context) (int, error) { return s.connectorsReady(ctx, 1) })
}

func (s *stage) prepareNamespace(ctx context.Context, namespace string, tenant *testbed.Tenant) error {
	token, err := tenant.Token(ctx, testbed.TokenRequest{})
	if err != nil {
		return err
	}
	own := s.bed.Tenant
	s.bed.Tenant = tenant // whose CA the namespace trusts
	defer func() { s.bed.Tenant = own }()
	return s.bed.PrepareNamespace(ctx, namespace, token)
}

func tenantID(i int) string        { return fmt.Sprintf("6f5e4d3c-2b1a-4908-8716-25344352%04d", i) }
func tenantNamespace(i int) string { return fmt.Sprintf("tenant-%d", i) }

// freeAddress finds a free port of loopback.
func freeAddress(ctx context.Context) (string, error) {
	var listening net.ListenConfig
	l, err := listening.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// resource is the sample, for one of the tenants.
func (s *stage) resource(namespace, name string, tenant int) any {
	sample, err := s.bed.Sample(namespace)
	if err != nil {
		panic(err) // a file of the repository, read before
	}
	sample["metadata"].(map[string]any)["name"] = name
	spec := sample["spec"].(map[string]any)
	spec["tenantID"], spec["replicas"] = tenantID(tenant), replicas
	spec["service"].(map[string]any)["proxyURL"] = s.tenants[tenant].Proxy
	delete(spec, "identity") // no gMSA: there is no such kind here
	return sample
}

// apply applies objects as a user does: one file, one kubectl.
func (s *stage) apply(ctx context.Context, objects ...any) error {
	var documents []string
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			return fmt.Errorf("encoding what is to be applied: %w", err)
		}
		documents = append(documents, string(data))
	}
	cmd := exec.CommandContext(ctx, s.bed.KubectlPath(), "--kubeconfig="+s.bed.Kubeconfig, "apply", "--server-side", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.Join(documents, "---\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl apply: %w\n%s", err, out)
	}
	return nil
}

// until looks until nothing is missing any more.
func (s *stage) until(ctx context.Context, what string, missing func(context.Context) (int, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		n, err := missing(ctx)
		if err != nil {
			return fmt.Errorf("waiting until %s: %w", what, err)
		}
		if n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w; %d are missing", what, ctx.Err(), n)
		case <-tick.C:
		}
	}
}

// connectorsReady counts how many resources of want are not Ready.
func (s *stage) connectorsReady(ctx context.Context, want int) (missing int, err error) {
	var list v1alpha1.PassthroughConnectorList
	if err := s.client.List(ctx, &list); err != nil {
		return 0, err
	}
	for i := range list.Items {
		pc := &list.Items[i]
		c := meta.FindStatusCondition(pc.Status.Conditions, v1alpha1.ConditionReady)
		if c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == pc.Generation {
			want--
		}
	}
	return want, nil
}

// deploymentsReady counts how many Deployments of a namespace are not available.
func (s *stage) deploymentsReady(ctx context.Context, namespace string, want int) (missing int, err error) {
	var list appsv1.DeploymentList
	if err := s.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return 0, err
	}
	for i := range list.Items {
		d := &list.Items[i]
		if d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 1 && d.Status.AvailableReplicas == 1 {
			want--
		}
	}
	return want, nil
}

// sameDeployments are Deployments as the operator made one, with names and labels
// of their own, so that the operator does not take them for its.
func (s *stage) sameDeployments(ctx context.Context) ([]any, error) {
	var made appsv1.DeploymentList
	if err := s.client.List(ctx, &made, client.InNamespace(warmUpNamespace)); err != nil {
		return nil, fmt.Errorf("listing the operator's Deployments: %w", err)
	}
	if len(made.Items) == 0 {
		return nil, errors.New("the operator made no Deployment")
	}
	template := &made.Items[0]
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: baselineNamespace, Name: template.Spec.Template.Spec.ServiceAccountName}}
	if err := s.client.Create(ctx, account); err != nil {
		return nil, fmt.Errorf("making the pods' service account: %w", err)
	}
	var all []any
	for i := range resources * replicas {
		name := fmt.Sprintf("alone-%d", i)
		labels := map[string]string{v1alpha1.LabelApp: "alone", v1alpha1.LabelInstance: name}
		d := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, Spec: *template.Spec.DeepCopy()}
		d.Namespace, d.Name, d.Labels = baselineNamespace, name, labels
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		d.Spec.Template.Labels = labels
		all = append(all, d)
	}
	return all, nil
}

func (s *stage) measure(ctx context.Context, operator int) (m measurement, err error) {
	deployments, err := s.sameDeployments(ctx)
	if err != nil {
		return m, err
	}
	m.baselineApply, m.baseline, err = s.timed(ctx, deployments, "the Deployments are available", func(ctx context.Context) (int, error) {
		return s.deploymentsReady(ctx, baselineNamespace, len(deployments))
	})
	if err != nil {
		return m, err
	}
	// Neither side works beside what the other left.
	if _, err := s.bed.Kubectl(ctx, nil, "delete", "namespace", baselineNamespace, "--wait", "--timeout=4m"); err != nil {
		return m, err
	}
	before, err := countRequests(ctx, s.metrics)
	if err != nil {
		return m, err
	}
	var connectors []any
	for i := range resources {
		connectors = append(connectors, s.resource(tenantNamespace(i%tenants), fmt.Sprintf("corp-%d", i), i%tenants))
	}
	m.operatorApply, m.operator, err = s.timed(ctx, connectors, "the resources are ready", func(ctx context.Context) (int, error) {
		return s.connectorsReady(ctx, resources+1)
	})
	if err != nil {
		return m, err
	}
	ready, err := countRequests(ctx, s.metrics)
	if err != nil {
		return m, err
	}
	m.converging = ready.since(before)
	if m.quiet, err = s.steady(ctx); err != nil {
		return m, err
	}
	m.peak, err = peakMemory(operator)
	return m, err
}

// timed applies objects and waits; it returns how long kubectl took, and how long
// all of it.
func (s *stage) timed(ctx context.Context, objects []any, what string, missing func(context.Context) (int, error)) (apply, all time.Duration, err error) {
	began := time.Now()
	if err := s.apply(ctx, objects...); err != nil {
		return 0, 0, err
	}
	apply = time.Since(began)
	err = s.until(ctx, what, missing)
	return apply, time.Since(began), err
}

// rolledOut counts how many resources of want have not settled: a connector counts
// as rolled out only some time after it is ready.
func (s *stage) rolledOut(ctx context.Context, want int) (missing int, err error) {
	var list v1alpha1.PassthroughConnectorList
	if err := s.client.List(ctx, &list); err != nil {
		return 0, err
	}
	for i := range list.Items {
		if meta.IsStatusConditionTrue(list.Items[i].Status.Conditions, v1alpha1.ConditionRolledOut) {
			want--
		}
	}
	return want, nil
}

// steady is what the operator asks of the API server once everything is rolled out
// and while nothing changes. Events that are on their way at the beginning are
// waited for.
func (s *stage) steady(ctx context.Context) (requests, error) {
	if err := s.until(ctx, "everything is rolled out", func(ctx context.Context) (int, error) { return s.rolledOut(ctx, resources+1) }); err != nil {
		return nil, err
	}
	var counts [2]requests
	for i, wait := range []time.Duration{10 * time.Second, quietFor} {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		var err error
		if counts[i], err = countRequests(ctx, s.metrics); err != nil {
			return nil, err
		}
	}
	return counts[1].since(counts[0]), nil
}

func (m measurement) print() {
	fmt.Printf("%d PassthroughConnectors of %d replicas, from kubectl apply until all are Ready (%d tenants; pods on a stub node that runs nothing):\n\n", resources, replicas, tenants)
	row := func(name string, all, apply time.Duration) {
		fmt.Printf("  %-42s %7.1f s  (kubectl apply: %.1f s)\n", name, all.Seconds(), apply.Seconds())
	}
	row(fmt.Sprintf("the same %d Deployments by kubectl alone", resources*replicas), m.baseline, m.baselineApply)
	row("the operator, registrations included", m.operator, m.operatorApply)
	fmt.Printf("\n  ratio  %.2f x the time of kubectl alone\n", m.operator.Seconds()/m.baseline.Seconds())
	fmt.Printf("  API requests for each resource: %.1f, of them %.1f reads\n", (m.converging.reads()+m.converging.writes())/resources, m.converging.reads()/resources)
	fmt.Printf("  steady state, %.0f s: %.0f writes, %.0f reads and watches\n", quietFor.Seconds(), m.quiet.writes(), m.quiet.reads())
	fmt.Printf("  the operator's peak memory: %.0f MiB\n", m.peak)
}
