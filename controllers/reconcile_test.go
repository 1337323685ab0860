// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestReconcileMakesEverythingAndReportsIt(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create()
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "2 of 2")
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonNotReady, "corp-0: its pod has not been made yet")

	var owned []string
	for name := range h.children() {
		name = name[strings.Index(name, ".")+1:]
		if strings.HasPrefix(name, "ControllerRevision/corp-") {
			name = "ControllerRevision/corp" // what follows is a hash
		}
		owned = append(owned, name)
	}
	slices.Sort(owned)
	want := []string{
		"ConfigMap/corp-0", "ConfigMap/corp-1", "ConfigMap/tenant-ca", "ControllerRevision/corp",
		"Deployment/corp-0", "Deployment/corp-1", "NetworkPolicy/corp-connectors", "PassthroughConnector/corp", "PodDisruptionBudget/corp-connectors",
		"Secret/corp-0-identity", "Secret/corp-1-identity", "Secret/tenant-admin",
		"Service/corp-connectors", "ServiceAccount/corp-connector",
	}
	if diff := cmp.Diff(want, owned); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"corp-0." + h.namespace, "corp-1." + h.namespace}, slices.Sorted(slices.Values(h.service.Machines()))); diff != "" {
		t.Errorf("registered (-want +got):\n%s", diff)
	}

	h.ready()
	pc := h.settle()
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonAllReady, "2 of 2 connectors are ready")
	s := pc.Status
	if *s.Replicas != 2 || *s.ReadyReplicas != 2 || *s.UpdatedReplicas != 2 || s.CertificatesUntil == nil {
		t.Errorf("status: %+v", s)
	}
	for i, c := range s.Connectors {
		secret := h.secret(fmt.Sprintf("corp-%d-identity", i))
		if c.ConnectorID == "" || c.ConnectorID != secret.Annotations[v1alpha1.AnnotationConnectorID] || len(c.Thumbprint) != 40 || c.NotAfter.IsZero() {
			t.Errorf("connector %d: %+v", i, c)
		}
	}
	if !slices.ContainsFunc(h.events(), func(e string) bool { return strings.HasPrefix(e, "Normal AllReady 2 of 2") }) {
		t.Error("no event tells that all connectors are ready")
	}
}

func TestEveryChildGoesWithTheResource(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	pc := h.settle()
	for _, o := range []client.Object{
		h.secret("corp-0-identity"), h.deployment("corp-0"),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "corp-0"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "corp-connectors"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "corp-connector"}},
		&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "corp-connectors"}},
	} {
		h.must(h.client.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: o.GetName()}, o))
		if !controlledBy(o, pc) {
			t.Errorf("%T %s has the owners %v", o, o.GetName(), o.GetOwnerReferences())
		}
	}
	h.must(h.client.Delete(t.Context(), pc))
	if result, err := h.pass(); err != nil || !result.IsZero() {
		t.Errorf("the pass after the deletion: %+v, %v", result, err)
	}
}

func TestASecondPassChangesNothing(t *testing.T) {
	for name, modify := range map[string]func(*v1alpha1.PassthroughConnector){
		"Windows": func(*v1alpha1.PassthroughConnector) {},
		"Linux":   func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Pod.OS = v1alpha1.OSLinux },
		"with resources in unusual units": func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Pod.Resources.Limits = quantities("0.25", "1073741824")
			pc.Spec.Pod.NodeSelector = map[string]v1alpha1.LabelValue{"disk": "fast"}
			pc.Spec.Pod.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.give()
			h.create(modify)
			h.settle()
			h.ready()
			h.settle()
			before, written := h.children(), h.written()
			for range 3 {
				if _, err := h.pass(); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(before, h.children()); diff != "" {
				t.Errorf("resource versions changed (-before +after):\n%s", diff)
			}
			if h.written() != written {
				t.Errorf("%d writes were made", h.written()-written)
			}
		})
	}
}

// TestReconcileGoesOnAfterAFailureOfAnyWrite lets each write fail once, in turn.
// Whatever failed, the passes after it end in the same state, and no connector is
// registered twice.
func TestReconcileGoesOnAfterAFailureOfAnyWrite(t *testing.T) {
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
		h.create()
		h.settleThroughErrors()
		h.ready()
		h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Replicas = ptr.To[int32](1) })
		h.settleThroughErrors()
		h.ready()
		h.settleThroughErrors()
		if calls := h.service.Calls(); calls != 2 {
			t.Errorf("the service was called %d times for 2 connectors", calls)
		}
		state = map[string]string{}
		for name := range h.children() {
			state[sameEachRun(name)] = ""
		}
		pc := h.get()
		checkConditions(t, pc, pc.Status)
		for _, c := range pc.Status.Conditions {
			state[c.Type] = c.Reason + ": " + sameEachRun(c.Message)
		}
		return state, h.written()
	}
	sameWhateverWriteFails(t, 10, run)
}

