// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

func quantities(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func requestFor(h *harness) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: h.namespace, Name: "corp"}}
}

func TestIdentitySecretsInTheWayAreToldAndLeftAlone(t *testing.T) {
	authority := fixture.NewAuthority(t, "Test Registration CA")
	for name, tc := range map[string]struct {
		secret func(h *harness, pc *v1alpha1.PassthroughConnector) *corev1.Secret
		want   string
	}{
		"it belongs to nobody": {func(*harness, *v1alpha1.PassthroughConnector) *corev1.Secret {
			return &corev1.Secret{Data: map[string][]byte{"hello": []byte("world")}}
		}, "belongs to no controller"},
		"it belongs to something else": {func(*harness, *v1alpha1.PassthroughConnector) *corev1.Secret {
			return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "x/v1", Kind: "Other", Name: "one", UID: "1", Controller: new(true)}}}}
		}, "belongs to Other one"},
		"it belongs to an earlier resource of this name": {func(_ *harness, pc *v1alpha1.PassthroughConnector) *corev1.Secret {
			earlier := pc.DeepCopy()
			earlier.UID = "an-earlier-one"
			return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(earlier, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))}}}
		}, "waiting for Kubernetes to delete it"},
		"it is damaged": {func(_ *harness, pc *v1alpha1.PassthroughConnector) *corev1.Secret {
			return mine(pc, []byte("damaged"), []byte("damaged"))
		}, "tls.crt holds no PEM certificate"},
		"it is of another tenant": {func(h *harness, pc *v1alpha1.PassthroughConnector) *corev1.Secret {
			cert, key := authority.Pair(h.t, fixture.OtherTenant, "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5", h.clock.AddDate(0, 1, 0))
			return mine(pc, cert, key)
		}, "is for tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.give()
			h.create(fixture.Replicas(1))
			secret := tc.secret(h, h.get())
			secret.Namespace, secret.Name = h.namespace, "corp-0-identity"
			h.must(h.client.Create(t.Context(), secret))
			before := h.secret("corp-0-identity")
			h.settle()
			h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonIdentityInvalid, tc.want)
			if diff := cmp.Diff(before, h.secret("corp-0-identity")); diff != "" {
				t.Errorf("the Secret was changed (-before +after):\n%s", diff)
			}
			if calls := h.service.Calls(); calls != 0 {
				t.Errorf("the service was called %d times although the result could not be stored", calls)
			}
			h.remove(&corev1.Secret{}, "corp-0-identity")
			h.settle()
			h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "1 of 1")
		})
	}
}

// mine is an identity Secret of the resource.
func mine(pc *v1alpha1.PassthroughConnector, cert, key []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(pc, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))}},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key},
	}
}

func TestAnIdentityThatCannotBeStoredIsNotLost(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.failing(func(_ int, what string) error {
		if what == "create *v1.Secret" {
			return errInjected
		}
		return nil
	})
	if _, err := h.pass(); err != nil {
		t.Fatal(err)
	}
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonIdentityNotStored, "could not be stored")
	if !slices.ContainsFunc(h.events(), func(e string) bool {
		return strings.HasPrefix(e, "Warning IdentityNotStored connector ") && contains(e, "remove that connector from the tenant")
	}) {
		t.Error("no event tells which connector may be lost")
	}
	h.failing(nil)
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "1 of 1")
	if calls := h.service.Calls(); calls != 1 {
		t.Errorf("the service was called %d times for 1 connector", calls)
	}
}

func TestNothingIsRegisteredThatCouldNotBeStored(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.must(h.client.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "no-more-secrets"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
	}))
	quota := &corev1.ResourceQuota{}
	h.must(h.client.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "no-more-secrets"}, quota))
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{"count/secrets": resource.MustParse("0")}}
	h.must(h.client.Status().Update(t.Context(), quota))
	h.create(fixture.Replicas(1))
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonIdentityNotStored, "exceeded quota")
	if calls := h.service.Calls(); calls != 0 {
		t.Errorf("the service was called %d times", calls)
	}
	h.must(h.client.Delete(t.Context(), quota))
	h.later()
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "1 of 1")
}

