// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

const systemNamespace = "passthrough-system"

// chartRules are the rules of one of the files that the Helm chart makes roles of.
// `make generate` copies them from the generated role.
func chartRules(t *testing.T, file string) []rbacv1.PolicyRule {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "charts", "passthrough-connector-operator", "files", "rbac", file))
	if err != nil {
		t.Fatal(err)
	}
	var rules []rbacv1.PolicyRule
	if err := yaml.UnmarshalStrict(data, &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// grant gives a user exactly what the chart gives the operator: a ClusterRole, or,
// if namespaces are given, a Role in each of them and cluster-wide only what
// concerns objects that belong to no namespace.
func grant(t *testing.T, c client.Client, user string, namespaces ...string) {
	t.Helper()
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}}
	role := func(namespace string, rules []rbacv1.PolicyRule) {
		name := metav1.ObjectMeta{Namespace: namespace, Name: user}
		objects = append(objects, &rbacv1.Role{ObjectMeta: name, Rules: rules}, &rbacv1.RoleBinding{
			ObjectMeta: name, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		})
	}
	role(systemNamespace, chartRules(t, "lease.yaml"))
	namespaced, clusterWide := chartRules(t, "namespaced.yaml"), chartRules(t, "cluster.yaml")
	for _, namespace := range namespaces {
		role(namespace, namespaced)
	}
	if len(namespaces) == 0 {
		clusterWide = append(clusterWide, namespaced...)
	}
	name := metav1.ObjectMeta{Name: user}
	objects = append(objects, &rbacv1.ClusterRole{ObjectMeta: name, Rules: clusterWide}, &rbacv1.ClusterRoleBinding{
		ObjectMeta: name, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
	})
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
}

// startManager runs the operator's manager as main does, as a user who may do
// what the chart's roles say and nothing else: in all namespaces, or in some. What is not watched is not
// noticed within the test: nothing is looked at again after a while.
func startManager(t *testing.T, p plane, namespaces ...string) {
	t.Helper()
	name := strings.Join(append([]string{"operator-under-test"}, namespaces...), "-")
	user, err := p.env.AddUser(envtest.User{Name: name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	grant(t, p.client, name, namespaces...)
	again := true
	mgr, err := ctrl.NewManager(user.Config(), ctrl.Options{
		Logger: testr.NewWithOptions(t, testr.Options{Verbosity: 1}),
		Scheme: p.scheme, Cache: CacheOptions(namespaces), Metrics: server.Options{BindAddress: "0"},
		LeaderElection: true, LeaderElectionID: "operator-under-test", LeaderElectionNamespace: systemNamespace, LeaderElectionReleaseOnCancel: true,
		Controller: config.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := New(Options{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder(v1alpha1.OperatorName), DefaultImage: "connector:test"})
	r.recheck = time.Hour
	ctx, stop := context.WithCancel(t.Context())
	if err := r.SetupWithManager(ctx, mgr, namespaces); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("the manager failed: %v", err)
		}
	})
}

// eventually waits until a condition has a reason.
func eventually(t *testing.T, c client.Client, namespace, kind, reason, message string) {
	t.Helper()
	var last *metav1.Condition
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		pc := &v1alpha1.PassthroughConnector{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "corp"}, pc); err != nil {
			return false, err
		}
		last = meta.FindStatusCondition(pc.Status.Conditions, kind)
		return last != nil && last.Reason == reason && strings.Contains(last.Message, message) && last.ObservedGeneration == pc.Generation, nil
	})
	if err != nil {
		t.Fatalf("%s did not become %s with %q: %v; it is %+v", kind, reason, message, err, last)
	}
}

