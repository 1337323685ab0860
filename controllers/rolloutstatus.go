// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// halts reports whether a reason of RolledOut means that nothing goes on by
// itself, or not for long.
func halts(reason string) bool {
	switch reason {
	case v1alpha1.ReasonRolloutHalted, v1alpha1.ReasonRolledBack, v1alpha1.ReasonRolloutPaused, v1alpha1.ReasonAwaitingMaintenanceWindow:
		return true
	default:
		return false
	}
}

// rolledOutCondition says how far the specification is rolled out.
func rolledOutCondition(o observation, p plan, done outcome) metav1.Condition {
	r := &p.rollout
	c := metav1.Condition{Type: v1alpha1.ConditionRolledOut, Status: metav1.ConditionFalse}
	if p.configurationProblem != nil {
		c.Reason, c.Message = describe(p.configurationProblem, v1alpha1.ReasonConfigurationInvalid)
		return c
	}
	updated := 0
	for _, is := range p.updated {
		if is {
			updated++
		}
	}
	c.Message = fmt.Sprintf("%d of %s of revision %s", updated, connectors(len(o.instances)), r.specified.name)
	switch {
	case len(r.revisions) == 0:
		c.Reason, c.Message = v1alpha1.ReasonNothingToRollOut, "there is no connector to roll out to yet"
	case r.rolledBack():
		c.Reason = v1alpha1.ReasonRolledBack
		c.Message = fmt.Sprintf("revision %s failed and the connectors return to revision %s: %s; correct the specification", r.specified.name, r.target.name, r.failure)
	case r.done:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonRolledOut
		c.Message = "every connector was brought to revision " + r.specified.name
	case r.decision.phase == rolloutHalted:
		c.Reason = v1alpha1.ReasonRolloutHalted
		c.Message += "; it was not available in time: " + r.haltedBecause(o, done)
		c.Message += "; correct the specification or, if the cause was elsewhere and is gone, set spec.rollout.mode to Paused and then to Active"
	case r.decision.phase == rolloutPaused:
		c.Reason = v1alpha1.ReasonRolloutPaused
		c.Message += "; spec.rollout.mode is Paused"
	case r.decision.phase == rolloutWaiting:
		c.Reason = v1alpha1.ReasonAwaitingMaintenanceWindow
		c.Message += "; " + r.window.opens()
	default:
		c.Reason = v1alpha1.ReasonRollingOut
		c.Message += r.awaits(o, done)
	}
	return c
}

// haltedBecause names the connector that failed and why, as it is now or, if it
// has recovered, as it was.
func (r *rolloutPlan) haltedBecause(o observation, done outcome) string {
	if r.decision.failed >= 0 {
		failed := &o.instances[r.decision.failed]
		return failed.name + ": " + explain(failed, done)
	}
	return r.failure
}

// awaits names the connector that the rollout waits for.
func (r *rolloutPlan) awaits(o observation, done outcome) string {
	if r.decision.awaited < 0 {
		return ""
	}
	in := &o.instances[r.decision.awaited]
	why := explain(in, done)
	if ready(in) {
		why = "it is ready and must stay so for spec.rollout.minReadySeconds"
	}
	return "; awaiting " + in.name + ": " + why
}

// opens says when a closed window opens.
func (w windowState) opens() string {
	switch {
	case w.problem != nil:
		return w.problem.Error()
	case w.open || w.next.IsZero():
		return "the maintenance window is open"
	default:
		return "the maintenance window opens at " + w.next.UTC().Format(time.RFC3339)
	}
}

// tagOf is the tag of an image; "" if it has none.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndex(image, "/")+1:]
	_, tag, _ := strings.Cut(name, ":")
	return tag
}

// versionCondition compares the images that connectors run with the one that was
// released together with the operator. Registries differ from site to site, so it
// is the tags that count.
func versionCondition(o observation, p plan) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionVersionCurrent, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonVersionUnknown}
	r := &p.rollout
	if r.window.problem != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonMaintenanceWindowInvalid, r.window.problem.Error()
		return c
	}
	want := tagOf(p.releaseImage)
	seen, skewed := 0, ""
	for i := range o.instances {
		in := &o.instances[i]
		if in.deployment == nil || len(in.deployment.Spec.Template.Spec.Containers) == 0 {
			continue
		}
		image := in.deployment.Spec.Template.Spec.Containers[0].Image
		seen++
		switch tag := tagOf(image); {
		case image == p.releaseImage:
		case tag == "" || want == "":
			c.Message = fmt.Sprintf("%s runs %s and the operator's release is %s; they cannot be compared without tags", in.name, image, p.releaseImage)
			return c
		case tag != want && skewed == "":
			skewed = fmt.Sprintf("%s runs version %s and the operator's release is %s", in.name, tag, want)
		}
	}
	switch {
	case seen == 0:
		c.Message = "there is no connector yet"
	case skewed == "":
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonVersionCurrent
		c.Message = "every connector runs the version of the operator's release"
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonVersionSkew, skewed+"; "+skewReason(o, r)
	}
	return c
}

// skewReason says why connectors run another version.
func skewReason(o observation, r *rolloutPlan) string {
	switch {
	case o.connector.Spec.Pod.Image != "":
		return "spec.pod.image pins it: change it, or remove it to follow the operator"
	case !r.window.open:
		return r.window.opens()
	default:
		return "RolledOut says how far the update is"
	}
}
