// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/prose"
)

// noteLimit is the longest note that the API server accepts in an event.
const noteLimit = 1024

func noteText(s string) string { return prose.Line(s, noteLimit) }

// progress are reasons of conditions that are not True although all is well.
var progress = map[string]bool{
	v1alpha1.ReasonRegistering: true,
	v1alpha1.ReasonUpdating:    true,
}

// tellChanges records an event for each condition whose status or reason changed.
// Events mark changes, not passes; a message that alone changed is no event.
func (r *Reconciler) tellChanges(pc *v1alpha1.PassthroughConnector, before, after []metav1.Condition) {
	for _, now := range after {
		was := meta.FindStatusCondition(before, now.Type)
		if was != nil && was.Status == now.Status && was.Reason == now.Reason {
			continue
		}
		kind := corev1.EventTypeWarning
		if now.Status == metav1.ConditionTrue || progress[now.Reason] {
			kind = corev1.EventTypeNormal
		}
		r.recorder.Eventf(pc, nil, kind, now.Reason, now.Type, "%s", noteText(now.Message))
	}
}
