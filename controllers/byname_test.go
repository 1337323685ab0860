// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// crdFiles are the published schemas of the policies by names.
var crdFiles = map[v1alpha1.EgressMode]string{
	v1alpha1.EgressCilium:  "cilium.io_ciliumnetworkpolicies.yaml",
	v1alpha1.EgressAntrea:  "crd.antrea.io_networkpolicies.yaml",
	v1alpha1.EgressCluster: "policy.networking.k8s.io_clusternetworkpolicies.yaml",
}

// installKind gives the cluster a kind of policy until the test ends.
func installKind(t *testing.T, kind desired.PolicyByName) {
	t.Helper()
	p := apiServer(t)
	options := envtest.CRDInstallOptions{Paths: []string{filepath.Join("testdata", "policies", crdFiles[kind.Mode])}, ErrorIfPathMissing: true, MaxTime: time.Minute}
	if _, err := envtest.InstallCRDs(p.env.Config, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := envtest.UninstallCRDs(p.env.Config, options); err != nil {
			t.Error(err)
		}
		// The API server goes on to serve the kind for a moment.
		err := wait.PollUntilContextTimeout(context.Background(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(kind.Kind)
			return noSuchKind(p.client.List(ctx, list)), nil
		})
		if err != nil {
			t.Errorf("the kind did not go: %v", err)
		}
	})
}

// byName has a resource open hosts by name.
func byName(mode v1alpha1.EgressMode) func(*v1alpha1.PassthroughConnector) {
	return func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Pod.OS = v1alpha1.OSLinux
		pc.Spec.Egress = v1alpha1.EgressSpec{Mode: mode, Ports: v1alpha1.EgressPortsDocumented, RevocationCIDRs: []v1alpha1.IPv4CIDR{"192.0.2.80/32"}}
	}
}

// policyByName is the policy of a kind; nil if there is none.
func (h *harness) policyByName(kind desired.PolicyByName) *unstructured.Unstructured {
	h.t.Helper()
	policy, err := h.r.readByName(h.t.Context(), h.get(), kind)
	if noSuchKind(err) {
		return nil
	}
	h.must(err)
	return policy
}

// opened are the things that the NetworkPolicy opens beside name servers.
func opened(p *networkingv1.NetworkPolicy) []string {
	var all []string
	for _, rule := range p.Spec.Egress[1:] {
		for _, peer := range rule.To {
			all = append(all, fmt.Sprintf("%s:%d", peer.IPBlock.CIDR, rule.Ports[0].Port.IntVal))
		}
	}
	return all
}

func TestPoliciesByName(t *testing.T) {
	for _, kind := range desired.PoliciesByName() {
		t.Run(string(kind.Mode), func(t *testing.T) {
			h := newHarness(t)
			h.give()
			h.create(fixture.Replicas(1), byName(kind.Mode))
			h.settle()
			h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonPolicyKindMissing, "the cluster has no "+string(kind.Mode))
			h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonPolicyKindMissing, "install it or choose another mode")
			if h.networkPolicy() != nil || h.deployments() != 0 || h.service.Calls() != 0 {
				t.Errorf("policy %v, %d Deployments, %d registrations", h.networkPolicy(), h.deployments(), h.service.Calls())
			}
			if result, err := h.pass(); err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > 2*recheckByName {
				t.Errorf("the kind is looked for again after %s, %v", result.RequeueAfter, err)
			}

			installKind(t, kind)
			h.settle()
			h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressApplied, fmt.Sprintf("and %s %s, which opens hosts by name; whether", kind.Mode, kind.Name(h.get())))
			if diff := cmp.Diff([]string{"192.0.2.80/32:80"}, opened(h.networkPolicy())); diff != "" || h.deployments() != 1 {
				t.Errorf("%d Deployments, and beside names the NetworkPolicy opens (-want +got):\n%s", h.deployments(), diff)
			}
			h.isQuiet()

			want := h.policyByName(kind)
			drifted := want.DeepCopy()
			h.must(unstructured.SetNestedSlice(drifted.Object, []any{}, "spec", "egress"))
			h.must(h.client.Update(t.Context(), drifted, client.FieldOwner("somebody")))
			h.settle()
			if diff := cmp.Diff(want.Object["spec"], h.policyByName(kind).Object["spec"]); diff != "" {
				t.Errorf("what somebody changed was not mended (-want +got):\n%s", diff)
			}
			h.must(h.client.Delete(t.Context(), h.policyByName(kind)))
			h.settle()
			if h.policyByName(kind) == nil {
				t.Error("a policy that somebody deleted did not come back")
			}

			h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Egress.Mode = v1alpha1.EgressNetworkPolicy })
			h.settle()
			policy := h.networkPolicy()
			if h.policyByName(kind) != nil || policy.Annotations[v1alpha1.AnnotationEgressBeside] != "" || len(opened(policy)) != 3 {
				t.Errorf("after the change of the mode there are %v and %v", h.policyByName(kind), policy)
			}
			h.change(byName(kind.Mode))
			h.settle()
			h.change(func(pc *v1alpha1.PassthroughConnector) {
				pc.Spec.Egress = v1alpha1.EgressSpec{Mode: v1alpha1.EgressNone}
			})
			h.settle()
			if h.policyByName(kind) != nil || h.networkPolicy() != nil {
				t.Errorf("in mode None there are %v and %v", h.policyByName(kind), h.networkPolicy())
			}
		})
	}
}

