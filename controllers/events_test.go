// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

func TestEventsTellChanges(t *testing.T) {
	condition := func(status metav1.ConditionStatus, reason, message string) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message}}
	}
	for name, tc := range map[string]struct {
		before, after []metav1.Condition
		want          string // the beginning of the event; "" for none
	}{
		"the first connectors are awaited": {nil, condition("False", v1alpha1.ReasonNotReady, "m"), ""},
		"all is well from the beginning":   {nil, condition("True", v1alpha1.ReasonAllReady, "m"), ""},
		"a problem from the beginning":     {nil, condition("False", v1alpha1.ReasonNotRegistered, "m"), "Warning NotRegistered m"},
		"some of them are there":           {condition("False", v1alpha1.ReasonNotReady, ""), condition("False", v1alpha1.ReasonPartlyReady, "m"), "Normal PartlyReady m"},
		"all of them are there":            {condition("False", v1alpha1.ReasonPartlyReady, ""), condition("True", v1alpha1.ReasonAllReady, "m"), "Normal AllReady m"},
		"one is lost":                      {condition("True", v1alpha1.ReasonAllReady, ""), condition("False", v1alpha1.ReasonPartlyReady, "m"), "Warning PartlyReady m"},
		"the last one is lost":             {condition("False", v1alpha1.ReasonPartlyReady, ""), condition("False", v1alpha1.ReasonNotReady, "m"), "Warning NotReady m"},
		"the specification is rolled out":  {condition("True", v1alpha1.ReasonAllReady, ""), condition("False", v1alpha1.ReasonUpdating, "m"), "Normal Updating m"},
		"the message alone changes":        {condition("False", v1alpha1.ReasonNotReady, "a"), condition("False", v1alpha1.ReasonNotReady, "b"), ""},
		"nothing changes":                  {condition("True", v1alpha1.ReasonAllReady, "a"), condition("True", v1alpha1.ReasonAllReady, "a"), ""},
		"a long story with a percent sign": {condition("False", v1alpha1.ReasonPartlyReady, ""), condition("True", v1alpha1.ReasonAllReady, "100%s"+strings.Repeat("x", 2000)), "Normal AllReady 100%sxxx"},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(10)
			(&Reconciler{recorder: recorder}).tellChanges(fixture.Connector(), tc.before, tc.after)
			got := ""
			select {
			case got = <-recorder.Events:
			default:
			}
			if !strings.HasPrefix(got, tc.want) || (tc.want == "" && got != "") {
				t.Error(cmp.Diff(tc.want, got))
			}
			if len(got) > noteLimit+64 {
				t.Errorf("the event has %d bytes", len(got))
			}
		})
	}
}
