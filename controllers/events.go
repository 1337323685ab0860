// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config/prose"
)

// noteLimit is the longest note that the API server accepts in an event.
const noteLimit = 1024

func noteText(s string) string { return prose.Line(s, noteLimit) }

// eventKind is Warning for what a person should look at: a problem, or connectors
// that were ready and are not any more. On the way to being ready for the first
// time there is nothing to warn of.
func eventKind(was *metav1.Condition, now metav1.Condition) string {
	switch now.Reason {
	case v1alpha1.ReasonRegistering, v1alpha1.ReasonUpdating, v1alpha1.ReasonNotReported,
		v1alpha1.ReasonRollingOut, v1alpha1.ReasonRolloutPaused, v1alpha1.ReasonAwaitingMaintenanceWindow, v1alpha1.ReasonNothingToRollOut,
		v1alpha1.ReasonVersionSkew, v1alpha1.ReasonVersionUnknown:
		return corev1.EventTypeNormal
	case v1alpha1.ReasonNotReady, v1alpha1.ReasonPartlyReady:
		if was == nil || (was.Status != metav1.ConditionTrue && was.Reason != v1alpha1.ReasonPartlyReady) {
			return corev1.EventTypeNormal
		}
	}
	if now.Status == metav1.ConditionTrue {
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}

// tellChanges records an event for each condition whose status or reason changed.
// Events mark changes, not passes; a message that alone changed is no event, unless
// it asks a person to sign in with another code. That a
// new resource's conditions begin as they should is none either.
func (r *Reconciler) tellChanges(pc *v1alpha1.PassthroughConnector, before, after []metav1.Condition) {
	for _, now := range after {
		was := meta.FindStatusCondition(before, now.Type)
		if was != nil && was.Status == now.Status && was.Reason == now.Reason && !anotherCode(was, now) {
			continue
		}
		kind := eventKind(was, now)
		if was == nil && kind == corev1.EventTypeNormal {
			continue
		}
		r.recorder.Eventf(pc, nil, kind, now.Reason, now.Type, "%s", noteText(now.Message))
	}
}

// anotherCode reports whether a person is asked to do something else than before.
func anotherCode(was *metav1.Condition, now metav1.Condition) bool {
	return now.Reason == v1alpha1.ReasonSignInRequired && was.Message != now.Message
}
