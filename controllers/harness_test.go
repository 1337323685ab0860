// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// harness drives one reconciler by hand, pass by pass, against a real API server
// and a registration service on loopback. Time passes only between passes.
type harness struct {
	t         *testing.T
	client    client.WithWatch // counts nothing and fails nothing
	r         *Reconciler
	service   *fixture.RegistrationService
	recorder  *events.FakeRecorder
	namespace string
	clock     time.Time
	// confirms is what the connector at an address reports; nil for no answer.
	confirms func(address string) config.Status
	// failQuestion is what becomes of questions to the API server; nil for an answer.
	failQuestion error

	mu     sync.Mutex // protects what follows
	writes int
	// fail decides over each write; nil lets all pass.
	fail func(n int, what string) error
	// afterWrite may turn a write that was made into an error.
	afterWrite func(n int, what string) error
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	p := apiServer(t)
	h := &harness{
		t: t, client: p.client, service: fixture.NewRegistrationService(t),
		recorder: events.NewFakeRecorder(1000), namespace: newNamespace(t, p.client, nil), clock: time.Now(),
	}
	h.r = New(Options{Client: h.intercepted(p.client), Live: p.client, Recorder: h.recorder, DefaultImage: "connector:test"})
	h.r.now = func() time.Time { return h.clock }
	h.r.renewals = h
	h.r.reports = h
	h.service.Clock(func() time.Time { return h.clock })
	return h
}

