// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

const day = 24 * time.Hour

// dueAt is when every certificate of the fixture, issued for 180 days, is due:
// 30 days before its end and a tenth of that for the jitter.
const dueAt = 154 * day

// renewable makes n connectors that are registered and ready, with pods.
func renewable(t *testing.T, n int32) *harness {
	t.Helper()
	h := newHarness(t)
	h.give()
	h.create(fixture.Replicas(n))
	h.settle()
	h.ready()
	for i := range int(n) {
		h.runPod(i)
	}
	h.settle()
	return h
}

// runPod plays the part of a Deployment and of a node.
func (h *harness) runPod(index int) {
	h.t.Helper()
	name := fmt.Sprintf("corp-%d", index)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: h.namespace, Name: name + "-abc-xyz", Labels: h.deployment(name).Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name + "-abc", UID: "1", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	h.must(h.client.Create(h.t.Context(), pod))
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address(index), PodIPs: []corev1.PodIP{{IP: address(index)}}}
	h.must(h.client.Status().Update(h.t.Context(), pod))
}

func address(index int) string { return fmt.Sprintf("10.0.0.%d", index+1) }

// certificate is the identity in a connector's Secret, which must be usable.
func (h *harness) certificate(index int) trust.Identity {
	h.t.Helper()
	secret := h.secret(fmt.Sprintf("corp-%d-identity", index))
	identity, err := enrolment.ParsePair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], fixture.TenantID, h.clock)
	if err != nil && !errors.Is(err, enrolment.ErrExpired) {
		h.t.Fatalf("the identity in %s cannot be used: %v", secret.Name, err)
	}
	return identity
}

// bootstrap lets connectors bootstrap with the certificates in their Secrets.
func (h *harness) bootstrap(indexes ...int) {
	reports := map[string]config.Status{}
	for _, i := range indexes {
		reports[address(i)] = config.Status{Ready: true, BootstrapThumbprint: h.certificate(i).Thumbprint}
	}
	h.confirms = func(address string) config.Status { return reports[address] }
}

// passes makes n passes that must succeed.
func (h *harness) passes(n int) {
	h.t.Helper()
	for range n {
		if _, err := h.pass(); err != nil {
			h.t.Fatal(err)
		}
	}
}

func TestCertificatesAreRenewedOneAfterTheOther(t *testing.T) {
	h := renewable(t, 3)
	var before []trust.Identity
	for i := range 3 {
		before = append(before, h.certificate(i))
	}
	old := h.secret("corp-0-identity")
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonAllCurrent, "is the next to be renewed, from")

	h.clock = h.clock.Add(dueAt)
	h.passes(5)
	if got := len(h.service.Renewals()); got != 1 {
		t.Fatalf("%d certificates were renewed before the first new one was used, want 1", got)
	}
	renewed := slices.IndexFunc(before, func(i trust.Identity) bool { return i.ConnectorID == h.service.Renewals()[0] })
	if renewed != 0 {
		t.Fatalf("the certificate of connector %d was renewed first, of several that end together", renewed)
	}
	secret, now := h.secret("corp-0-identity"), h.certificate(0)
	if now.ConnectorID != before[0].ConnectorID || now.Thumbprint == before[0].Thumbprint || !now.NotAfter.After(before[0].NotAfter) {
		t.Errorf("renewed from %+v to %+v", before[0], now)
	}
	for was, is := range map[string]string{corev1.TLSCertKey: v1alpha1.KeyPreviousCertificate, corev1.TLSPrivateKeyKey: v1alpha1.KeyPreviousKey} {
		if string(old.Data[was]) != string(secret.Data[is]) {
			t.Errorf("%s does not hold what %s held", is, was)
		}
	}
	if string(old.Data[corev1.TLSPrivateKeyKey]) == string(secret.Data[corev1.TLSPrivateKeyKey]) {
		t.Error("the key was used again")
	}
	if secret.Annotations[v1alpha1.AnnotationRenewing] != "" {
		t.Error("the claim is still there")
	}

	for i := range 3 {
		h.bootstrap(0, 1, 2)
		h.passes(2)
		if want := min(i+2, 3); len(h.service.Renewals()) != want {
			t.Errorf("%d certificates were renewed when %d had been used, want %d", len(h.service.Renewals()), i+1, want)
		}
	}
	h.bootstrap(0, 1, 2)
	h.passes(1)
	h.clock = h.clock.Add(keepPrevious)
	pc := h.settle()
	for i := range 3 {
		secret := h.secret(fmt.Sprintf("corp-%d-identity", i))
		if keys := slices.Sorted(maps.Keys(secret.Data)); !slices.Equal(keys, []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey}) {
			t.Errorf("%s holds %v after the overlap", secret.Name, keys)
		}
		c, now := pc.Status.Connectors[i], h.certificate(i)
		if c.Thumbprint != now.Thumbprint || !c.NotAfter.Time.Equal(now.NotAfter) || !c.RenewAfter.After(h.clock) {
			t.Errorf("status of %s: %+v", c.Name, c)
		}
	}
	if got := h.service.Simultaneous(); got != 1 {
		t.Errorf("%d calls for one connector at the same time", got)
	}
	if h.service.Calls() != 3 {
		t.Errorf("%d registrations for 3 connectors", h.service.Calls())
	}
	if n := strings.Count(strings.Join(h.events(), "\n"), "Normal CertificateRenewed"); n != 3 {
		t.Errorf("%d events tell of renewals, want 3", n)
	}
}

