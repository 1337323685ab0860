// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// rolledOut is a harness with n connectors that serve what is specified.
func rolledOut(t *testing.T, n int32, modify ...func(*v1alpha1.PassthroughConnector)) *harness {
	t.Helper()
	h := newHarness(t)
	h.give()
	h.create(append([]func(*v1alpha1.PassthroughConnector){fixture.Replicas(n)}, modify...)...)
	h.settle()
	h.ready()
	h.settle()
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolledOut, "every connector")
	return h
}

// respec changes what the pods run; each value makes another revision.
func respec(seconds int32) func(*v1alpha1.PassthroughConnector) {
	return func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Validation.TimeoutSeconds = &seconds }
}

// revisions are the revisions that Deployments were made from, by index.
func (h *harness) revisions() []string {
	h.t.Helper()
	var list appsv1.DeploymentList
	h.must(h.client.List(h.t.Context(), &list, client.InNamespace(h.namespace)))
	slices.SortFunc(list.Items, func(a, b appsv1.Deployment) int {
		return len(a.Name)*100 - len(b.Name)*100 + int(a.Name[len(a.Name)-1]) - int(b.Name[len(b.Name)-1])
	})
	var all []string
	for i := range list.Items {
		all = append(all, list.Items[i].Annotations[v1alpha1.AnnotationRevision])
	}
	return all
}

// wantRevisions checks which connectors run which of two revisions: o the old, n
// the new one.
func (h *harness) wantRevisions(old, updated, want string) {
	h.t.Helper()
	got := ""
	for _, r := range h.revisions() {
		switch r {
		case old:
			got += "o"
		case updated:
			got += "n"
		default:
			got += "?"
		}
	}
	if got != want {
		h.t.Errorf("the connectors run %s, want %s (o %s, n %s)", got, want, old, updated)
	}
}

// available plays one connector that becomes available.
func (h *harness) available(name string) {
	h.t.Helper()
	d := h.deployment(name)
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, ReadyReplicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
	h.must(h.client.Status().Update(h.t.Context(), d))
}

// starting plays one connector whose pod exists and is not ready.
func (h *harness) starting(name string) {
	h.t.Helper()
	d := h.deployment(name)
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1}
	h.must(h.client.Status().Update(h.t.Context(), d))
}

// overdue lets the deadline of a rollout pass.
func (h *harness) overdue() { h.clock = h.clock.Add(16 * time.Minute) }

func TestAChangeGoesFromOneConnectorToTheNext(t *testing.T) {
	h := rolledOut(t, 3)
	old := h.get().Status.UpdateRevision
	h.change(respec(5))
	pc := h.settle()
	updated := pc.Status.UpdateRevision
	if old == updated || pc.Status.CurrentRevision != old {
		t.Errorf("current revision %s, update revision %s; want %s and another", pc.Status.CurrentRevision, updated, old)
	}
	h.wantRevisions(old, updated, "noo")
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRollingOut, "0 of 3 connectors are of revision "+updated+"; awaiting corp-0")
	h.starting("corp-0")
	pc = h.settle()
	h.wantRevisions(old, updated, "noo")
	if s := pc.Status; *s.Replicas != 3 || *s.ReadyReplicas != 2 || *s.UpdatedReplicas != 1 || *s.AvailableReplicas != 2 {
		t.Errorf("replicas %d, ready %d, updated %d, available %d; want 3, 2, 1, 2", *s.Replicas, *s.ReadyReplicas, *s.UpdatedReplicas, *s.AvailableReplicas)
	}
	for i, want := range []string{"nno", "nnn", "nnn"} {
		h.available(fmt.Sprintf("corp-%d", i))
		h.settle()
		h.wantRevisions(old, updated, want)
	}
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolledOut, updated)
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonAllReady, "3 of 3")
	if got := h.get().Status.CurrentRevision; got != updated {
		t.Errorf("the current revision is %s, want %s", got, updated)
	}
}

