// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	contentsA = `{"CmsPlugins":["ActiveDirectory"],"DomainJoinConfig":{"MachineAccountName":"a"}}`
	respeltA  = "{\n \"DomainJoinConfig\": {\"MachineAccountName\": \"a\"}, \"CmsPlugins\": [\"ActiveDirectory\"]}"
)

// newTestWebhook knows the GMSACredentialSpec "a", which the ServiceAccount
// "connector" of the namespace "pods" may use, and nobody else.
func newTestWebhook(t *testing.T, randomHostname bool) *webhook {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{}}
	if err := json.Unmarshal([]byte(`{"credspec":`+contentsA+`}`), &object.Object); err != nil {
		t.Fatal(err)
	}
	object.SetGroupVersionKind(credentialSpecKind)
	object.SetName("a")
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(object).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			review, ok := o.(*authorizationv1.LocalSubjectAccessReview)
			if !ok {
				return errors.New("the webhook creates nothing but questions")
			}
			asked := review.Spec.ResourceAttributes
			review.Status.Allowed = review.Namespace == "pods" && asked.Namespace == "pods" &&
				review.Spec.User == "system:serviceaccount:pods:connector" && asked.Verb == "use" &&
				asked.Group == "windows.k8s.io" && asked.Resource == "gmsacredentialspecs" && asked.Name == "a"
			return nil
		},
	}).Build()
	return newWebhook(c, scheme, randomHostname)
}

func accountOptions(name, contents string) *corev1.WindowsSecurityContextOptions {
	o := &corev1.WindowsSecurityContextOptions{}
	if name != "" {
		o.GMSACredentialSpecName = &name
	}
	if contents != "" {
		o.GMSACredentialSpec = &contents
	}
	return o
}

// podWith is a pod of the ServiceAccount that may, with an init container and a
// container.
func podWith(change func(*corev1.PodSpec)) *corev1.Pod {
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		ServiceAccountName: "connector",
		SecurityContext:    &corev1.PodSecurityContext{},
		InitContainers:     []corev1.Container{{Name: "prepare", SecurityContext: &corev1.SecurityContext{}}},
		Containers:         []corev1.Container{{Name: "connector", SecurityContext: &corev1.SecurityContext{}}},
	}}
	change(&pod.Spec)
	return pod
}

func onPod(name, contents string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.SecurityContext.WindowsOptions = accountOptions(name, contents) }
}

func onContainer(name, contents string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		s.Containers[0].SecurityContext.WindowsOptions = accountOptions(name, contents)
	}
}

func onInitContainer(name, contents string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		s.InitContainers[0].SecurityContext.WindowsOptions = accountOptions(name, contents)
	}
}

func request(t *testing.T, operation admissionv1.Operation, pod, old *corev1.Pod) admission.Request {
	t.Helper()
	raw := func(p *corev1.Pod) runtime.RawExtension {
		if p == nil {
			return runtime.RawExtension{}
		}
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return runtime.RawExtension{Raw: data}
	}
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Namespace: "pods", Operation: operation, Object: raw(pod), OldObject: raw(old)}}
}

