// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
	"github.com/passthrough-dev/connector-operator/hack/policylint"
)

// networkPolicy is the policy of the resource; nil if there is none.
func (h *harness) networkPolicy() *networkingv1.NetworkPolicy {
	h.t.Helper()
	p := &networkingv1.NetworkPolicy{}
	err := h.client.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "corp-connectors"}, p)
	if apierrors.IsNotFound(err) {
		return nil
	}
	h.must(err)
	return p
}

func TestEgressFollowsTheSpecification(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressApplied, "the ports of the cloud and of the revocation hosts and of the directory are open to any address")
	for _, finding := range policylint.Egress(h.networkPolicy()) {
		t.Errorf("as the API server holds it: %s", finding)
	}

	h.change(func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Egress.CloudCIDRs = []v1alpha1.IPv4CIDR{"20.0.0.0/8"}
		pc.Spec.Egress.RevocationCIDRs = []v1alpha1.IPv4CIDR{"192.0.2.80/32"}
		pc.Spec.Egress.DirectoryCIDRs = []v1alpha1.IPv4CIDR{"10.0.0.10/32"}
	})
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressApplied, "NetworkPolicy corp-connectors is applied; whether the cluster's network enforces it cannot be seen from here")
	if got := h.networkPolicy().Spec.Egress[1].To[0].IPBlock.CIDR; got != "20.0.0.0/8" {
		t.Errorf("the cloud is %s", got)
	}

	h.change(func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Egress = v1alpha1.EgressSpec{Mode: v1alpha1.EgressNone}
	})
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressNotManaged, "applies no policy")
	if h.networkPolicy() != nil {
		t.Error("the policy is still there")
	}
}

func TestAPolicyThatCannotBeRenderedLeavesTheOneThatIsThere(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.settle()
	before := h.networkPolicy()
	h.change(func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Validation.LDAP.Forests[0].Servers = []v1alpha1.LDAPServer{"ldaps://[fd00::1]:636"}
	})
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressNotRenderable, "fd00::1 is an IPv6 address")
	if after := h.networkPolicy(); after == nil || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the policy was changed: %+v", after)
	}
}

// TestNoPodStartsWithoutThePolicyThatIsAskedFor covers a new resource whose policy
// cannot be made: nothing runs that would be open to everything.
func TestNoPodStartsWithoutThePolicyThatIsAskedFor(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1), func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Validation.LDAP.Forests[0].Servers = []v1alpha1.LDAPServer{"ldaps://[fd00::1]:636"}
	})
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressNotRenderable, "fd00::1 is an IPv6 address")
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonEgressNotRenderable, "fd00::1 is an IPv6 address")
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonEgressNotRenderable, "0 of 1")
	if n := h.deployments(); n != 0 || h.service.Calls() != 0 {
		t.Errorf("there are %d Deployments, and the service was called %d times", n, h.service.Calls())
	}
	h.change(func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Validation.LDAP.Forests[0].Servers = []v1alpha1.LDAPServer{"ldaps://10.0.0.10:636"}
	})
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressApplied, "is applied")
	if n := h.deployments(); n != 1 {
		t.Errorf("there are %d Deployments", n)
	}
}

// deployments is how many Deployments there are.
func (h *harness) deployments() int {
	h.t.Helper()
	var list appsv1.DeploymentList
	h.must(h.client.List(h.t.Context(), &list, client.InNamespace(h.namespace)))
	return len(list.Items)
}

func TestAPolicyOfSomebodyElseIsLeftAlone(t *testing.T) {
	for name, mode := range map[string]v1alpha1.EgressMode{"NetworkPolicy": v1alpha1.EgressNetworkPolicy, "None": v1alpha1.EgressNone} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.give()
			h.must(h.client.Create(t.Context(), &networkingv1.NetworkPolicy{
				ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "corp-connectors"},
				Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}},
			}))
			before := h.networkPolicy()
			h.create(fixture.Replicas(1), func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Egress = v1alpha1.EgressSpec{Mode: mode} })
			h.settle()
			if mode == v1alpha1.EgressNetworkPolicy {
				h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonNameTaken, "belongs to no controller")
			}
			if started, want := h.deployments() == 1, mode == v1alpha1.EgressNone; started != want {
				t.Errorf("a connector was started: %t, want %t", started, want)
			}
			if after := h.networkPolicy(); after == nil || after.ResourceVersion != before.ResourceVersion {
				t.Errorf("it was changed: %+v", after)
			}
		})
	}
}

func TestARefusedPolicyIsTold(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.failing(func(_ int, what string) error {
		if what == "apply *v1.NetworkPolicyApplyConfiguration" {
			return errInjected
		}
		return nil
	})
	for range 3 {
		if _, err := h.pass(); err == nil {
			t.Error("the pass that could not apply the policy is not tried again")
		}
	}
	if n := h.deployments(); n != 0 {
		t.Errorf("%d connectors were started without the policy", n)
	}
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressNotApplied, errInjected.Error())
	h.failing(nil)
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressApplied, "is applied")
}