func TestTheOperatorNoticesChangesWithTheRightsOfItsRole(t *testing.T) {
	p := apiServer(t)
	startManager(t, p)
	h := newHarness(t) // for its service and its hands; the manager has a reconciler of its own
	c, ctx := h.client, t.Context()
	registered := func(reason, message string) {
		t.Helper()
		eventually(t, c, h.namespace, v1alpha1.ConditionRegistered, reason, message)
	}
	ready := func(reason, message string) {
		t.Helper()
		eventually(t, c, h.namespace, v1alpha1.ConditionReady, reason, message)
	}

	h.create()
	registered(v1alpha1.ReasonCABundleNotFound, "tenant-ca")
	bundle := fixture.CAConfigMapObject(h.namespace, h.service.Authority.PEM())
	h.must(c.Create(ctx, bundle))
	registered(v1alpha1.ReasonTokenSecretNotFound, fixture.TokenSecret)
	token := fixture.TokenSecretObject(h.namespace, fixture.Token(fixture.OtherTenant, nil))
	h.must(c.Create(ctx, token))
	registered(v1alpha1.ReasonTokenForOtherTenant, fixture.OtherTenant)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "corp-1-identity"}}
	h.must(c.Create(ctx, foreign))
	token.Data[fixture.TokenKey] = []byte(fixture.Token(fixture.TenantID, nil))
	h.must(c.Update(ctx, token))
	registered(v1alpha1.ReasonIdentityInvalid, "1 of 2")
	h.must(c.Delete(ctx, foreign))
	registered(v1alpha1.ReasonRegistered, "2 of 2")

	waitForDeployments(t, h, 2)
	h.ready()
	ready(v1alpha1.ReasonAllReady, "2 of 2")
	h.must(c.Delete(ctx, bundle))
	ready(v1alpha1.ReasonCABundleNotFound, "tenant-ca")
	h.must(c.Create(ctx, fixture.CAConfigMapObject(h.namespace, h.service.Authority.PEM())))
	ready(v1alpha1.ReasonAllReady, "2 of 2")

	unschedulable(h, "corp-0")
	ready(v1alpha1.ReasonPartlyReady, "corp-0: its pod cannot be scheduled: no Windows node has room")
	h.ready()
	ready(v1alpha1.ReasonAllReady, "2 of 2")

	h.scale(3)
	registered(v1alpha1.ReasonRegistered, "3 of 3")
	h.scale(1)
	waitForDeployments(t, h, 1)
	ready(v1alpha1.ReasonAllReady, "1 of 1")
	wantEvents(t, c, h.namespace, v1alpha1.ReasonTokenSecretNotFound, v1alpha1.ReasonRegistered, v1alpha1.ReasonAllReady)
}

func TestTheOperatorNoticesASignInWithTheRightsOfItsRole(t *testing.T) {
	p := apiServer(t)
	startManager(t, p)
	h := newHarness(t)
	registered := func(reason, message string) {
		t.Helper()
		eventually(t, h.client, h.namespace, v1alpha1.ConditionRegistered, reason, message)
	}
	h.service.Clock(time.Now) // the manager has no other
	h.service.DirectCodes(15*time.Minute, time.Second)
	h.must(h.client.Create(t.Context(), fixture.CAConfigMapObject(h.namespace, h.service.Authority.PEM())))
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: registrationSecret}}
	h.must(h.client.Create(t.Context(), foreign))
	h.create(fixture.Replicas(1), fixture.SignedInBy(h.service))
	registered(v1alpha1.ReasonNameTaken, registrationSecret)
	h.must(h.client.Delete(t.Context(), foreign))
	registered(v1alpha1.ReasonSignInRequired, "CODE-0001")
	h.service.Deny()
	registered(v1alpha1.ReasonSignInDenied, "delete Secret corp-registration")
	h.remove(&corev1.Secret{}, registrationSecret)
	registered(v1alpha1.ReasonSignInRequired, "CODE-0002")
	h.service.Approve()
	registered(v1alpha1.ReasonRegistered, "1 of 1")
	h.scale(2)
	registered(v1alpha1.ReasonRegistered, "2 of 2")
	wantEvents(t, h.client, h.namespace, v1alpha1.ReasonSignInRequired, v1alpha1.ReasonSignInDenied)
	h.change(func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Registration = v1alpha1.RegistrationSpec{TokenSecretRef: &v1alpha1.SecretKeyReference{Name: fixture.TokenSecret, Key: fixture.TokenKey}}
	})
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: registrationSecret}, &corev1.Secret{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		t.Errorf("the Secret with a sign-in that is not needed any more is still there: %v", err)
	}
}

