// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// credentialSpecs installs the kind of the windows-gmsa project, in its documented
// shape.
func (h *harness) credentialSpecs() {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "hack", "gmsawebhook", "deploy", "crd.yaml"))
	h.must(err)
	crd := &unstructured.Unstructured{}
	h.must(yaml.Unmarshal(data, &crd.Object))
	h.must(h.client.Create(h.t.Context(), crd))
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := h.client.Delete(ctx, crd); err != nil {
			h.t.Error(err)
		}
	})
	h.must(wait.PollUntilContextTimeout(h.t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(credentialSpecKind)
		err := h.client.List(ctx, list)
		return err == nil, client.IgnoreNotFound(ignoreNoMatch(err))
	}))
}

func ignoreNoMatch(err error) error {
	if meta.IsNoMatchError(err) {
		return nil
	}
	return err
}

// pod plays the part of a Deployment: it makes a connector's pod, with or without
// what the webhook of the windows-gmsa project puts into it.
func (h *harness) pod(deployment, contents string) {
	h.t.Helper()
	d := h.deployment(deployment)
	pod := &corev1.Pod{ObjectMeta: d.Spec.Template.ObjectMeta, Spec: d.Spec.Template.Spec}
	pod.Namespace, pod.Name = h.namespace, deployment+"-pod"
	controller := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: deployment + "-" + "77844f5f94", UID: d.UID, Controller: new(true)}
	pod.OwnerReferences = []metav1.OwnerReference{controller}
	if contents != "" {
		pod.Spec.SecurityContext.WindowsOptions.GMSACredentialSpec = &contents
	}
	h.must(h.client.Create(h.t.Context(), pod))
}

// TestCredentialSpecUsableFollowsTheCluster takes every step that an administrator
// takes, in order, and looks at what the condition asks for next.
func TestCredentialSpecUsableFollowsTheCluster(t *testing.T) {
	h := newHarness(t)
	h.give()
	const spec = "corp-gmsa"
	h.create(func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Replicas = ptr.To[int32](1)
		pc.Spec.Pod.OS = v1alpha1.OSWindows
		pc.Spec.Identity.GMSACredentialSpecNames = []string{spec}
	})
	wants := func(status metav1.ConditionStatus, reason, message string) {
		t.Helper()
		h.settle()
		h.wantCondition(v1alpha1.ConditionCredentialSpecUsable, reason, message)
		if c := meta.FindStatusCondition(h.get().Status.Conditions, v1alpha1.ConditionCredentialSpecUsable); c != nil && c.Status != status {
			t.Errorf("CredentialSpecUsable is %s for %s, want %s", c.Status, reason, status)
		}
	}
	wants(metav1.ConditionFalse, v1alpha1.ReasonCredentialSpecKindMissing, "install the CRD and the webhook")

	h.credentialSpecs()
	wants(metav1.ConditionFalse, v1alpha1.ReasonCredentialSpecNotFound, "GMSACredentialSpec "+spec)

	object := &unstructured.Unstructured{Object: map[string]any{"credspec": map[string]any{"CmsPlugins": []any{"ActiveDirectory"}}}}
	object.SetGroupVersionKind(credentialSpecKind)
	object.SetName(spec)
	h.must(h.client.Create(t.Context(), object))
	wants(metav1.ConditionFalse, v1alpha1.ReasonCredentialSpecNotAllowed, "ServiceAccount corp-connector may not use GMSACredentialSpec "+spec)

	// The right to use another one, or to read this one, is not enough.
	h.allow("other", []string{"use"}, "corp-gmsa-2")
	h.allow("read", []string{"get"}, spec)
	wants(metav1.ConditionFalse, v1alpha1.ReasonCredentialSpecNotAllowed, "resourceNames "+spec+", verbs use")

	h.allow("use", []string{"use"}, spec)
	wants(metav1.ConditionTrue, v1alpha1.ReasonCredentialSpecUsable, "")

	h.failQuestion = errors.New("the webhook authorizer is away")
	wants(metav1.ConditionUnknown, v1alpha1.ReasonCredentialSpecUnknown, "the webhook authorizer is away")
	h.failQuestion = nil
	wants(metav1.ConditionTrue, v1alpha1.ReasonCredentialSpecUsable, "")

	h.pod("corp-0", "")
	wants(metav1.ConditionFalse, v1alpha1.ReasonCredentialSpecNotExpanded, "then delete the pod")

	h.must(h.client.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "corp-0-pod"}}, client.GracePeriodSeconds(0)))
	h.pod("corp-0", `{"CmsPlugins":["ActiveDirectory"]}`)
	wants(metav1.ConditionTrue, v1alpha1.ReasonCredentialSpecUsable, "were given their contents")

	h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Identity = v1alpha1.IdentitySpec{} })
	wants(metav1.ConditionTrue, v1alpha1.ReasonCredentialSpecNotUsed, "")
}

// allow lets the pods' ServiceAccount do something with a GMSACredentialSpec.
func (h *harness) allow(name string, verbs []string, resource string) {
	h.t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: h.namespace + "-" + name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{credentialSpecKind.Group}, Resources: []string{"gmsacredentialspecs"}, ResourceNames: []string{resource}, Verbs: verbs}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: h.namespace, Name: "corp-connector"}},
	}
	h.must(h.client.Create(h.t.Context(), role))
	h.must(h.client.Create(h.t.Context(), binding))
}