func TestForeignObjectsAreNotTakenOver(t *testing.T) {
	h := newHarness(t)
	h.give()
	foreign := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "corp-0"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "other"}}},
			},
		},
	}
	h.must(h.client.Create(t.Context(), foreign))
	h.create()
	h.settle()
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonNameTaken, "Deployment corp-0 exists and belongs to no controller")
	if got := h.deployment("corp-0"); got.ResourceVersion != foreign.ResourceVersion {
		t.Error("the foreign Deployment was changed")
	}
	h.deployment("corp-1") // the other connector is made
}

func TestDriftIsMendedAndForeignFieldsAreLeft(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.settle()
	for name, tc := range map[string]struct {
		drift     func(*appsv1.Deployment)
		wantWrite bool
	}{
		"somebody scales the Deployment":    {func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](0) }, true},
		"somebody changes the image":        {func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "other" }, true},
		"somebody removes a label":          {func(d *appsv1.Deployment) { delete(d.Labels, v1alpha1.LabelInstance) }, true},
		"somebody removes the memory limit": {func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Resources.Limits = nil }, true},
		"somebody adds an annotation":       {func(d *appsv1.Deployment) { d.Annotations["note"] = "hello" }, false},
		"somebody adds a pod annotation":    {func(d *appsv1.Deployment) { d.Spec.Template.Annotations["restartedAt"] = "now" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := h.deployment("corp-0")
			want := d.DeepCopy()
			tc.drift(d)
			h.must(h.client.Update(t.Context(), d, client.FieldOwner("somebody")))
			before := h.written()
			h.settle()
			if wrote := h.written() > before; wrote != tc.wantWrite {
				t.Errorf("something was written: %t, want %t", wrote, tc.wantWrite)
			}
			got := h.deployment("corp-0")
			if tc.wantWrite {
				if diff := cmp.Diff(want.Spec, got.Spec) + cmp.Diff(want.Labels, got.Labels); diff != "" {
					t.Errorf("the drift was not mended (-want +got):\n%s", diff)
				}
			} else if diff := cmp.Diff(d.Annotations, got.Annotations) + cmp.Diff(d.Spec.Template.Annotations, got.Spec.Template.Annotations); diff != "" {
				t.Errorf("somebody's fields were changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAChangedSpecificationRollsOut(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.settle()
	h.ready()
	h.settle()
	before := h.deployment("corp-0").Spec.Template.Annotations[v1alpha1.AnnotationConfigHash]
	h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Validation.TimeoutSeconds = ptr.To[int32](5) })
	h.settle()
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonUpdating, "0 of them run the current specification")
	if h.deployment("corp-0").Spec.Template.Annotations[v1alpha1.AnnotationConfigHash] == before {
		t.Error("the pod is not replaced")
	}
	h.ready()
	h.settle()
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonAllReady, "1 of 1")
}

func TestAnInvalidSpecificationChangesNothingThatRuns(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.settle()
	h.ready()
	h.settle()
	before := h.deployment("corp-0").ResourceVersion
	h.change(func(pc *v1alpha1.PassthroughConnector) {
		forests := &pc.Spec.Validation.LDAP.Forests
		*forests = append(*forests, (*forests)[0])
	})
	h.settle()
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonConfigurationInvalid, "contoso.example")
	if h.deployment("corp-0").ResourceVersion != before {
		t.Error("the Deployment was changed")
	}
}

func TestDeletedChildrenComeBack(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.settle()
	want := h.children()
	h.remove(&appsv1.Deployment{}, "corp-0")
	h.remove(&corev1.ConfigMap{}, "corp-0")
	h.remove(&corev1.Service{}, "corp-connectors")
	h.remove(&corev1.ServiceAccount{}, "corp-connector")
	h.remove(&corev1.Secret{}, fixture.TokenSecret) // not needed any more
	delete(want, "*v1.Secret/"+fixture.TokenSecret)
	h.settle()
	got := h.children()
	for name := range want {
		if got[name] == "" {
			t.Errorf("%s did not come back", name)
		}
	}
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "1 of 1")
}