func TestABadChangeHaltsAtOneConnectorAndCanBeResumed(t *testing.T) {
	h := rolledOut(t, 3)
	old := h.get().Status.UpdateRevision
	h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Pod.Image = "registry.example/broken:1" })
	h.settle()
	h.starting("corp-0")
	h.overdue()
	updated := h.settle().Status.UpdateRevision
	h.wantRevisions(old, updated, "noo")
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolloutHalted, "corp-0: its pod has not been made yet")
	if !slices.ContainsFunc(h.events(), func(e string) bool { return contains(e, "Warning RolloutHalted") }) {
		t.Error("no event tells that the rollout has halted")
	}

	h.scale(4) // what is new does not run what has failed
	h.settle()
	h.wantRevisions(old, updated, "nooo")
	h.available("corp-0")
	h.available("corp-3")
	h.settle()
	h.wantRevisions(old, updated, "nooo")
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolloutHalted, "corp-0")

	h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Rollout.Mode = v1alpha1.RolloutPaused })
	h.settle()
	h.wantRevisions(old, updated, "nooo")
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolloutPaused, "1 of 4")
	h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Rollout.Mode = v1alpha1.RolloutActive })
	h.settle()
	h.wantRevisions(old, updated, "nnoo")
}

func TestACorrectionEndsAHalt(t *testing.T) {
	h := rolledOut(t, 3)
	h.change(respec(5))
	h.settle()
	h.overdue()
	h.settle()
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolloutHalted, "corp-0")
	bad := h.get().Status.UpdateRevision
	h.change(respec(6))
	good := h.settle().Status.UpdateRevision
	if got := h.revisions(); got[0] != good || got[1] == good || got[1] == bad {
		t.Errorf("the connectors run %v; want the broken one to be corrected first", got)
	}
}

func TestABadChangeIsRolledBack(t *testing.T) {
	h := rolledOut(t, 3, func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Rollout.OnFailure = v1alpha1.RolloutRollback })
	old := h.get().Status.UpdateRevision
	before := h.deployment("corp-0").Spec.Template
	h.change(respec(5))
	updated := h.settle().Status.UpdateRevision
	h.wantRevisions(old, updated, "noo")
	h.overdue()
	h.settle()
	h.wantRevisions(old, updated, "ooo")
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolledBack, "revision "+updated+" failed and the connectors return to revision "+old+": corp-0: its pod has not been made yet")
	if diff := cmp.Diff(before, h.deployment("corp-0").Spec.Template); diff != "" {
		t.Errorf("what was rolled back differs from what ran before (-want +got):\n%s", diff)
	}
	h.ready()
	pc := h.settle()
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonUpdating, "0 of them run the current specification; revision "+updated+" failed")
	if *pc.Status.UpdatedReplicas != 0 || *pc.Status.ReadyReplicas != 3 {
		t.Errorf("updated %d, ready %d; want 0, 3", *pc.Status.UpdatedReplicas, *pc.Status.ReadyReplicas)
	}
	h.change(respec(10)) // back to what runs
	h.settle()
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolledOut, old)
}

func TestARolloutThatIsPausedReplacesNothing(t *testing.T) {
	h := rolledOut(t, 2, func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Rollout.Mode = v1alpha1.RolloutPaused })
	old := h.get().Status.UpdateRevision
	h.change(respec(5))
	updated := h.settle().Status.UpdateRevision
	h.wantRevisions(old, updated, "oo")
	h.wantCondition(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolloutPaused, "0 of 2")
	h.remove(&appsv1.Deployment{}, "corp-1") // what is lost comes back as it was
	h.settle()
	h.wantRevisions(old, updated, "oo")
	h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Rollout.Mode = v1alpha1.RolloutActive })
	h.settle()
	h.wantRevisions(old, updated, "on") // the one that does not serve comes first
}

// upgraded replaces the harness's operator by one of another release.
func (h *harness) upgraded(image string) {
	h.r = New(Options{Client: h.intercepted(h.client), Live: h.client, Recorder: h.recorder, DefaultImage: image})
	h.r.now = func() time.Time { return h.clock }
}

func TestAnUpgradeOfTheOperatorRollsOnlyWhatChanges(t *testing.T) {
	h := rolledOut(t, 2)
	old := h.get().Status.UpdateRevision
	before := h.children()
	h.upgraded("connector:test")
	h.settle()
	if diff := cmp.Diff(before, h.children()); diff != "" {
		t.Errorf("an upgrade with the same template changed objects (-before +after):\n%s", diff)
	}
	h.upgraded("connector:next")
	updated := h.settle().Status.UpdateRevision
	h.wantRevisions(old, updated, "no")
	h.wantCondition(v1alpha1.ConditionVersionCurrent, v1alpha1.ReasonVersionSkew, "corp-1 runs version test and the operator's release is next; RolledOut says")
	h.available("corp-0")
	h.settle()
	h.available("corp-1")
	h.settle()
	h.wantCondition(v1alpha1.ConditionVersionCurrent, v1alpha1.ReasonVersionCurrent, "every connector")
	h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Pod.Image = "registry.example/mirror/connector:next" })
	h.settle()
	h.upgraded("connector:later")
	h.settle()
	h.wantCondition(v1alpha1.ConditionVersionCurrent, v1alpha1.ReasonVersionSkew, "spec.pod.image pins it")
}