// intercepted counts writes, rehearsals and questions left out, and lets them fail.
func (h *harness) intercepted(c client.WithWatch) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			_, question := o.(*authorizationv1.LocalSubjectAccessReview)
			if len((&client.CreateOptions{}).ApplyOptions(opts).DryRun) == 0 && !question {
				return h.write(fmt.Sprintf("create %T", o), func() error { return c.Create(ctx, o, opts...) })
			}
			if question && h.failQuestion != nil {
				return h.failQuestion
			}
			return c.Create(ctx, o, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return h.write(fmt.Sprintf("apply %T", o), func() error { return c.Apply(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return h.write(fmt.Sprintf("delete %T", o), func() error { return c.Delete(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return h.write(fmt.Sprintf("update %T", o), func() error { return c.Update(ctx, o, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return h.write("update "+sub, func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
	})
}

func (h *harness) write(what string, do func() error) error {
	h.mu.Lock()
	h.writes++
	n, fail, after := h.writes, h.fail, h.afterWrite
	h.mu.Unlock()
	if fail != nil {
		if err := fail(n, what); err != nil {
			return err
		}
	}
	if err := do(); err != nil || after == nil {
		return err
	}
	return after(n, what)
}

// written is how many writes were made so far.
func (h *harness) written() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writes
}

func (h *harness) failing(f func(n int, what string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = f
}

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// give creates what a PassthroughConnector refers to: a good token and the CA.
func (h *harness) give() {
	h.t.Helper()
	h.must(h.client.Create(h.t.Context(), fixture.TokenSecretObject(h.namespace, fixture.Token(fixture.TenantID, nil))))
	h.must(h.client.Create(h.t.Context(), fixture.CAConfigMapObject(h.namespace, h.service.Authority.PEM())))
}

// create creates a PassthroughConnector named corp that the service registers.
func (h *harness) create(modify ...func(*v1alpha1.PassthroughConnector)) {
	h.t.Helper()
	modify = append([]func(*v1alpha1.PassthroughConnector){fixture.In(h.namespace), fixture.RegisteredBy(h.service)}, modify...)
	h.must(h.client.Create(h.t.Context(), fixture.New(modify...)))
}

// change updates the PassthroughConnector.
func (h *harness) change(modify func(*v1alpha1.PassthroughConnector)) {
	h.t.Helper()
	pc := h.get()
	modify(pc)
	h.must(h.client.Update(h.t.Context(), pc))
}

func (h *harness) get() *v1alpha1.PassthroughConnector {
	h.t.Helper()
	pc := &v1alpha1.PassthroughConnector{}
	h.must(h.client.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "corp"}, pc))
	return pc
}

// Renew renews with the service, whose address no suffix can be pinned for.
func (h *harness) Renew(ctx context.Context, req enrolment.RenewalRequest) (enrolment.Renewed, error) {
	req.BootstrapURL = h.service.URL
	req.AllowURL = func(string) error { return nil }
	return enrolment.Registrar{}.Renew(ctx, req)
}

// Report plays the part of a connector: it has bootstrapped with the certificate
// that the test says it has.
func (h *harness) Report(_ context.Context, address string) (config.Status, error) {
	if h.confirms == nil {
		return config.Status{}, errors.New("it does not answer on its status port")
	}
	return h.confirms(address), nil
}

// pass makes one pass and lets the time pass that it asks to wait, unless that is
// more than any retry waits for: tests that wait for more say so.
func (h *harness) pass() (ctrl.Result, error) {
	h.t.Helper()
	result, err := h.r.Reconcile(h.t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: h.namespace, Name: "corp"}})
	if result.RequeueAfter <= 2*lastRetry {
		h.clock = h.clock.Add(result.RequeueAfter)
	}
	return result, err
}

// settle makes passes until one writes nothing.
func (h *harness) settle() *v1alpha1.PassthroughConnector {
	h.t.Helper()
	for range 30 {
		before := h.written()
		_, err := h.pass()
		if err == nil && h.written() == before {
			pc := h.get()
			checkConditions(h.t, pc, pc.Status)
			return pc
		}
	}
	h.t.Fatal("thirty passes, and the last one still wrote something")
	return nil
}

// later lets the longest pause between registrations pass.
func (h *harness) later() { h.clock = h.clock.Add(2 * lastRetry) }

// ready plays the part of Kubernetes: every Deployment has a pod that is ready.
func (h *harness) ready() {
	h.t.Helper()
	var list appsv1.DeploymentList
	h.must(h.client.List(h.t.Context(), &list, client.InNamespace(h.namespace)))
	for i := range list.Items {
		d := &list.Items[i]
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, ReadyReplicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
		h.must(h.client.Status().Update(h.t.Context(), d))
	}
}

// wantCondition checks a condition's reason and part of its message.
func (h *harness) wantCondition(kind, reason, message string) {
	h.t.Helper()
	c := meta.FindStatusCondition(h.get().Status.Conditions, kind)
	if c == nil || c.Reason != reason || !contains(c.Message, message) {
		h.t.Errorf("condition %s is %+v, want reason %s and a message with %q", kind, c, reason, message)
	}
}

// children are the names and resource versions of all objects of the test.
func (h *harness) children() map[string]string {
	h.t.Helper()
	all := map[string]string{}
	for _, list := range []client.ObjectList{
		&corev1.SecretList{}, &corev1.ConfigMapList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{},
		&appsv1.DeploymentList{}, &networkingv1.NetworkPolicyList{}, &appsv1.ControllerRevisionList{}, &policyv1.PodDisruptionBudgetList{}, &v1alpha1.PassthroughConnectorList{},
	} {
		h.must(h.client.List(h.t.Context(), list, client.InNamespace(h.namespace)))
		h.must(meta.EachListItem(list, func(o runtime.Object) error {
			m, err := meta.Accessor(o)
			if err != nil {
				return err
			}
			all[fmt.Sprintf("%T/%s", o, m.GetName())] = m.GetResourceVersion()
			return nil
		}))
	}
	return all
}

// events are what was recorded since the last call.
func (h *harness) events() []string {
	var all []string
	for {
		select {
		case e := <-h.recorder.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}

func (h *harness) secret(name string) *corev1.Secret {
	h.t.Helper()
	s := &corev1.Secret{}
	h.must(h.client.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: name}, s))
	return s
}

func (h *harness) deployment(name string) *appsv1.Deployment {
	h.t.Helper()
	d := &appsv1.Deployment{}
	h.must(h.client.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: name}, d))
	return d
}

func (h *harness) remove(o client.Object, name string) {
	h.t.Helper()
	o.SetNamespace(h.namespace)
	o.SetName(name)
	h.must(h.client.Delete(h.t.Context(), o))
}

var errInjected = errors.New("injected failure")

// sameWhateverWriteFails runs a scenario without a failure, which must make atLeast
// writes, and then with each of its writes failing once, in turn: the state must
// come out the same. failAt is the number of the write to fail, from 1; 0 for none.
func sameWhateverWriteFails(t *testing.T, atLeast int, run func(t *testing.T, failAt int) (state map[string]string, writes int)) {
	t.Helper()
	clean, writes := run(t, 0)
	if writes < atLeast {
		t.Fatalf("only %d writes were counted", writes)
	}
	for n := 1; n <= writes; n++ {
		t.Run(fmt.Sprintf("write %d", n), func(t *testing.T) {
			got, _ := run(t, n)
			if diff := cmp.Diff(clean, got); diff != "" {
				t.Errorf("the state differs from that without a failure (-want +got):\n%s", diff)
			}
		})
	}
}

// What differs from run to run: the names of revisions, as the CA bundle does, and
// which certificate is renewed next and when, as keys do.
var (
	revisionName = regexp.MustCompile(`corp-[0-9a-f]{10}`)
	nextRenewal  = regexp.MustCompile(`corp-[0-9]+ is the next to be renewed, from [0-9TZ:-]+`)
)

// sameEachRun leaves out of a name or a message what differs from run to run.
func sameEachRun(text string) string {
	return nextRenewal.ReplaceAllString(revisionName.ReplaceAllString(text, "corp-revision"), "corp-N is the next to be renewed")
}

// controlledBy reports whether an object goes with the PassthroughConnector.
func controlledBy(o metav1.Object, pc *v1alpha1.PassthroughConnector) bool {
	ref := metav1.GetControllerOf(o)
	return ref != nil && ref.UID == pc.UID && ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion
}
