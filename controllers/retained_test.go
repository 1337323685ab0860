// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// keeping sets how long unused identities are kept.
func keeping(d time.Duration) func(*v1alpha1.PassthroughConnector) {
	return func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Registration.RetainUnusedSeconds = new(int32(d / time.Second))
	}
}

func TestPlanOfUnusedIdentities(t *testing.T) {
	secret := func(o *observation, annotations map[string]string) *corev1.Secret {
		s := &corev1.Secret{}
		s.Annotations = annotations
		owned(o, s)
		return s
	}
	kept := func(since time.Duration) func(*observation) {
		return func(o *observation) {
			one := retained{index: 1, secret: secret(o, nil)}
			if since != 0 {
				one.since = testNow.Add(-since)
			}
			o.retained = append(o.retained, one)
		}
	}
	for name, tc := range map[string]struct {
		keep                time.Duration
		given               func(*observation)
		retain, reuse, drop int
		wake                time.Duration
	}{
		"it has just become unused":      {keep: time.Hour, given: kept(0), retain: 1, wake: time.Hour},
		"it became unused a while ago":   {keep: time.Hour, given: kept(59 * time.Minute), wake: time.Minute},
		"its time is over":               {keep: time.Hour, given: kept(time.Hour), drop: 1},
		"its time was made shorter":      {keep: time.Minute, given: kept(59 * time.Minute), drop: 1},
		"none is kept":                   {keep: 0, given: kept(0), drop: 1},
		"it became unused in the future": {keep: time.Hour, given: kept(-48 * time.Hour), retain: 1, wake: time.Hour},
		"its Deployment is still there": {keep: 0, given: func(o *observation) {
			kept(0)(o)
			o.surplus = append(o.surplus, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelIndex: "1"}}})
		}},
		"another one's Deployment is there": {keep: 0, given: func(o *observation) {
			kept(0)(o)
			o.surplus = append(o.surplus, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelIndex: "2"}}})
		}, drop: 1},
		"the specification says nothing":  {keep: -1, given: kept(time.Hour), wake: retainUnused - time.Hour},
		"it is wanted and was never away": {keep: time.Hour, given: func(o *observation) { o.instances[0].secret = secret(o, nil) }},
		"it is wanted and carries a mark": {keep: time.Hour, given: func(o *observation) {
			o.instances[0].secret = secret(o, map[string]string{v1alpha1.AnnotationUnusedSince: "x"})
		}, reuse: 1},
		"a foreign Secret carries a mark": {keep: time.Hour, given: func(o *observation) {
			o.instances[0].secret = &corev1.Secret{}
			o.instances[0].secret.Annotations = map[string]string{v1alpha1.AnnotationUnusedSince: "x"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := bare(1, tc.given)
			keeping(tc.keep)(o.connector)
			if tc.keep < 0 {
				o.connector.Spec.Registration.RetainUnusedSeconds = nil
			}
			var p plan
			planRetained(&p, o, "")
			if len(p.retain) != tc.retain || len(p.reuse) != tc.reuse || len(p.drop) != tc.drop {
				t.Errorf("%d retained, %d used again, %d dropped; want %d, %d, %d", len(p.retain), len(p.reuse), len(p.drop), tc.retain, tc.reuse, tc.drop)
			}
			var wake time.Duration
			if !p.wakeAt.IsZero() {
				wake = p.wakeAt.Sub(testNow)
			}
			if wake != tc.wake {
				t.Errorf("the next look is after %s, want %s", wake, tc.wake)
			}
		})
	}
}