// settleNow is settle in which no time passes: the next pass may be due only when
// a window opens.
func (h *harness) settleNow() *v1alpha1.PassthroughConnector {
	h.t.Helper()
	for range 30 {
		before := h.written()
		if _, err := h.r.Reconcile(h.t.Context(), requestFor(h)); err == nil && h.written() == before {
			return h.get()
		}
	}
	h.t.Fatal("thirty passes, and the last one still wrote something")
	return nil
}

func TestAnUpgradeWaitsForTheMaintenanceWindow(t *testing.T) {
	h := newHarness(t)
	opens := h.clock.UTC().Truncate(time.Minute).Add(6 * time.Hour)
	h.give()
	h.create(fixture.Replicas(2), func(pc *v1alpha1.PassthroughConnector) {
		pc.Spec.Rollout.MaintenanceWindow = &v1alpha1.MaintenanceWindow{Start: opens.Format("15:04"), DurationMinutes: ptr.To[int32](60), TimeZone: "UTC"}
	})
	h.settleNow()
	h.ready()
	old := h.settleNow().Status.UpdateRevision
	h.upgraded("connector:next")
	h.settleNow()
	h.wantRevisions(old, "", "oo")
	h.wantCondition(v1alpha1.ConditionVersionCurrent, v1alpha1.ReasonVersionSkew, "the maintenance window opens at "+opens.Format(time.RFC3339))
	result, err := h.r.Reconcile(t.Context(), requestFor(h))
	if next := h.clock.Add(result.RequeueAfter); err != nil || next.Before(opens) || next.After(opens.Add(time.Second)) {
		t.Errorf("the next pass is at %s (%v), want it when the window opens at %s", next, err, opens)
	}
	h.change(respec(5)) // a change of the specification does not wait, and brings no release
	changed := h.settleNow().Status.UpdateRevision
	h.wantRevisions(old, changed, "no")
	if image := h.deployment("corp-0").Spec.Template.Spec.Containers[0].Image; image != "connector:test" {
		t.Errorf("the image is %s before the window opens", image)
	}
	h.available("corp-0")
	h.settleNow()
	h.available("corp-1")
	h.settleNow()

	h.clock = opens
	next := h.settleNow().Status.UpdateRevision
	h.wantRevisions(changed, next, "no")
	h.clock = opens.Add(time.Hour) // what has begun is finished
	h.available("corp-0")
	h.settleNow()
	h.wantRevisions(changed, next, "nn")
}

func TestOldRevisionsAreForgotten(t *testing.T) {
	h := rolledOut(t, 1)
	for i := range int32(historyLimit + 5) {
		h.change(respec(1 + i))
		h.settle()
		h.ready()
		h.settle()
	}
	var list appsv1.ControllerRevisionList
	h.must(h.client.List(t.Context(), &list, client.InNamespace(h.namespace)))
	if n := len(list.Items); n != historyLimit+1 {
		t.Errorf("%d revisions are kept, want %d and the current one", n, historyLimit)
	}
}

// TestARolloutGoesOnAfterAFailureOfAnyWrite lets each write of a rollout, a
// rollback and a correction fail once, in turn.
func TestARolloutGoesOnAfterAFailureOfAnyWrite(t *testing.T) {
	run := func(t *testing.T, failAt int) (state map[string]string, writes int) {
		t.Helper()
		h := rolledOut(t, 2, func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Rollout.OnFailure = v1alpha1.RolloutRollback })
		begun := h.written()
		h.failing(func(n int, what string) error {
			if n == begun+failAt {
				t.Logf("write %d fails: %s", failAt, what)
				return errInjected
			}
			return nil
		})
		h.change(respec(5))
		h.settleThroughErrors()
		h.overdue()
		h.settleThroughErrors()
		h.ready()
		h.change(respec(6))
		for range 3 {
			h.settleThroughErrors()
			h.ready()
		}
		h.settleThroughErrors()
		state = map[string]string{"one revision": fmt.Sprint(len(slices.Compact(h.revisions())))}
		for name := range h.children() {
			state[sameEachRun(name)] += "+"
		}
		for _, c := range h.get().Status.Conditions {
			state[c.Type] = c.Reason + ": " + sameEachRun(c.Message)
		}
		return state, h.written() - begun
	}
	sameWhateverWriteFails(t, 10, run)
}