// isQuiet makes three passes, which must change nothing.
func (h *harness) isQuiet() {
	h.t.Helper()
	before, written := h.children(), h.written()
	for range 3 {
		if _, err := h.pass(); err != nil {
			h.t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, h.children()); diff != "" || h.written() != written {
		h.t.Errorf("%d writes, and resource versions changed (-before +after):\n%s", h.written()-written, diff)
	}
}

// TestAKindThatIsMissingNarrowsNothing chooses a mode that the cluster does not
// know: what was open by address stays open.
func TestAKindThatIsMissingNarrowsNothing(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1), byName(v1alpha1.EgressNetworkPolicy))
	h.settle()
	before := h.networkPolicy()
	h.change(byName(v1alpha1.EgressAntrea))
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonPolicyKindMissing, "install it")
	if after := h.networkPolicy(); after == nil || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the policy was changed: %+v", after)
	}
}

// TestPoliciesByNameGoOnAfterAFailureOfAnyWrite lets each write fail once while
// modes change: in the end there is what the last mode asks for and nothing else.
func TestPoliciesByNameGoOnAfterAFailureOfAnyWrite(t *testing.T) {
	for _, kind := range desired.PoliciesByName() {
		installKind(t, kind)
	}
	modes := []v1alpha1.EgressMode{v1alpha1.EgressCilium, v1alpha1.EgressCluster, v1alpha1.EgressAntrea}
	run := func(t *testing.T, failAt int) (state map[string]string, writes int) {
		t.Helper()
		h := newHarness(t)
		h.give()
		h.failing(func(n int, what string) error {
			if n == failAt {
				t.Logf("write %d fails: %s", n, what)
				return errInjected
			}
			return nil
		})
		h.create(fixture.Replicas(1), byName(modes[0]))
		h.settleThroughErrors()
		for _, mode := range modes[1:] {
			h.change(byName(mode))
			h.settleThroughErrors()
		}
		state = map[string]string{"NetworkPolicy": fmt.Sprint(opened(h.networkPolicy()), h.networkPolicy().Annotations[v1alpha1.AnnotationEgressBeside])}
		for _, kind := range desired.PoliciesByName() {
			state[string(kind.Mode)] = fmt.Sprint(h.policyByName(kind) != nil)
		}
		for _, c := range h.get().Status.Conditions {
			state[c.Type] = c.Reason
		}
		return state, h.written()
	}
	sameWhateverWriteFails(t, 10, run)
}

func TestAForeignPolicyByNameIsLeftAlone(t *testing.T) {
	for _, kind := range desired.PoliciesByName() {
		t.Run(string(kind.Mode), func(t *testing.T) {
			installKind(t, kind)
			h := newHarness(t)
			h.give()
			stranger := kind.Render(fixture.Connector(fixture.In(h.namespace)), nil)
			stranger.SetOwnerReferences(nil)
			stranger.SetAnnotations(nil)
			h.must(h.client.Create(t.Context(), stranger))
			t.Cleanup(func() { _ = h.client.Delete(context.Background(), stranger) })
			h.create(fixture.Replicas(1), byName(kind.Mode))
			before := h.policyByName(kind)
			h.settle()
			h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonNameTaken, "exists and")
			if after := h.policyByName(kind); after.GetResourceVersion() != before.GetResourceVersion() || h.deployments() != 0 {
				t.Errorf("%d Deployments, and the policy is %v", h.deployments(), after)
			}
		})
	}
}