func TestUnusedIdentitiesAreKeptForAWhile(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(3), keeping(time.Hour))
	h.settle()
	lost := h.secret("corp-2-identity").Annotations[v1alpha1.AnnotationConnectorID]
	h.scale(2)
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "2 of 2 connectors are registered; 1 unused identity is kept for reuse")
	since := h.clock
	for range 3 { // quiescent, and the mark is not moved
		before := h.children()
		if _, err := h.pass(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, h.children()); diff != "" {
			t.Errorf("a pass changed something (-before +after):\n%s", diff)
		}
	}
	h.restart() // what was noted survives the operator
	h.clock = since.Add(50 * time.Minute)
	h.scale(3)
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "3 of 3 connectors are registered")
	if _, marked := h.secret("corp-2-identity").Annotations[v1alpha1.AnnotationUnusedSince]; marked {
		t.Error("an identity that is used is marked as unused")
	}
	h.scale(2)
	h.settle()
	h.restart()
	since = h.clock
	h.clock = since.Add(55 * time.Minute)
	h.settle()
	h.secret("corp-2-identity")
	h.clock = since.Add(time.Hour + time.Second)
	h.events()
	h.settle()
	if err := h.client.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "corp-2-identity"}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("the identity is still there: %v", err)
	}
	if !slices.ContainsFunc(h.events(), func(e string) bool {
		return strings.HasPrefix(e, "Normal IdentityDropped ") && contains(e, lost) && contains(e, "corp-2-identity")
	}) {
		t.Error("no event tells which identity was dropped")
	}
	if calls := h.service.Calls(); calls != 3 {
		t.Errorf("the service was called %d times for 3 connectors", calls)
	}
	token := h.secret(fixture.TokenSecret) // the one before has expired
	token.Data[fixture.TokenKey] = []byte(fixture.Token(fixture.TenantID, fixture.Claims{"exp": h.clock.Add(time.Hour).Unix()}))
	h.must(h.client.Update(t.Context(), token))
	h.scale(3)
	h.settle()
	if calls := h.service.Calls(); calls != 4 {
		t.Errorf("the service was called %d times, want once more for the identity that was dropped", calls)
	}
}

// TestAnIdentityIsNotDroppedOnAnOldSpecification lets a pass work on a copy of the
// resource from before connectors were added again.
func TestAnIdentityIsNotDroppedOnAnOldSpecification(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(2), keeping(time.Hour))
	h.settle()
	h.scale(1)
	h.settle()
	old := h.get()
	h.scale(2)
	kept := retained{index: 1, secret: h.secret("corp-1-identity")}
	if err := h.r.dropIdentity(t.Context(), observation{connector: old}, kept); err != nil {
		t.Fatal(err)
	}
	h.secret("corp-1-identity")
}

func TestDroppingGoesOnAfterAFailureOfAnyWrite(t *testing.T) {
	run := func(t *testing.T, failAt int) (state map[string]string, writes int) {
		t.Helper()
		h := newHarness(t)
		h.give()
		h.create(fixture.Replicas(3), keeping(time.Hour))
		h.settle()
		first := h.written()
		h.failing(func(n int, _ string) error {
			if n == first+failAt {
				return errInjected
			}
			return nil
		})
		h.scale(2)
		h.settleThroughErrors()
		h.scale(3)
		h.settleThroughErrors()
		h.scale(1)
		h.settleThroughErrors()
		h.clock = h.clock.Add(2 * time.Hour)
		h.settleThroughErrors()
		if calls := h.service.Calls(); calls != 3 {
			t.Errorf("the service was called %d times for 3 connectors", calls)
		}
		state = map[string]string{}
		for name := range h.children() {
			state[sameEachRun(name)] = ""
		}
		for _, c := range h.get().Status.Conditions {
			state[c.Type] = c.Reason + ": " + sameEachRun(c.Message)
		}
		return state, h.written() - first
	}
	sameWhateverWriteFails(t, 6, run)
}

// restart forgets what the operator remembers.
func (h *harness) restart() { h.r.memory, h.r.told = newMemory(), &toldMemory{} }

// held are identities of one other resource in the namespace.
func held(identities int) holders { return holders{named: map[string]int{"hr": identities}} }

func TestHoldersAreNamed(t *testing.T) {
	here := &v1alpha1.PassthroughConnector{}
	here.Namespace = "a"
	for name, tc := range map[string]struct {
		identities map[string]int // by namespace and name
		count      int
		want       string
	}{
		"nobody":                       {nil, 0, ""},
		"one that has none":            {map[string]int{"a/one": 0}, 0, ""},
		"those with most first":        {map[string]int{"a/one": 2, "a/two": 3, "a/also": 2}, 7, "two: 3, also: 2, one: 2"},
		"other namespaces stay dark":   {map[string]int{"a/one": 1, "b/two": 3, "c/three": 4}, 8, "one: 1, other namespaces: 7"},
		"more than can be named":       {map[string]int{"a/1": 9, "a/2": 8, "a/3": 7, "a/4": 6, "a/5": 5, "a/6": 4, "a/7": 3}, 42, "1: 9, 2: 8, 3: 7, 4: 6, 5: 5, others here: 7"},
		"those elsewhere are nobody's": {map[string]int{"b/one": 5}, 5, "other namespaces: 5"},
	} {
		t.Run(name, func(t *testing.T) {
			var h holders
			for key, identities := range tc.identities {
				pc := &v1alpha1.PassthroughConnector{}
				pc.Namespace, pc.Name, _ = strings.Cut(key, "/")
				h.add(pc, here, identities)
			}
			if h.count() != tc.count || h.String() != tc.want {
				t.Errorf("%d, %q; want %d, %q", h.count(), h.String(), tc.count, tc.want)
			}
		})
	}
}

func TestRegistrationsStayWithinTheTenantsLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		o        observation
		want     []int
		wantSays string
	}{
		"there is room": {o: bare(2, func(o *observation) { o.others = held(agentLimit - 2) }), want: []int{0, 1}},
		"there is room for one": {
			o: bare(2, func(o *observation) { o.others = held(agentLimit - 1) }), want: []int{0}, wantSays: "1 cannot be registered: 39 are identities of other resources for this tenant (hr: 39), ",
		},
		"there is none": {
			o: bare(2, func(o *observation) { o.others = held(agentLimit) }), wantSays: "2 cannot be registered",
		},
		"unused identities count": {
			o: bare(1, func(o *observation) { o.others, o.retained = held(agentLimit-1), []retained{{index: 1}} }), wantSays: "1 are kept unused",
		},
		"so do those that wait to be stored": {
			o: bare(2, func(o *observation) { o.others, o.instances[0].unsaved = held(agentLimit-1), &enrolment.Issued{} }), wantSays: "1 cannot be registered",
		},
		"one in place of another whose certificate has ended needs no room": {
			o: bare(1, func(o *observation) { o.others, o.instances[0].secret = held(agentLimit), &corev1.Secret{} }), want: []int{0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var p plan
			planRegistrations(&p, tc.o, "")
			if diff := cmp.Diff(tc.want, p.register); diff != "" && len(tc.want)+len(p.register) > 0 {
				t.Errorf("registered (-want +got):\n%s", diff)
			}
			if (p.registrationProblem != nil) != (tc.wantSays != "") {
				t.Fatalf("the problem is %v", p.registrationProblem)
			}
			if tc.wantSays == "" {
				return
			}
			waiting, ok := errors.AsType[*waitingError](p.registrationProblem)
			if !ok || waiting.reason != v1alpha1.ReasonAgentLimitReached || !contains(waiting.message, tc.wantSays) {
				t.Errorf("the problem is %#v, want %q", p.registrationProblem, tc.wantSays)
			}
		})
	}
}

// TestTheLimitIsSharedByTheResourcesOfATenant fills a tenant from two resources.
// The service is not asked for what it would refuse.
func TestTheLimitIsSharedByTheResourcesOfATenant(t *testing.T) {
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(1))
	h.settle()
	other := fixture.New(fixture.In(h.namespace), fixture.RegisteredBy(h.service), fixture.Replicas(1))
	other.Name = "other"
	h.must(h.client.Create(t.Context(), other))
	for i := range agentLimit - 1 {
		cert, key := h.service.Authority.Pair(t, fixture.TenantID, fmt.Sprintf("0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4%02x", i), h.clock.AddDate(0, 3, 0))
		s := mine(other, cert, key)
		s.Namespace, s.Name = h.namespace, fmt.Sprintf("other-%d-identity", i)
		s.Labels = map[string]string{v1alpha1.LabelApp: v1alpha1.AppName, v1alpha1.LabelConnector: "other", v1alpha1.LabelIndex: fmt.Sprint(i)}
		s.Annotations = map[string]string{v1alpha1.AnnotationConnectorID: "id"}
		h.must(h.client.Create(t.Context(), s))
	}
	h.scale(2)
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonAgentLimitReached, "1 of 2 connectors are registered; a tenant takes 40 connectors at most")
	if calls := h.service.Calls(); calls != 1 {
		t.Errorf("the service was called %d times although it would refuse", calls)
	}
	if result, err := h.pass(); err != nil || result.RequeueAfter == 0 || result.RequeueAfter > 2*recheckLimit {
		t.Errorf("the next pass: %+v, %v", result, err)
	}
	h.remove(&corev1.Secret{}, "other-0-identity")
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "2 of 2")
	h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Replicas = ptr.To[int32](3) })
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonAgentLimitReached, "38 are identities of other resources for this tenant (other: 38), ")
}

func TestResourcesShareATenant(t *testing.T) {
	one := fixture.Connector()
	for name, tc := range map[string]struct {
		change func(*v1alpha1.PassthroughConnector)
		want   bool
	}{
		"in another spelling": {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.TenantID = strings.ToUpper(pc.Spec.TenantID) }, true},
		"another tenant":      {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.TenantID = fixture.OtherTenant }, false},
		"another cloud": {func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Service = v1alpha1.ServiceSpec{Cloud: v1alpha1.CloudAzureUSGovernment}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sameTenant(one, fixture.Connector(tc.change)); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