func TestANewPodIsGivenWhatItNames(t *testing.T) {
	for name, tc := range map[string]struct {
		pod           func(*corev1.PodSpec)
		wantPod       string // contents at the pod's level
		wantMain      string // and at the container's
		wantUntouched bool
	}{
		"named for the pod":            {pod: onPod("a", ""), wantPod: contentsA},
		"named for a container":        {pod: onContainer("a", ""), wantMain: contentsA},
		"with contents already":        {pod: onPod("a", respeltA), wantPod: respeltA},
		"named for an init container":  {pod: onInitContainer("a", ""), wantUntouched: true},
		"naming nothing":               {pod: func(*corev1.PodSpec) {}, wantUntouched: true},
		"with contents without a name": {pod: onPod("", contentsA), wantPod: contentsA, wantUntouched: true},
		"with another Windows setting": {pod: func(s *corev1.PodSpec) {
			s.SecurityContext.WindowsOptions = &corev1.WindowsSecurityContextOptions{RunAsUserName: new("x")}
		}, wantUntouched: true},
		"without any security contexts": {pod: func(s *corev1.PodSpec) { s.SecurityContext, s.Containers[0].SecurityContext = nil, nil }, wantUntouched: true},
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, admissionv1.Create, podWith(tc.pod), nil)
			resp := newTestWebhook(t, true).mutate(t.Context(), req)
			if !resp.Allowed {
				t.Fatalf("refused: %+v", resp.Result)
			}
			if (len(resp.Patches) == 0) != tc.wantUntouched {
				t.Fatalf("patches %v, want none: %v", resp.Patches, tc.wantUntouched)
			}
			pod := patched(t, req, resp)
			if o := ofPod(pod.Spec.SecurityContext); ptr.Deref(o.GMSACredentialSpec, "") != tc.wantPod {
				t.Errorf("the pod has %q, want %q", ptr.Deref(o.GMSACredentialSpec, ""), tc.wantPod)
			}
			var main corev1.WindowsSecurityContextOptions
			if s := pod.Spec.Containers[0].SecurityContext; s != nil && s.WindowsOptions != nil {
				main = *s.WindowsOptions
			}
			if got := ptr.Deref(main.GMSACredentialSpec, ""); got != tc.wantMain {
				t.Errorf("the container has %q, want %q", got, tc.wantMain)
			}
			if s := pod.Spec.InitContainers[0].SecurityContext; s.WindowsOptions != nil && s.WindowsOptions.GMSACredentialSpec != nil {
				t.Errorf("the init container was given contents: the rules overlook it")
			}
		})
	}
}

func ofPod(s *corev1.PodSecurityContext) corev1.WindowsSecurityContextOptions {
	if s == nil {
		return corev1.WindowsSecurityContextOptions{}
	}
	return ptr.Deref(s.WindowsOptions, corev1.WindowsSecurityContextOptions{})
}