// settleThroughErrors is settle for passes that may fail.
func (h *harness) settleThroughErrors() {
	h.t.Helper()
	quiet := 0
	for range 40 {
		before := h.written()
		result, err := h.pass()
		if err != nil || h.written() != before || (result.RequeueAfter > 0 && h.service.Calls() == 0) {
			quiet = 0
			continue
		}
		if quiet++; quiet == 2 {
			return
		}
	}
	h.t.Fatal("forty passes, and it did not settle")
}

func TestRegistrationProblemsAreToldAndOvercome(t *testing.T) {
	put := func(token string) func(*harness) {
		return func(h *harness) {
			s := h.secret(fixture.TokenSecret)
			s.Data = map[string][]byte{fixture.TokenKey: []byte(token)}
			h.must(h.client.Update(h.t.Context(), s))
		}
	}
	good := put(fixture.Token(fixture.TenantID, nil))
	bundle := func(pem string) func(*harness) {
		return func(h *harness) {
			c := &corev1.ConfigMap{}
			h.must(h.client.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: fixture.CAConfigMap}, c))
			c.Data = map[string]string{fixture.CAKey: pem}
			h.must(h.client.Update(h.t.Context(), c))
		}
	}
	goodBundle := func(h *harness) { bundle(h.service.Authority.PEM())(h) }
	for name, tc := range map[string]struct {
		spoil       func(*harness)
		wantReason  string
		wantMessage string
		wantCalls   bool // whether the service is called
		mend        func(*harness)
	}{
		"the token Secret does not exist": {
			func(h *harness) { h.remove(&corev1.Secret{}, fixture.TokenSecret) },
			v1alpha1.ReasonTokenSecretNotFound, "Secret tenant-admin, which spec.registration.tokenSecretRef names, does not exist: create it", false,
			func(h *harness) {
				h.must(h.client.Create(h.t.Context(), fixture.TokenSecretObject(h.namespace, fixture.Token(fixture.TenantID, nil))))
			},
		},
		"the token Secret lacks the key": {
			func(h *harness) {
				s := h.secret(fixture.TokenSecret)
				s.Data = map[string][]byte{"other": []byte("x")}
				h.must(h.client.Update(h.t.Context(), s))
			},
			v1alpha1.ReasonTokenKeyMissing, "under the key token", false, good,
		},
		"the token is empty but for a line end": {put("\n"), v1alpha1.ReasonTokenKeyMissing, "under the key token", false, good},
		"the token is none":                     {put("hello"), v1alpha1.ReasonTokenMalformed, "not a JSON web token", false, good},
		"the token has expired":                 {put(fixture.Token(fixture.TenantID, fixture.Claims{"exp": 1})), v1alpha1.ReasonTokenExpired, "put it into the Secret (Secret tenant-admin, key token)", false, good},
		"the token is of another tenant":        {put(fixture.Token(fixture.OtherTenant, nil)), v1alpha1.ReasonTokenForOtherTenant, fixture.OtherTenant, false, good},
		"the token is for something else":       {put(fixture.Token(fixture.TenantID, fixture.Claims{"aud": "https://graph.test"})), v1alpha1.ReasonTokenWrongAudience, "https://graph.test", false, good},
		"the service refuses": {
			func(h *harness) { h.service.Refuse("The token is not of an administrator.") },
			v1alpha1.ReasonRegistrationRefused, "refused: The token is not of an administrator; check", true,
			func(h *harness) { h.service.Answer(nil) },
		},
		"the service is out of order": {
			func(h *harness) {
				h.service.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
			},
			v1alpha1.ReasonServiceUnreachable, "502", true,
			func(h *harness) { h.service.Answer(nil) },
		},
		"the CA bundle does not exist": {
			func(h *harness) { h.remove(&corev1.ConfigMap{}, fixture.CAConfigMap) },
			v1alpha1.ReasonCABundleNotFound, "ConfigMap tenant-ca, which spec.service.custom.caBundleRef names, does not exist", false,
			func(h *harness) {
				h.must(h.client.Create(h.t.Context(), fixture.CAConfigMapObject(h.namespace, h.service.Authority.PEM())))
			},
		},
		"the CA bundle is no certificate": {bundle("hello"), v1alpha1.ReasonCABundleNotFound, "holds no PEM certificate", false, goodBundle},
		"the CA bundle is of another authority": {
			func(h *harness) { bundle(fixture.NewAuthority(h.t, "Another CA").PEM())(h) },
			v1alpha1.ReasonTLSVerificationFailed, "unknown authority", false, goodBundle,
		},
		"the proxy does not answer": {
			func(h *harness) {
				h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Service.ProxyURL = "http://127.0.0.1:1" })
			},
			v1alpha1.ReasonServiceUnreachable, "spec.service.proxyURL", false,
			func(h *harness) {
				h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Service.ProxyURL = "" })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.give()
			h.create()
			tc.spoil(h)
			h.settle()
			h.wantCondition(v1alpha1.ConditionRegistered, tc.wantReason, tc.wantMessage)
			if called := h.service.Calls() > 0; called != tc.wantCalls {
				t.Errorf("the service was called: %t, want %t", called, tc.wantCalls)
			}
			if c := h.get().Status.Conditions; contains(fmt.Sprint(c), "eyJ") {
				t.Errorf("a condition holds a token: %v", c)
			}
			tc.mend(h)
			h.later()
			h.settle()
			h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "2 of 2")
			if got := len(h.service.Machines()); got != 2 {
				t.Errorf("%d connectors were registered, want 2", got)
			}
		})
	}
}

