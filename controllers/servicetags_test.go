// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
	"github.com/passthrough-dev/connector-operator/hack/policylint"
)

// tagged has a resource take the addresses of the cloud from service tags.
func tagged(tags ...v1alpha1.ServiceTag) func(*v1alpha1.PassthroughConnector) {
	return func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Egress.ServiceTags = &v1alpha1.ServiceTags{Name: fixture.ServiceTagsConfigMap, Key: fixture.ServiceTagsKey, Tags: tags}
	}
}

// putTags writes the ConfigMap with a file of the tags.
func (h *harness) putTags(change int, tags map[string][]string) {
	h.t.Helper()
	h.putFile(fixture.ServiceTagsObject(h.t, h.namespace, fixture.ServiceTags(h.t, change, tags)))
}

func (h *harness) putFile(want *corev1.ConfigMap) {
	h.t.Helper()
	if err := h.client.Create(h.t.Context(), want.DeepCopy()); err == nil {
		return
	}
	is := &corev1.ConfigMap{}
	h.must(h.client.Get(h.t.Context(), client.ObjectKeyFromObject(want), is))
	is.Data, is.BinaryData = want.Data, want.BinaryData
	h.must(h.client.Update(h.t.Context(), is))
}

// cloud are the addresses of the cloud in the policy.
func (h *harness) cloud() []string {
	h.t.Helper()
	var all []string
	for _, peer := range h.networkPolicy().Spec.Egress[1].To {
		all = append(all, peer.IPBlock.CIDR)
	}
	return all
}

func TestThePolicyFollowsTheServiceTags(t *testing.T) {
	h := newHarness(t)
	h.give()
	bus := []string{"20.2.0.0/24", "20.2.1.0/24", "2603:1000::/24"}
	h.putTags(1, map[string][]string{"Bus": bus, "Other": {"20.9.0.0/16"}})
	h.create(fixture.Replicas(1), tagged("Bus"))
	h.settle()
	h.ready()
	h.settle()
	h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressApplied, "is applied; the ports of the revocation hosts and of the directory are open")
	if diff := cmp.Diff([]string{"20.2.0.0/23"}, h.cloud()); diff != "" {
		t.Errorf("the cloud (-want +got):\n%s", diff)
	}
	for _, finding := range policylint.Egress(h.networkPolicy()) {
		t.Error(finding)
	}

	// The next week's file says the same of the tag in other words.
	before, written := h.networkPolicy().ResourceVersion, h.written()
	h.putTags(2, map[string][]string{"Bus": {"20.2.0.0/25", "20.2.0.128/25", "20.2.1.0/24"}, "Other": {"20.10.0.0/16"}})
	for range 3 {
		if _, err := h.pass(); err != nil {
			t.Fatal(err)
		}
	}
	if after := h.networkPolicy().ResourceVersion; after != before || h.written() != written {
		t.Errorf("the same addresses cost %d writes", h.written()-written)
	}

	h.putTags(3, map[string][]string{"Bus": {"20.2.0.0/24", "20.4.0.0/24"}})
	h.settle()
	if diff := cmp.Diff([]string{"20.2.0.0/24", "20.4.0.0/24"}, h.cloud()); diff != "" {
		t.Errorf("the cloud of the next file (-want +got):\n%s", diff)
	}
	if names := referredConfigMaps(h.get()); !slices.Contains(names, fixture.ServiceTagsConfigMap) {
		t.Errorf("of the ConfigMaps %v a change is noticed", names)
	}
}