// patched is the pod as the API server makes it of the answer.
func patched(t *testing.T, req admission.Request, resp admission.Response) *corev1.Pod {
	t.Helper()
	operations, err := json.Marshal(resp.Patches)
	if err != nil {
		t.Fatal(err)
	}
	data := req.Object.Raw
	if len(resp.Patches) > 0 {
		patch, err := jsonpatch.DecodePatch(operations)
		if err != nil {
			t.Fatal(err)
		}
		if data, err = patch.Apply(data); err != nil {
			t.Fatal(err)
		}
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(data, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestHostNames(t *testing.T) {
	named := func(hostname string) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { onPod("a", "")(s); s.Hostname = hostname }
	}
	hostname := func(random bool, change func(*corev1.PodSpec)) string {
		req := request(t, admissionv1.Create, podWith(change), nil)
		return patched(t, req, newTestWebhook(t, random).mutate(t.Context(), req)).Spec.Hostname
	}
	one, other := hostname(true, named("")), hostname(true, named(""))
	if len(one) != hostnameLength || len(other) != hostnameLength || one == other {
		t.Errorf("two pods without host names have %q and %q, want two different ones of %d characters", one, other, hostnameLength)
	}
	if got := hostname(true, named("own")); got != "own" {
		t.Errorf("the host name %q replaced one that was set", got)
	}
	if got := hostname(false, named("")); got != "" {
		t.Errorf("the host name %q was made up although nobody asked for it", got)
	}
	if got := hostname(true, func(*corev1.PodSpec) {}); got != "" {
		t.Errorf("a pod without an account has the host name %q", got)
	}
}

func TestPodsThatAreRefused(t *testing.T) {
	with := func(changes ...func(*corev1.PodSpec)) *corev1.Pod {
		return podWith(func(s *corev1.PodSpec) {
			for _, change := range changes {
				change(s)
			}
		})
	}
	as := func(account string) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.ServiceAccountName = account }
	}
	for name, tc := range map[string]struct {
		pod, old *corev1.Pod // old makes it an update
		code     int32       // 0 if it is admitted
		message  string
	}{
		"as it should be":                      {pod: with(onPod("a", contentsA))},
		"spelt differently":                    {pod: with(onPod("a", respeltA))},
		"without an account":                   {pod: with()},
		"without an account, nobody's":         {pod: with(as("nobody"))},
		"one that does not exist":              {pod: with(onPod("b", contentsA)), code: 403, message: "not authorized to use cred spec b"},
		"another ServiceAccount":               {pod: with(onPod("a", contentsA), as("nobody")), code: 403, message: "service account nobody"},
		"no ServiceAccount":                    {pod: with(onPod("a", contentsA), as("")), code: 403, message: "service account default"},
		"another's contents":                   {pod: with(onPod("a", `{"CmsPlugins":["Other"]}`)), code: 422, message: "not those of cred spec a"},
		"contents that are no JSON":            {pod: with(onPod("a", `{`)), code: 422, message: "not those of cred spec a"},
		"contents without a name":              {pod: with(onPod("", contentsA)), code: 422, message: "does not name it"},
		"a container's contents without name":  {pod: with(onContainer("", contentsA)), code: 422, message: "container connector"},
		"a container by another one":           {pod: with(onPod("a", contentsA), onContainer("b", contentsA)), code: 403, message: "cred spec b"},
		"an init container, overlooked":        {pod: with(onInitContainer("b", contentsA))},
		"an update that changes nothing of it": {pod: with(onPod("a", contentsA), as("nobody")), old: with(onPod("a", contentsA))},
		"an update of the name":                {pod: with(onPod("b", contentsA)), old: with(onPod("a", contentsA)), code: 403, message: "cannot be changed"},
		"an update of the contents":            {pod: with(onPod("a", respeltA)), old: with(onPod("a", contentsA)), code: 403, message: "cannot be changed"},
		"an update that takes it away":         {pod: with(), old: with(onPod("a", contentsA)), code: 403, message: "cannot be changed"},
		"an update that moves it":              {pod: with(onContainer("a", contentsA)), old: with(onPod("a", contentsA)), code: 403, message: "cannot be changed"},
	} {
		t.Run(name, func(t *testing.T) {
			operation := admissionv1.Create
			if tc.old != nil {
				operation = admissionv1.Update
			}
			resp := newTestWebhook(t, true).validate(t.Context(), request(t, operation, tc.pod, tc.old))
			if resp.Allowed != (tc.code == 0) {
				t.Fatalf("allowed %v: %+v", resp.Allowed, resp.Result)
			}
			if tc.code != 0 && (resp.Result.Code != tc.code || !strings.Contains(resp.Result.Message, tc.message)) {
				t.Errorf("refused with %d %q, want %d and %q", resp.Result.Code, resp.Result.Message, tc.code, tc.message)
			}
		})
	}
	t.Run("what does not exist is refused before", func(t *testing.T) {
		resp := newTestWebhook(t, true).mutate(t.Context(), request(t, admissionv1.Create, with(onPod("b", "")), nil))
		if resp.Allowed || resp.Result.Code != 404 || resp.Result.Message != "cred spec b does not exist" {
			t.Errorf("got %+v", resp.Result)
		}
	})
}

func TestSettings(t *testing.T) {
	good := map[string]string{"TLS_CRT": "/tls/tls.crt", "TLS_KEY": "/tls/tls.key"}
	for name, tc := range map[string]struct{ variable, value, message string }{
		"no certificate":       {"TLS_CRT", "", "must name two files"},
		"no key":               {"TLS_KEY", "", "must name two files"},
		"files in two folders": {"TLS_KEY", "/other/tls.key", "in one folder"},
		"a port in words":      {"HTTPS_PORT", "https", `"https" is not a port`},
		"a port out of range":  {"HTTPS_PORT", "65536", "is not a port"},
		"a host name by mood":  {"RANDOM_HOSTNAME", "maybe", "neither true nor false"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(nil, func(variable string) string {
				if variable == tc.variable {
					return tc.value
				}
				return good[variable]
			})
			if err == nil || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("got the error %v, want %q", err, tc.message)
			}
		})
	}
	o, err := parse([]string{"--bind-address=127.0.0.2"}, func(variable string) string { return good[variable] })
	if err != nil || o.randomHostname || o.server.Port != 443 || o.server.Host != "127.0.0.2" || o.server.CertDir != "/tls" {
		t.Errorf("the defaults are %+v, %v", o, err)
	}
}