func TestAfterAFailureTheServiceIsLeftInPeace(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.service.Refuse("no")
	result, err := h.pass()
	if err != nil {
		t.Fatal(err)
	}
	if result.RequeueAfter <= 0 || result.RequeueAfter > firstRetry+firstRetry/4 {
		t.Errorf("the next pass is after %s", result.RequeueAfter)
	}
	h.clock = h.clock.Add(-result.RequeueAfter) // no time has passed
	for range 3 {
		result, err := h.r.Reconcile(t.Context(), requestFor(h))
		if err != nil || result.RequeueAfter <= 0 {
			t.Fatalf("a pass during the pause: %+v, %v", result, err)
		}
	}
	if calls := h.service.Calls(); calls != 1 {
		t.Errorf("the service was called %d times during the pause", calls)
	}
	h.service.Answer(nil)
	s := h.secret(fixture.TokenSecret)
	s.Data[fixture.TokenKey] = []byte(fixture.Token(fixture.TenantID, fixture.Claims{"jti": "another"}))
	h.must(h.client.Update(t.Context(), s))
	if _, err := h.r.Reconcile(t.Context(), requestFor(h)); err != nil {
		t.Fatal(err)
	}
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "1 of 1")
}

func TestRegistrationsAreMadeAFewAtATime(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(10))
	for _, want := range []string{"4 of 10", "8 of 10", "10 of 10"} {
		if _, err := h.pass(); err != nil {
			t.Fatal(err)
		}
		reason := v1alpha1.ReasonRegistering
		if want == "10 of 10" {
			reason = v1alpha1.ReasonRegistered
		}
		h.wantCondition(v1alpha1.ConditionRegistered, reason, want)
	}
}

func TestIdentitiesOutliveTheirConnectors(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(3))
	h.settle()
	before := h.secret("corp-2-identity")
	h.scale(1)
	h.settle()
	for _, o := range []client.Object{&appsv1.Deployment{}, &corev1.ConfigMap{}} {
		if err := h.client.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "corp-2"}, o); !apierrors.IsNotFound(err) {
			t.Errorf("%T corp-2 is still there: %v", o, err)
		}
	}
	if n := len(h.get().Status.Connectors); n != 1 {
		t.Errorf("status lists %d connectors, want 1", n)
	}
	h.scale(3)
	h.settle()
	if diff := cmp.Diff(before, h.secret("corp-2-identity"), cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ResourceVersion", "ManagedFields")); diff != "" {
		t.Errorf("the identity was replaced (-before +after):\n%s", diff)
	}
	if calls := h.service.Calls(); calls != 3 {
		t.Errorf("the service was called %d times for 3 connectors", calls)
	}
}

// scale uses the scale subresource, as kubectl scale and autoscalers do.
func (h *harness) scale(n int32) {
	h.t.Helper()
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: n}}
	h.must(h.client.SubResource("scale").Update(h.t.Context(), h.get(), client.WithSubResourceBody(scale)))
}

func TestScaleSubresource(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create()
	h.settle()
	h.ready()
	h.settle()
	scale := &autoscalingv1.Scale{}
	h.must(h.client.SubResource("scale").Get(t.Context(), h.get(), scale))
	if scale.Spec.Replicas != 2 || scale.Status.Replicas != 2 {
		t.Errorf("scale is %+v", scale)
	}
	if want := "app.kubernetes.io/name=passthrough-connector,identity.passthrough.dev/connector=corp"; scale.Status.Selector != want {
		t.Errorf("the selector is %q, want %q", scale.Status.Selector, want)
	}
	tooMany := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 41}}
	if err := h.client.SubResource("scale").Update(t.Context(), h.get(), client.WithSubResourceBody(tooMany)); !apierrors.IsInvalid(err) {
		t.Errorf("scaling to 41: %v, want it to be refused", err)
	}
}
