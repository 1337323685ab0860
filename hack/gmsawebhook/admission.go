// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"reflect"

	admissionv1 "k8s.io/api/admission/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

var credentialSpecKind = schema.GroupVersionKind{Group: "windows.k8s.io", Version: "v1", Kind: "GMSACredentialSpec"}

// hostnameLength is what a NetBIOS name may have.
const hostnameLength = 15

// webhook decides about pods by the documented rules of the windows-gmsa project.
type webhook struct {
	client         client.Client // uncached: the answer is that of the moment
	decoder        admission.Decoder
	randomHostname bool
}

func newWebhook(c client.Client, scheme *runtime.Scheme, randomHostname bool) *webhook {
	return &webhook{client: c, decoder: admission.NewDecoder(scheme), randomHostname: randomHostname}
}

// refusal is why a pod is not admitted, with the status that the rules give it.
type refusal struct {
	code    int32
	message string
}

func (r *refusal) Error() string { return r.message }

func (r *refusal) response() admission.Response { return admission.Errored(r.code, r) }

// windowsOptions are the options of the pod and of its containers, under what
// messages call them. Those of init and ephemeral containers are not among them:
// the rules overlook them, and so must a stand-in.
func windowsOptions(pod *corev1.Pod) iter.Seq2[string, *corev1.WindowsSecurityContextOptions] {
	return func(yield func(string, *corev1.WindowsSecurityContextOptions) bool) {
		if s := pod.Spec.SecurityContext; s != nil && s.WindowsOptions != nil && !yield("pod", s.WindowsOptions) {
			return
		}
		for i := range pod.Spec.Containers {
			c := &pod.Spec.Containers[i]
			if s := c.SecurityContext; s != nil && s.WindowsOptions != nil && !yield("container "+c.Name, s.WindowsOptions) {
				return
			}
		}
	}
}

// mutate gives a new pod the contents of the GMSACredentialSpecs that it names,
// and a host name of its own if it has none. Contents that are there stay:
// whether they are right is for validate to say.
func (w *webhook) mutate(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Create {
		return admission.Allowed("")
	}
	pod, err := w.decode(req.Object)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	named := false
	for _, options := range windowsOptions(pod) {
		if options.GMSACredentialSpecName == nil {
			continue
		}
		named = true
		if options.GMSACredentialSpec != nil {
			continue
		}
		contents, refused := w.contents(ctx, *options.GMSACredentialSpecName)
		if refused != nil {
			return refused.response()
		}
		options.GMSACredentialSpec = new(string(contents))
	}
	if !named {
		return admission.Allowed("")
	}
	if w.randomHostname && pod.Spec.Hostname == "" {
		pod.Spec.Hostname = string(uuid.NewUUID())[:hostnameLength]
	}
	changed, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, changed)
}

// validate refuses a new pod whose ServiceAccount may not use what it names, or
// whose contents are not those of the object, and a change of either later on.
func (w *webhook) validate(ctx context.Context, req admission.Request) admission.Response {
	pod, err := w.decode(req.Object)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	var refused *refusal
	switch req.Operation {
	case admissionv1.Create:
		refused = w.validateNew(ctx, req.Namespace, pod)
	case admissionv1.Update:
		old, err := w.decode(req.OldObject)
		if err != nil {
			return admission.Errored(http.StatusBadRequest, err)
		}
		refused = validateChange(old, pod)
	case admissionv1.Delete, admissionv1.Connect:
	}
	if refused != nil {
		return refused.response()
	}
	return admission.Allowed("")
}

func (w *webhook) validateNew(ctx context.Context, namespace string, pod *corev1.Pod) *refusal {
	for where, options := range windowsOptions(pod) {
		name, given := options.GMSACredentialSpecName, options.GMSACredentialSpec
		if name == nil {
			if given != nil {
				return &refusal{http.StatusUnprocessableEntity, fmt.Sprintf("%s has the contents of a cred spec and does not name it", where)}
			}
			continue
		}
		if refused := w.allowed(ctx, namespace, pod.Spec.ServiceAccountName, *name); refused != nil {
			return refused
		}
		if given == nil {
			continue // it was not mutated; nothing wrong is given to it
		}
		contents, refused := w.contents(ctx, *name)
		if refused != nil {
			return refused
		}
		if !sameJSON(contents, []byte(*given)) {
			return &refusal{http.StatusUnprocessableEntity, fmt.Sprintf("the contents that %s has are not those of cred spec %s", where, *name)}
		}
	}
	return nil
}

// validateChange holds the pod against what the pod was created with, place by place.
func validateChange(old, pod *corev1.Pod) *refusal {
	type account struct{ name, contents string }
	accounts := func(pod *corev1.Pod) map[string]account {
		all := map[string]account{}
		for where, options := range windowsOptions(pod) {
			if a := (account{ptr.Deref(options.GMSACredentialSpecName, ""), ptr.Deref(options.GMSACredentialSpec, "")}); a != (account{}) {
				all[where] = a
			}
		}
		return all
	}
	if !maps.Equal(accounts(old), accounts(pod)) {
		return &refusal{http.StatusForbidden, "the cred specs of a pod cannot be changed"}
	}
	return nil
}

// decode reads a pod of an admission request.
func (w *webhook) decode(raw runtime.RawExtension) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := w.decoder.DecodeRaw(raw, pod); err != nil {
		return nil, fmt.Errorf("reading the pod: %w", err)
	}
	return pod, nil
}

// contents reads what a GMSACredentialSpec holds, as JSON.
func (w *webhook) contents(ctx context.Context, name string) ([]byte, *refusal) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(credentialSpecKind)
	switch err := w.client.Get(ctx, client.ObjectKey{Name: name}, object); {
	case apierrors.IsNotFound(err):
		return nil, &refusal{http.StatusNotFound, fmt.Sprintf("cred spec %s does not exist", name)}
	case err != nil:
		return nil, &refusal{http.StatusInternalServerError, fmt.Sprintf("cred spec %s could not be read: %v", name, err)}
	}
	contents, err := json.Marshal(object.Object["credspec"])
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, fmt.Sprintf("cred spec %s cannot be written as JSON: %v", name, err)}
	}
	return contents, nil
}

// allowed asks whether the pod's ServiceAccount, not whoever creates the pod, has
// the verb "use" on the object.
func (w *webhook) allowed(ctx context.Context, namespace, account, name string) *refusal {
	if account == "" {
		account = "default"
	}
	review := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}, Spec: authorizationv1.SubjectAccessReviewSpec{
		User:   "system:serviceaccount:" + namespace + ":" + account,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: "use", Group: credentialSpecKind.Group, Version: credentialSpecKind.Version, Resource: "gmsacredentialspecs", Name: name,
		},
	}}
	if err := w.client.Create(ctx, review); err != nil {
		return &refusal{http.StatusInternalServerError, fmt.Sprintf("whether service account %s may use cred spec %s could not be found out: %v", account, name, err)}
	}
	if !review.Status.Allowed {
		return &refusal{http.StatusForbidden, fmt.Sprintf("service account %s is not authorized to use cred spec %s", account, name)}
	}
	return nil
}

// sameJSON tells whether two texts mean the same, whatever their spelling.
func sameJSON(a, b []byte) bool {
	var left, right any
	return json.Unmarshal(a, &left) == nil && json.Unmarshal(b, &right) == nil && reflect.DeepEqual(left, right)
}
