// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// bare is an observation of n connectors of which nothing exists but a good token.
func bare(n int32, change ...func(*observation)) observation {
	o := observation{connector: fixture.Connector(fixture.Replicas(n)), now: testNow, token: "token", inputs: "inputs"}
	for i := range int(n) {
		o.instances = append(o.instances, instance{index: i, name: desired.ConnectorName(o.connector, i)})
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

// identified gives connectors identities.
func identified(indexes ...int) func(*observation) {
	return func(o *observation) {
		for _, i := range indexes {
			o.instances[i].identity = &trust.Identity{ConnectorID: "id", NotBefore: testNow.AddDate(0, 0, -80), NotAfter: testNow.AddDate(0, 0, 100)}
		}
	}
}

func owned(o *observation, object metav1.Object) {
	object.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(o.connector, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))})
}

func TestPlan(t *testing.T) {
	blocked := &blockedError{reason: v1alpha1.ReasonTokenExpired, message: "expired"}
	common := []string{"ServiceAccount/corp-connector", "Service/corp-connectors", "PodDisruptionBudget/corp-connectors", "NetworkPolicy/corp-connectors"}
	for name, tc := range map[string]struct {
		o            observation
		wantRegister []int
		wantStore    []int
		wantApply    []string // beside the common children
		wantRemove   []string
		wantProblem  error
	}{
		"nothing exists": {o: bare(2), wantRegister: []int{0, 1}},
		"more are missing than are registered at once": {o: bare(9), wantRegister: []int{0, 1, 2, 3}},
		"what has an identity is made, the rest registered": {
			o: bare(3, identified(1)), wantRegister: []int{0, 2}, wantApply: []string{"ConfigMap/corp-1", "Deployment/corp-1"},
		},
		"a bad token keeps from registering, not from the rest": {
			o:         bare(2, identified(0), func(o *observation) { o.tokenProblem = blocked }),
			wantApply: []string{"ConfigMap/corp-0", "Deployment/corp-0"}, wantProblem: blocked,
		},
		"a bad token does not matter when all are registered": {
			o:         bare(1, identified(0)),
			wantApply: []string{"ConfigMap/corp-0", "Deployment/corp-0"},
		},
		"after a failure there is a pause": {
			o: bare(1, func(o *observation) {
				o.attempt = attempt{inputs: "inputs", failures: 1, next: testNow.Add(time.Second), problem: blocked}
			}),
			wantProblem: blocked,
		},
		"the pause ends": {
			o: bare(1, func(o *observation) {
				o.attempt = attempt{inputs: "inputs", failures: 1, next: testNow, problem: blocked}
			}),
			wantRegister: []int{0},
		},
		"the pause ends when the token changes": {
			o: bare(1, func(o *observation) {
				o.attempt = attempt{inputs: "old inputs", failures: 1, next: testNow.Add(time.Hour), problem: blocked}
			}),
			wantRegister: []int{0},
		},
		"an identity that waits to be stored is stored, not asked for again": {
			o:            bare(2, func(o *observation) { o.instances[0].unsaved = &enrolment.Issued{} }),
			wantRegister: []int{1}, wantStore: []int{0},
		},
		"a Secret in the way keeps its connector from being registered": {
			o:            bare(2, func(o *observation) { o.instances[0].identityProblem = errors.New("foreign") }),
			wantRegister: []int{1},
		},
		"without a CA bundle nothing is registered or changed": {
			o: bare(2, identified(0), func(o *observation) { o.bundleProblem = blocked }), wantProblem: blocked,
		},
		"what is not wanted any more goes, Deployments first, and identities stay": {
			o: bare(1, identified(0), func(o *observation) {
				o.surplus = append(o.surplus,
					&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "corp-1"}},
					&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "corp-1"}},
					&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "corp-2", DeletionTimestamp: &metav1.Time{Time: testNow}}})
			}),
			wantApply:  []string{"ConfigMap/corp-0", "Deployment/corp-0"},
			wantRemove: []string{"corp-1 *v1.Deployment", "corp-1 *v1.ConfigMap"},
		},
		"a Deployment that is being deleted is left to go": {
			o: bare(1, identified(0), func(o *observation) {
				d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "corp-0", DeletionTimestamp: &metav1.Time{Time: testNow}}}
				owned(o, d)
				o.instances[0].deployment = d
			}),
			wantApply: []string{"ConfigMap/corp-0"},
		},
		"a Deployment that we did not apply is applied": {
			o: bare(1, identified(0), func(o *observation) {
				d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "corp-0"}}
				owned(o, d)
				o.instances[0].deployment = d
			}),
			wantApply: []string{"ConfigMap/corp-0", "Deployment/corp-0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := decide(tc.o, "image")
			var applied, removed []string
			for _, c := range p.apply {
				if c.kind == controllerRevisionKind {
					continue // TestRollouts looks at those
				}
				applied = append(applied, c.kind.Kind+"/"+c.name)
			}
			for _, object := range p.remove {
				removed = append(removed, object.GetName()+" "+typeName(object))
			}
			for what, diff := range map[string]string{
				"register": cmp.Diff(tc.wantRegister, p.register),
				"store":    cmp.Diff(tc.wantStore, p.store),
				"apply":    cmp.Diff(slices.Concat(common, tc.wantApply), applied),
				"remove":   cmp.Diff(tc.wantRemove, removed),
				"problem":  cmp.Diff(tc.wantProblem, p.registrationProblem, cmpopts.EquateErrors()),
			} {
				if diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		})
	}
}

func typeName(object any) string {
	switch object.(type) {
	case *appsv1.Deployment:
		return "*v1.Deployment"
	case *corev1.ConfigMap:
		return "*v1.ConfigMap"
	default:
		return "?"
	}
}

func TestPlanLeavesForeignChildrenAlone(t *testing.T) {
	o := bare(1, identified(0), func(o *observation) {
		o.instances[0].deployment = &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "corp-0", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "x/v1", Kind: "Other", Name: "other", UID: "other", Controller: new(true)},
		}}}
		o.service = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "corp-connectors"}}
		o.serviceAccount = &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "corp-connector", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind, Name: "corp", UID: "an earlier one", Controller: new(true)},
		}}}
	})
	p := decide(o, "image")
	for _, c := range p.apply {
		if c.kind == serviceKind || c.kind == serviceAccountKind || c.kind == deploymentKind {
			t.Errorf("planned to apply %s %s, which is not ours", c.kind.Kind, c.name)
		}
	}
	var blocked, waiting int
	for _, err := range p.ownerProblems {
		var b *blockedError
		var w *waitingError
		switch {
		case errors.As(err, &b):
			blocked++
		case errors.As(err, &w) && w.after > 0:
			waiting++
		}
		if reason, _ := describe(err, ""); reason != v1alpha1.ReasonNameTaken {
			t.Errorf("reason %s, want %s", reason, v1alpha1.ReasonNameTaken)
		}
	}
	if blocked != 2 || waiting != 1 {
		t.Errorf("%d problems for a person and %d that time solves; want 2 and 1: %v", blocked, waiting, p.ownerProblems)
	}
}