// TestPoliciesOfNoNamespaceGoWithTheirResource covers what no garbage collector
// does: a resource that goes while the operator runs, and one that went before.
func TestPoliciesOfNoNamespaceGoWithTheirResource(t *testing.T) {
	kind, _ := byNameKind(v1alpha1.EgressCluster)
	installKind(t, kind)
	for name, gone := range map[string]func(h *harness){
		"while the operator runs": func(h *harness) { _, err := h.pass(); h.must(err) },
		"before it starts":        func(h *harness) { h.must(h.r.Sweep(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			h, other := newHarness(t), newHarness(t)
			for _, each := range []*harness{h, other} {
				each.give()
				each.create(fixture.Replicas(1), byName(v1alpha1.EgressCluster))
				each.settle()
			}
			key := client.ObjectKey{Name: kind.Name(h.get())}
			h.must(h.client.Delete(t.Context(), h.get()))
			gone(h)
			policy := &unstructured.Unstructured{}
			policy.SetGroupVersionKind(kind.Kind)
			if err := h.client.Get(t.Context(), key, policy); !apierrors.IsNotFound(err) {
				t.Errorf("it is still there: %v", err)
			}
			if other.policyByName(kind) == nil {
				t.Error("the policy of another resource went, too")
			}
		})
	}
}

func TestAPolicyThatTheOperatorMayNotWriteIsTold(t *testing.T) {
	kind, _ := byNameKind(v1alpha1.EgressAntrea)
	h := newHarness(t)
	h.r.live = interceptor.NewClient(h.client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if o.GetObjectKind().GroupVersionKind() == kind.Kind {
				return apierrors.NewForbidden(schema.GroupResource{Group: kind.Kind.Group, Resource: "networkpolicies"}, key.Name, errInjected)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	h.give()
	h.create(fixture.Replicas(1), byName(kind.Mode))
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressNotApplied, "value rbac.egressPolicies of the chart")
	if h.deployments() != 0 {
		t.Errorf("%d Deployments", h.deployments())
	}
	if !strings.Contains(strings.Join(h.events(), "\n"), "Warning NotApplied") {
		t.Error("no event tells it")
	}
}

// TestPoliciesByNameNeedWhatTheChartAllowsThem goes through all that is done with
// such a policy as a user who may do what the chart allows if it is asked to.
func TestPoliciesByNameNeedWhatTheChartAllowsThem(t *testing.T) {
	p := apiServer(t)
	const user = "operator-with-policies"
	grant(t, p.client, user)
	allowed := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user + "-egress"}, Rules: chartRules(t, "egress_policies.yaml")}
	h := newHarness(t)
	h.must(h.client.Create(t.Context(), allowed))
	h.must(h.client.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: allowed.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: allowed.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}))
	config := rest.CopyConfig(p.env.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	limited, err := client.NewWithWatch(config, client.Options{Scheme: p.scheme})
	h.must(err)
	for _, kind := range desired.PoliciesByName() {
		installKind(t, kind)
	}
	h.r.client, h.r.live = h.intercepted(limited), limited
	h.give()
	h.create(fixture.Replicas(1), byName(v1alpha1.EgressCilium))
	for _, kind := range desired.PoliciesByName() {
		h.change(byName(kind.Mode))
		h.settle()
		h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressApplied, string(kind.Mode))
	}
	cluster, _ := byNameKind(v1alpha1.EgressCluster)
	gone := h.policyByName(cluster)
	h.must(h.client.Delete(t.Context(), h.get()))
	if _, err := h.pass(); err != nil {
		t.Fatal(err)
	}
	if err := h.client.Get(t.Context(), client.ObjectKeyFromObject(gone), gone); !apierrors.IsNotFound(err) {
		t.Errorf("the policy of no namespace is still there: %v", err)
	}
}
