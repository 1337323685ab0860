// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// certificatesCondition says whether the certificates are in good time. What is
// worst is told, and of several connectors the first.
func certificatesCondition(o observation, p plan, done outcome) metav1.Condition {
	worst := finding{reason: v1alpha1.ReasonAllCurrent}
	var next finding
	certificates := 0
	for i := range o.instances {
		in := &o.instances[i]
		identity := certificateOf(in, done)
		if identity == nil {
			continue
		}
		certificates++
		schedule := o.schedule(*identity)
		if next.at.IsZero() || schedule.RenewAfter.Before(next.at) {
			next = finding{at: schedule.RenewAfter, message: in.name}
		}
		if f := examine(o, p, done, in, schedule); f.rank() > worst.rank() {
			worst = f
		}
	}
	c := metav1.Condition{Type: v1alpha1.ConditionCertificatesCurrent, Status: metav1.ConditionFalse, Reason: worst.reason, Message: worst.message}
	switch {
	case certificates == 0:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonRegistering, "no connector has a certificate yet"
	case worst.reason == v1alpha1.ReasonAllCurrent:
		c.Status = metav1.ConditionTrue
		c.Message = fmt.Sprintf("the certificate of %s is the next to be renewed, from %s on", next.message, moment(next.at))
	}
	return c
}

// finding is what is wrong with one certificate.
type finding struct {
	reason, message string
	at              time.Time
}

// rank orders reasons by how bad they are.
func (f finding) rank() int {
	for rank, reason := range []string{
		v1alpha1.ReasonAllCurrent, v1alpha1.ReasonRenewalUnconfirmed, v1alpha1.ReasonRenewalFailed,
		v1alpha1.ReasonRenewalOverdue, v1alpha1.ReasonCertificateExpired,
	} {
		if f.reason == reason {
			return rank
		}
	}
	return 0
}

// examine judges one certificate as it is after the pass.
func examine(o observation, p plan, done outcome, in *instance, schedule enrolment.Schedule) finding {
	ends := moment(schedule.NotAfter)
	phase := schedule.Phase(o.now)
	if phase == enrolment.Expired {
		return finding{reason: v1alpha1.ReasonCertificateExpired, message: fmt.Sprintf("the certificate of %s ended at %s: the connector has to be registered anew%s", in.name, ends, because(firstOf(done.registrationProblem, p.registrationProblem)))}
	}
	problem := firstOf(done.renewalProblems[in.index], in.renewal.problem)
	if phase != enrolment.Fresh && problem == nil {
		problem = p.renewalProblem
	}
	if _, renewed := done.renewed[in.index]; renewed {
		problem = nil
	}
	switch {
	case phase == enrolment.Emergency:
		return finding{reason: v1alpha1.ReasonRenewalOverdue, message: fmt.Sprintf("the certificate of %s ends at %s and could not be renewed%s", in.name, ends, because(problem))}
	case phase == enrolment.Due && problem != nil:
		return finding{reason: v1alpha1.ReasonRenewalFailed, message: fmt.Sprintf("the certificate of %s, which ends at %s, could not be renewed%s; the operator tries again", in.name, ends, because(problem))}
	case in.overlap != nil && !in.overlap.isConfirmed() && !o.now.Before(in.overlap.since.Add(unconfirmedAfter)):
		return finding{reason: v1alpha1.ReasonRenewalUnconfirmed, message: fmt.Sprintf("%s has not bootstrapped with the certificate that was renewed at %s: see whether its pod runs; the other certificates are not renewed before", in.name, moment(in.overlap.since))}
	default:
		return finding{reason: v1alpha1.ReasonAllCurrent}
	}
}

// certificateOf is the identity of a connector after the pass, even if its
// certificate has ended; nil if it has none.
func certificateOf(in *instance, done outcome) *trust.Identity {
	if identity := identityOf(in, done); identity != nil {
		return identity
	}
	return in.expired
}

func firstOf(problems ...error) error {
	for _, problem := range problems {
		if problem != nil {
			return problem
		}
	}
	return nil
}

func because(problem error) string {
	if problem == nil {
		return ""
	}
	_, message := describe(problem, "")
	return ": " + message
}

// moment is a time as messages show it.
func moment(at time.Time) string { return at.UTC().Format(time.RFC3339) }