// TestNothingIsRenewedTwiceForOneBootstrap: the previous pair stays while its
// connector has not said that the new one works, however long that is, and until
// its own end.
func TestThePreviousPairStaysUntilTheNewOneIsUsed(t *testing.T) {
	h := renewable(t, 2)
	h.clock = h.clock.Add(dueAt)
	h.passes(2)
	h.clock = h.clock.Add(2 * unconfirmedAfter)
	h.passes(2)
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonRenewalUnconfirmed, "corp-0 has not bootstrapped")
	if len(h.secret("corp-0-identity").Data[v1alpha1.KeyPreviousKey]) == 0 {
		t.Error("the previous pair is gone")
	}
	if got := len(h.service.Renewals()); got != 1 {
		t.Errorf("%d renewals, want 1: the other certificate has time", got)
	}
	// The other one ends in less than a week: it waits no longer.
	h.clock = h.clock.Add(20 * day)
	h.passes(2)
	if got := len(h.service.Renewals()); got != 2 {
		t.Errorf("%d renewals, want 2: the other certificate is about to end", got)
	}
	h.clock = h.clock.Add(10 * day) // what was replaced has ended
	h.passes(2)
	if len(h.secret("corp-0-identity").Data[v1alpha1.KeyPreviousKey]) != 0 {
		t.Error("the previous pair is still there after its end")
	}
}

func TestTheServiceMayWantToBeAskedLater(t *testing.T) {
	h := renewable(t, 1)
	h.service.RenewBefore(10 * day)
	h.clock = h.clock.Add(dueAt)
	h.passes(3)
	if len(h.service.Renewals()) != 0 || h.service.RenewalCalls() != 1 {
		t.Errorf("renewed %v in %d calls; want one bootstrap and no renewal", h.service.Renewals(), h.service.RenewalCalls())
	}
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonAllCurrent, "")
	h.clock = h.clock.Add(18 * day)
	h.passes(1)
	if len(h.service.Renewals()) != 1 {
		t.Error("not renewed when the service wants it")
	}

	// What the specification says comes first.
	h = renewable(t, 1)
	h.service.RenewBefore(10 * day)
	h.change(func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Certificate.RenewBeforeSeconds = ptr.To(int32(60 * day / time.Second))
	})
	h.clock = h.clock.Add(127 * day)
	h.passes(1)
	if len(h.service.Renewals()) != 1 {
		t.Error("not renewed when the specification wants it")
	}
}