// badTags are ConfigMaps that no policy can be made of; nil for none.
var badTags = map[string]struct {
	file    func(t *testing.T, namespace string) *corev1.ConfigMap
	reason  string
	message string
}{
	"no ConfigMap": {nil, v1alpha1.ReasonServiceTagsNotFound, "ConfigMap service-tags, which spec.egress.serviceTags names, does not exist: create it"},
	"no key": {func(_ *testing.T, namespace string) *corev1.ConfigMap {
		c := fixture.CAConfigMapObject(namespace, "x")
		c.Name = fixture.ServiceTagsConfigMap
		return c
	}, v1alpha1.ReasonServiceTagsNotFound, "has no key ServiceTags_Public.json"},
	"no file": {func(_ *testing.T, namespace string) *corev1.ConfigMap {
		c := fixture.CAConfigMapObject(namespace, "x")
		c.Name, c.Data = fixture.ServiceTagsConfigMap, map[string]string{fixture.ServiceTagsKey: "<html>"}
		return c
	}, v1alpha1.ReasonServiceTagsInvalid, "is of no use: it is not a file of service tags"},
	"no such tag": {func(t *testing.T, namespace string) *corev1.ConfigMap {
		t.Helper()
		return fixture.ServiceTagsObject(t, namespace, fixture.ServiceTags(t, 1, map[string][]string{"Other": {"20.0.0.0/24"}}))
	}, v1alpha1.ReasonServiceTagsInvalid, "it has no tag Bus"},
	"no address": {func(t *testing.T, namespace string) *corev1.ConfigMap {
		t.Helper()
		return fixture.ServiceTagsObject(t, namespace, fixture.ServiceTags(t, 1, map[string][]string{"Bus": {"2603:1000::/24"}}))
	}, v1alpha1.ReasonServiceTagsInvalid, "tag Bus has no IPv4 address"},
	"too many addresses": {func(t *testing.T, namespace string) *corev1.ConfigMap {
		t.Helper()
		return fixture.ServiceTagsObject(t, namespace, fixture.ServiceTags(t, 1, map[string][]string{"Bus": fixture.Scattered(0, 746)}))
	}, v1alpha1.ReasonEgressNotRenderable, "Bus (746) come to 746 blocks of addresses, and a policy holds 200: name fewer tags"},
}

func TestBadServiceTagsStartNothingAndWidenNothing(t *testing.T) {
	good := map[string][]string{"Bus": {"20.2.0.0/24"}}
	for name, tc := range badTags {
		t.Run("at first: "+name, func(t *testing.T) {
			h := newHarness(t)
			h.give()
			if tc.file != nil {
				h.putFile(tc.file(t, h.namespace))
			}
			h.create(fixture.Replicas(1), tagged("Bus"))
			h.settle()
			h.wantCondition(v1alpha1.ConditionEgressApplied, tc.reason, tc.message)
			h.wantCondition(v1alpha1.ConditionReady, tc.reason, tc.message)
			if h.networkPolicy() != nil || h.deployments() != 0 || h.service.Calls() != 0 {
				t.Errorf("policy %v, %d Deployments, %d registrations", h.networkPolicy(), h.deployments(), h.service.Calls())
			}
			if !slices.ContainsFunc(h.events(), func(e string) bool { return strings.HasPrefix(e, "Warning "+tc.reason+" ") && contains(e, tc.message) }) {
				t.Error("no event tells it")
			}
			h.putTags(2, good)
			h.settle()
			h.wantCondition(v1alpha1.ConditionEgressApplied, v1alpha1.ReasonEgressApplied, "is applied")
			if h.deployments() != 1 {
				t.Errorf("%d Deployments", h.deployments())
			}
		})
		t.Run("later: "+name, func(t *testing.T) {
			h := newHarness(t)
			h.give()
			h.putTags(1, good)
			h.create(fixture.Replicas(1), tagged("Bus"))
			h.settle()
			before := h.networkPolicy()
			if tc.file == nil {
				h.remove(&corev1.ConfigMap{}, fixture.ServiceTagsConfigMap)
			} else {
				h.putFile(tc.file(t, h.namespace))
			}
			h.settle()
			h.wantCondition(v1alpha1.ConditionEgressApplied, tc.reason, tc.message)
			if after := h.networkPolicy(); after == nil || after.ResourceVersion != before.ResourceVersion {
				t.Errorf("the policy was changed: %+v", after)
			}
			if h.deployments() != 1 {
				t.Errorf("%d Deployments", h.deployments())
			}
		})
	}
}