// connectorPod is a pod as the Deployment's ReplicaSet would make it.
func connectorPod(d *appsv1.Deployment) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Namespace, Name: d.Name + "-5d4f-abcde", Labels: d.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: d.Name + "-5d4f", UID: "replicaset", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "connector", Image: "connector:test"}}},
	}
}

// unschedulable plays a connector whose pod finds no node.
func unschedulable(h *harness, deployment string) {
	h.t.Helper()
	d := h.deployment(deployment)
	pod := connectorPod(d)
	h.must(h.client.Create(h.t.Context(), pod))
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no Windows node has room"}}
	h.must(h.client.Status().Update(h.t.Context(), pod))
	d.Status.ReadyReplicas, d.Status.AvailableReplicas = 0, 0
	h.must(h.client.Status().Update(h.t.Context(), d))
}

// waitForDeployments waits until there are n.
func waitForDeployments(t *testing.T, h *harness, n int) {
	t.Helper()
	var list appsv1.DeploymentList
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := h.client.List(ctx, &list, client.InNamespace(h.namespace))
		return len(list.Items) == n, err
	})
	if err != nil {
		t.Fatalf("there are %d Deployments, want %d: %v", len(list.Items), n, err)
	}
}

// wantEvents waits for events of the events.k8s.io API with the reasons.
func wantEvents(t *testing.T, c client.Client, namespace string, reasons ...string) {
	t.Helper()
	seen := map[string]bool{}
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		var list eventsv1.EventList
		if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		for i := range list.Items {
			e := &list.Items[i]
			if e.Regarding.Kind == v1alpha1.Kind && e.Regarding.Name == "corp" && e.ReportingController == v1alpha1.OperatorName && e.Note != "" {
				seen[e.Reason] = true
			}
		}
		for _, reason := range reasons {
			if !seen[reason] {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		t.Errorf("events: %v; there are %v, want %v", err, seen, reasons)
	}
}

func TestTheOperatorStaysInItsNamespaces(t *testing.T) {
	p := apiServer(t)
	inside, outside := newHarness(t), newHarness(t)
	startManager(t, p, inside.namespace)
	for _, h := range []*harness{outside, inside} {
		h.give()
		h.create(fixture.Replicas(1))
	}
	eventually(t, p.client, inside.namespace, v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "1 of 1")
	waitForDeployments(t, inside, 1)
	inside.ready()
	eventually(t, p.client, inside.namespace, v1alpha1.ConditionReady, v1alpha1.ReasonAllReady, "1 of 1")
	if pc := outside.get(); len(pc.Status.Conditions) != 0 {
		t.Errorf("a resource of another namespace was worked on: %+v", pc.Status)
	}
}

func TestTheRoleAllowsNoMoreThanIsNeeded(t *testing.T) {
	p := apiServer(t)
	h := newHarness(t)
	user, err := p.env.AddUser(envtest.User{Name: "operator-under-test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	grant(t, p.client, "operator-under-test")
	c, err := client.New(user.Config(), client.Options{Scheme: p.scheme})
	if err != nil {
		t.Fatal(err)
	}
	secret := fixture.TokenSecretObject(h.namespace, "token")
	h.must(p.client.Create(t.Context(), secret))
	for what, err := range map[string]error{
		"patch a Secret":  c.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(`{}`))),
		"delete Secrets":  c.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(h.namespace)),
		"make a pod":      c.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "p"}}),
		"change a role":   c.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "r"}}),
		"make a resource": c.Create(t.Context(), fixture.New(fixture.In(h.namespace))),
		"list events":     c.List(t.Context(), &corev1.EventList{}, client.InNamespace(h.namespace)),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want it to be forbidden", what, err)
		}
	}
}