func TestARenewalThatFailsIsToldUntilTheCertificateEnds(t *testing.T) {
	h := renewable(t, 1)
	h.service.FailCalls(func(int) fixture.Fault { return fixture.RequestLost })
	first := h.certificate(0)
	h.clock = h.clock.Add(dueAt)
	h.passes(3)
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonRenewalFailed, "the bootstrap service at")
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonRenewalFailed, "503")
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonAllReady, "")
	calls := h.service.RenewalCalls()
	h.clock = h.clock.Add(-2 * lastRetry)
	h.passes(1)
	if h.service.RenewalCalls() != calls {
		t.Error("the service is not left in peace after a failure")
	}

	h.clock = first.NotAfter.Add(-6 * day)
	h.passes(1)
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonRenewalOverdue, "could not be renewed: the bootstrap service")

	// The token of the registration is long over.
	h.clock = first.NotAfter
	h.passes(2)
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonCertificateExpired, "the registration token expired")
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonTokenExpired, "0 of 1")
	if c := h.get().Status.Connectors[0]; c.NotAfter == nil || c.ConnectorID != first.ConnectorID {
		t.Errorf("status forgets the connector whose certificate has ended: %+v", c)
	}
	events := strings.Join(h.events(), "\n")
	for _, reason := range []string{v1alpha1.ReasonRenewalFailed, v1alpha1.ReasonRenewalOverdue, v1alpha1.ReasonCertificateExpired} {
		if !strings.Contains(events, "Warning "+reason) {
			t.Errorf("no event warns of %s:\n%s", reason, events)
		}
	}

	h.service.FailCalls(nil)
	s := h.secret(fixture.TokenSecret)
	s.Data[fixture.TokenKey] = []byte(fixture.Token(fixture.TenantID, fixture.Claims{"exp": h.clock.Add(time.Hour).Unix()}))
	h.must(h.client.Update(t.Context(), s))
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "1 of 1")
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonAllCurrent, "")
	if now := h.certificate(0); now.ConnectorID == first.ConnectorID || h.secret("corp-0-identity").Annotations[v1alpha1.AnnotationConnectorID] != now.ConnectorID {
		t.Errorf("registered anew as %s, before %s", now.ConnectorID, first.ConnectorID)
	}
	if !strings.Contains(strings.Join(h.events(), "\n"), "registered anew as connector") {
		t.Error("no event tells that the connector was registered anew")
	}
}

// crash is how the operator ends in the middle of a write.
type crash int

const (
	refused     crash = iota // the write fails, the operator goes on
	crashBefore              // the operator ends before the write
	crashAfter               // the operator ends after the write
)

// TestARenewalSurvivesAnyFailure lets each write and each outside call of a renewal
// fail once, in every way, with and without the operator ending there. There is a
// usable identity at every moment, the connector is never registered again, and
// the passes after it end in the same state.
func TestARenewalSurvivesAnyFailure(t *testing.T) {
	type fault struct {
		write, call int // which one fails, counted from the renewal on
		crash       crash
		service     fixture.Fault
	}
	run := func(t *testing.T, f fault) (state map[string]string, writes, calls int) {
		t.Helper()
		h := renewable(t, 1)
		first := h.certificate(0)
		h.clock = h.clock.Add(dueAt)
		base, restart := h.written(), false
		h.failing(func(n int, what string) error {
			if n-base == f.write && f.crash != crashAfter {
				t.Logf("fails: %s", what)
				restart = f.crash == crashBefore
				return errInjected
			}
			return nil
		})
		h.afterWrite = func(n int, what string) error {
			if n-base == f.write && f.crash == crashAfter {
				t.Logf("ends after: %s", what)
				restart = true
				return errInjected
			}
			return nil
		}
		h.service.FailCalls(func(n int) fixture.Fault {
			if n == f.call {
				restart = restart || f.crash == crashBefore
				return f.service
			}
			return fixture.NoFault
		})
		for range 40 {
			_, _ = h.pass()
			if restart { // what ended remembers nothing
				restart = false
				h.r.memory, h.r.holder = newMemory(), "the-next-one"
			}
			if now := h.certificate(0); now.ConnectorID != first.ConnectorID || !now.NotAfter.After(h.clock) {
				t.Fatalf("the identity became %+v", now)
			}
			h.bootstrap(0)
		}
		h.clock = h.clock.Add(keepPrevious)
		pc := h.settle()
		if h.service.Calls() != 1 {
			t.Errorf("%d registrations", h.service.Calls())
		}
		if h.certificate(0).Thumbprint == first.Thumbprint {
			t.Error("the certificate was not renewed")
		}
		state = map[string]string{}
		for _, c := range pc.Status.Conditions {
			state[c.Type] = c.Reason
		}
		secret := h.secret("corp-0-identity")
		state["keys"] = strings.Join(slices.Sorted(maps.Keys(secret.Data)), " ")
		state["annotations"] = strings.Join(slices.Sorted(maps.Keys(secret.Annotations)), " ")
		return state, h.written() - base, h.service.RenewalCalls()
	}
	clean, writes, calls := run(t, fault{})
	if writes < 4 || calls != 2 {
		t.Fatalf("a renewal without failure makes %d writes and %d calls; want its claim, the pair, the end of the overlap and two writes of status, and 2 calls", writes, calls)
	}
	var faults []fault
	for n := 1; n <= writes; n++ {
		for _, c := range []crash{refused, crashBefore, crashAfter} {
			faults = append(faults, fault{write: n, crash: c})
		}
	}
	for n := 1; n <= calls; n++ {
		for _, s := range []fixture.Fault{fixture.RequestLost, fixture.AnswerLost, fixture.AnswerBroken} {
			faults = append(faults, fault{call: n, service: s}, fault{call: n, service: s, crash: crashBefore})
		}
	}
	for _, f := range faults {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			got, _, _ := run(t, f)
			if diff := cmp.Diff(clean, got); diff != "" {
				t.Errorf("the state differs from that without a failure (-want +got):\n%s", diff)
			}
		})
	}
}

// TestARenewedPairThatCannotBeStoredIsNotLost: the next pass stores it and does
// not ask again.
func TestARenewedPairThatCannotBeStoredIsNotLost(t *testing.T) {
	h := renewable(t, 1)
	h.clock = h.clock.Add(dueAt)
	base := h.written()
	h.failing(func(n int, what string) error {
		if strings.Contains(what, "Secret") && n > base+1 { // all but the claim
			return errInjected
		}
		return nil
	})
	h.passes(1)
	h.wantCondition(v1alpha1.ConditionCertificatesCurrent, v1alpha1.ReasonRenewalFailed, "the operator keeps it in memory")
	h.failing(nil)
	h.later()
	h.passes(1)
	if got := len(h.service.Renewals()); got != 1 {
		t.Errorf("%d renewals, want the one that waits to be stored", got)
	}
	if len(h.secret("corp-0-identity").Data[v1alpha1.KeyPreviousKey]) == 0 {
		t.Error("the renewed pair was not stored")
	}
}

func TestTwoOperatorsDoNotRenewOneIdentity(t *testing.T) {
	h := renewable(t, 1)
	h.clock = h.clock.Add(dueAt)
	claimed := h.secret("corp-0-identity")
	claimed.Annotations[v1alpha1.AnnotationRenewing] = "somebody " + h.clock.Add(time.Minute).UTC().Format(time.RFC3339)
	h.must(h.client.Update(t.Context(), claimed))
	result, err := h.r.Reconcile(t.Context(), requestFor(h))
	if err != nil || h.service.RenewalCalls() != 0 || result.RequeueAfter <= 0 || result.RequeueAfter > 2*time.Minute {
		t.Fatalf("while another process renews: %d calls, %+v, %v", h.service.RenewalCalls(), result, err)
	}
	h.clock = h.clock.Add(2 * time.Minute)

	others := []*Reconciler{h.r}
	for range 3 {
		other := *h.r
		other.memory, other.holder = newMemory(), fmt.Sprintf("holder-%d", len(others))
		others = append(others, &other)
	}
	var wg sync.WaitGroup
	for _, r := range others {
		wg.Go(func() { _, _ = r.Reconcile(context.WithoutCancel(t.Context()), requestFor(h)) })
	}
	wg.Wait()
	if n, at := len(h.service.Renewals()), h.service.Simultaneous(); n != 1 || at != 1 {
		t.Errorf("%d renewals, %d at the same time; want 1 and 1", n, at)
	}
}

func TestPlanRenewals(t *testing.T) {
	at := func(daysLeft int) *trust.Identity {
		end := testNow.Add(time.Duration(daysLeft) * day)
		return &trust.Identity{Thumbprint: "AB", NotBefore: end.Add(-180 * day), NotAfter: end}
	}
	var (
		fresh       = overlap{since: testNow.Add(-time.Minute), until: testNow.Add(day)}
		unconfirmed = overlap{since: testNow.Add(-day), until: testNow.Add(day)}
		confirmed   = overlap{since: testNow.Add(-time.Hour), until: testNow.Add(day), confirmed: testNow.Add(-time.Minute)}
		over        = overlap{since: testNow.Add(-time.Hour), until: testNow.Add(day), confirmed: testNow.Add(-keepPrevious)}
		ended       = overlap{since: testNow.Add(-time.Hour), until: testNow}
	)
	type connector struct {
		identity *trust.Identity
		overlap  *overlap
		failed   time.Duration // until the next try
	}
	for name, tc := range map[string]struct {
		connectors []connector
		wantRenew  []int
		wantEnd    []int
	}{
		"none is due":                               {[]connector{{identity: at(100)}, {identity: at(31)}}, nil, nil},
		"one of those that are due":                 {[]connector{{identity: at(20)}, {identity: at(19)}, {identity: at(21)}}, []int{1}, nil},
		"all that are about to end, and one more":   {[]connector{{identity: at(20)}, {identity: at(6)}, {identity: at(5)}}, []int{1, 2, 0}, nil},
		"a new one that was not used holds up":      {[]connector{{identity: at(170), overlap: &fresh}, {identity: at(20)}}, nil, nil},
		"but not what is about to end":              {[]connector{{identity: at(170), overlap: &unconfirmed}, {identity: at(2)}}, []int{1}, nil},
		"a used one does not":                       {[]connector{{identity: at(170), overlap: &confirmed}, {identity: at(20)}}, []int{1}, nil},
		"the pair before it goes":                   {[]connector{{identity: at(170), overlap: &over}, {identity: at(100)}}, nil, []int{0}},
		"the pair before it goes when it has ended": {[]connector{{identity: at(170), overlap: &ended}, {identity: at(20)}}, []int{1}, []int{0}},
		"its own new certificate was not used yet":  {[]connector{{identity: at(2), overlap: &fresh}}, nil, nil},
		"its own has had the time to be used":       {[]connector{{identity: at(2), overlap: &unconfirmed}}, []int{0}, nil},
		"after a failure there is a pause":          {[]connector{{identity: at(20), failed: time.Minute}}, nil, nil},
		"which holds the others up":                 {[]connector{{identity: at(20), failed: time.Minute}, {identity: at(21)}}, nil, nil},
		"and ends":                                  {[]connector{{identity: at(20), failed: -time.Second}, {identity: at(21)}}, []int{0}, nil},
		"what is not registered is not renewed":     {[]connector{{}, {identity: at(20)}}, []int{1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := bare(int32(len(tc.connectors)))
			for i, c := range tc.connectors {
				o.instances[i].identity, o.instances[i].overlap = c.identity, c.overlap
				if c.failed != 0 {
					o.instances[i].renewal = attempt{failures: 1, next: testNow.Add(c.failed), problem: errInjected}
				}
			}
			p := plan{}
			planRenewals(&p, o, "")
			if !slices.Equal(p.renew, tc.wantRenew) || !slices.Equal(p.endOverlap, tc.wantEnd) {
				t.Errorf("renew %v and end the overlap of %v, want %v and %v", p.renew, p.endOverlap, tc.wantRenew, tc.wantEnd)
			}
			if len(tc.wantRenew) == 0 && len(tc.wantEnd) == 0 && !p.wakeAt.After(testNow) {
				t.Errorf("the next look is at %s", p.wakeAt)
			}
		})
	}
}

func TestEveryConditionIsThereFromTheFirstPass(t *testing.T) {
	h := newHarness(t)
	h.create(fixture.Replicas(1))
	if _, err := h.pass(); err != nil {
		t.Fatal(err)
	}
	c := meta.FindStatusCondition(h.get().Status.Conditions, v1alpha1.ConditionCertificatesCurrent)
	if c == nil || c.Status != metav1.ConditionUnknown {
		t.Errorf("without a certificate the condition is %+v", c)
	}
}
