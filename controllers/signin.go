// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// With spec.registration.deviceCode the registration token comes from a sign-in. A
// pass makes at most one step of it: it asks for a code, asks once whether somebody
// has signed in with it, or uses the refresh token that a sign-in has left. What
// must outlast the pass is in the Secret <name>-registration; when to ask next is in
// memory alone, and after a restart the interval begins anew.

// step is what a pass does to get a registration token.
type step int

const (
	// stepNone needs nothing: there is a token, or none is to be got now.
	stepNone step = iota
	// stepAsk asks for a code.
	stepAsk
	// stepRedeem asks whether somebody has signed in with the code.
	stepRedeem
	// stepRefresh uses the refresh token.
	stepRefresh
)

// signIn is what is known of an administrator's sign-in.
type signIn struct {
	authority enrolment.Authority
	// secret is the Secret <name>-registration; nil if there is none. kept is what it
	// holds that can be used with the authority.
	secret *corev1.Secret
	kept   keptSignIn
	// unsaved says that the refresh token could not be stored yet.
	unsaved bool
	// poll is when to ask next whether somebody has signed in.
	poll poll
}

// observeSignIn reads the Secret with the sign-in, from the API server, if a
// connector has to be registered. One that the specification has no use for any more
// is surplus: it allows to register connectors.
func (r *Reconciler) observeSignIn(ctx context.Context, o *observation) error {
	pc, name := o.connector, desired.RegistrationName(o.connector)
	if pc.Spec.Registration.DeviceCode == nil {
		secret, err := getOrNil(ctx, r.client, pc.Namespace, name, &corev1.Secret{})
		if err == nil && secret != nil && metav1.IsControlledBy(secret, pc) {
			o.surplus = append(o.surplus, secret)
		}
		return err
	}
	if !o.needsToken() {
		return nil
	}
	endpoints, err := desired.Endpoints(pc)
	if err != nil {
		o.tokenProblem = &blockedError{reason: v1alpha1.ReasonConfigurationInvalid, message: err.Error()}
		return nil //nolint:nilerr // the problem is part of what was observed
	}
	secret, err := getOrNil(ctx, r.live, pc.Namespace, name, &corev1.Secret{})
	if err != nil {
		return err
	}
	s := &o.signIn
	s.authority = enrolment.Authority{
		LoginURL: endpoints.LoginURL, TenantID: pc.Spec.TenantID, ClientID: pc.Spec.Registration.DeviceCode.ClientID,
		Roots: roots(o.bundles), ProxyURL: pc.Spec.Service.ProxyURL,
	}
	if s.authority.ClientID == "" {
		s.authority.ClientID = v1alpha1.DefaultClientID
	}
	if secret != nil {
		if o.tokenProblem = checkOwner(pc, secret, "Secret", v1alpha1.ReasonNameTaken); o.tokenProblem != nil {
			return nil //nolint:nilerr // the problem is part of what was observed
		}
		s.secret, s.kept = secret, readSignIn(secret, s.authority.Name())
	}
	r.memory.meetSignIn(pc.UID, s, o.now)
	o.inputs = inputs(o)
	return nil
}

// planSignIn chooses the step that leads to a token for the connectors to register,
// and reports whether they can be registered in this pass if it succeeds.
func (p *plan) planSignIn(o observation) bool {
	kept := &o.signIn.kept
	switch pending := kept.pending; {
	case kept.denied != "":
		p.registrationProblem = denied(o.connector, kept.denied)
		return false
	case pending != nil && o.now.Before(pending.Expires) && !o.signIn.poll.over:
		if o.now.Before(o.signIn.poll.next) {
			p.registrationProblem = signInRequired(pending, o.signIn.poll.problem)
			p.pollAt = earlier(o.signIn.poll.next, pending.Expires)
			return false
		}
		p.obtain = stepRedeem
		return true
	}
	if !o.attempt.due(o.inputs, o.now) {
		p.registrationProblem, p.retryAt = o.attempt.problem, o.attempt.next
		return false
	}
	p.obtain = stepAsk
	if kept.refresh != "" {
		p.obtain = stepRefresh
	}
	return true
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// signInRequired says what an administrator has to do. problem is why it is not
// known whether that has happened; nil if it is.
func signInRequired(pending *pendingSignIn, problem error) error {
	message := fmt.Sprintf("an administrator of the tenant has to sign in: open %s and enter the code %s before %s, when a new code takes its place",
		pending.VerificationURL, pending.UserCode, pending.Expires.UTC().Format(time.RFC3339))
	if problem != nil {
		message += fmt.Sprintf("; whether that has happened could not be asked: %v", problem)
	}
	return &blockedError{reason: v1alpha1.ReasonSignInRequired, message: message}
}

func denied(pc *v1alpha1.PassthroughConnector, userCode string) error {
	return &blockedError{
		reason: v1alpha1.ReasonSignInDenied,
		message: fmt.Sprintf("the sign-in with the code %s was denied, and the operator does not ask again by itself: delete Secret %s to be given a new code, or use spec.registration.tokenSecretRef",
			userCode, desired.RegistrationName(pc)),
	}
}

// obtain makes a step. It returns a registration token, or why there is none. What
// gives tokens, and storing them, is not given up when the pass is.
func (r *Reconciler) obtain(ctx context.Context, o *observation, what step, done *outcome) (string, error) {
	var tokens enrolment.Tokens
	var err error
	detached := context.WithoutCancel(ctx)
	switch s := &o.signIn; what {
	case stepRedeem:
		tokens, err = r.redeem(detached, o, done)
	case stepRefresh:
		tokens, err = s.authority.Refresh(detached, s.kept.refresh)
		if errors.Is(err, enrolment.ErrLapsed) {
			asked := r.ask(ctx, o, done)
			if reason, _ := describe(asked, ""); reason == v1alpha1.ReasonSignInRequired {
				r.tellLapsed(ctx, o.connector, err)
			}
			return "", asked
		}
	default:
		return "", r.ask(ctx, o, done)
	}
	if err != nil {
		return "", err
	}
	if err := r.keepTokens(detached, o, tokens); err != nil {
		return "", err
	}
	if err := enrolment.CheckToken(tokens.Access, o.connector.Spec.TenantID, o.now); err != nil {
		return "", orSignInAnew(o.connector, err)
	}
	return tokens.Access, nil
}

// ask asks for a code and keeps it. The error, if all goes well, is what an
// administrator has to do.
func (r *Reconciler) ask(ctx context.Context, o *observation, done *outcome) error {
	s := &o.signIn
	code, err := s.authority.AskForCode(ctx)
	if err != nil {
		return err
	}
	asked := r.now()
	pending := &pendingSignIn{
		DeviceCode: code.Code, UserCode: code.UserCode, VerificationURL: code.VerificationURL,
		Expires: asked.Add(code.Lifetime).UTC().Truncate(time.Second), IntervalSeconds: int64(code.Interval / time.Second),
	}
	if err := r.storeSignIn(ctx, o, keptSignIn{pending: pending}); err != nil {
		return err
	}
	r.memory.dropToken(o.connector.UID)
	next := asked.Add(code.Interval)
	r.memory.setPoll(o.connector.UID, poll{of: pending.id(), next: next})
	done.pollAt = next
	log.FromContext(ctx).Info("Asked for a sign-in", "verificationURL", pending.VerificationURL, "expires", pending.Expires)
	return signInRequired(pending, nil)
}

// redeem asks whether somebody has signed in. That nobody has is what an
// administrator has to do still.
func (r *Reconciler) redeem(ctx context.Context, o *observation, done *outcome) (enrolment.Tokens, error) {
	pc, pending, p := o.connector, o.signIn.kept.pending, o.signIn.poll
	tokens, err := o.signIn.authority.Redeem(ctx, pending.DeviceCode)
	interval, problem := pending.interval(), error(nil)
	switch {
	case err == nil:
		return tokens, nil
	case errors.Is(err, enrolment.ErrDenied):
		if err := r.storeSignIn(ctx, o, keptSignIn{denied: pending.UserCode}); err != nil {
			return enrolment.Tokens{}, err
		}
		return enrolment.Tokens{}, denied(pc, pending.UserCode)
	case errors.Is(err, enrolment.ErrCodeEnded):
		// Before its time: the next code has to wait as after any failure, so that an
		// authority of which all codes end at once is left in peace.
		r.memory.setPoll(pc.UID, poll{of: pending.id(), over: true})
		return enrolment.Tokens{}, err
	case errors.Is(err, enrolment.ErrSlowDown):
		slower := *pending
		interval = enrolment.Slower(interval)
		slower.IntervalSeconds = int64(interval / time.Second)
		if err := r.storeSignIn(ctx, o, keptSignIn{pending: &slower}); err != nil {
			done.errs = append(done.errs, err)
		}
		p.failures = 0
	case errors.Is(err, enrolment.ErrPending):
		p.failures = 0
	default:
		p.failures++
		problem, interval = err, max(interval, pause(p.failures, interval))
	}
	p.next, p.problem = r.now().Add(interval), problem
	r.memory.setPoll(pc.UID, p)
	done.pollAt = earlier(p.next, pending.Expires)
	return enrolment.Tokens{}, signInRequired(pending, problem)
}

// keepTokens puts a refresh token in place of what it was got with, before anything
// is done with its sibling. If it cannot be stored, it is kept in memory for the next
// pass.
func (r *Reconciler) keepTokens(ctx context.Context, o *observation, tokens enrolment.Tokens) error {
	r.memory.setPoll(o.connector.UID, poll{})
	if tokens.Refresh != o.signIn.kept.refresh || o.signIn.unsaved {
		if err := r.storeSignIn(ctx, o, keptSignIn{refresh: tokens.Refresh}); err != nil {
			r.memory.keepToken(o.connector.UID, &o.signIn, tokens.Refresh)
			return err
		}
	}
	r.memory.dropToken(o.connector.UID)
	o.signIn.kept, o.signIn.unsaved = keptSignIn{refresh: tokens.Refresh}, false
	o.inputs = inputs(o)
	return nil
}

// orSignInAnew adds to what was refused how to let another administrator sign in.
func orSignInAnew(pc *v1alpha1.PassthroughConnector, err error) error {
	reason, message := describe(err, v1alpha1.ReasonRegistrationRefused)
	return &enrolment.Error{
		Reason:  reason,
		Message: fmt.Sprintf("%s; to let another administrator sign in, delete Secret %s", message, desired.RegistrationName(pc)),
		Retry:   true,
	}
}

// tellLapsed tells why somebody has to sign in again although somebody did.
func (r *Reconciler) tellLapsed(ctx context.Context, pc *v1alpha1.PassthroughConnector, err error) {
	message := fmt.Sprintf("the kept sign-in cannot be used any more, an administrator has to sign in again: %v", err)
	log.FromContext(ctx).Info("The kept sign-in cannot be used any more", "why", err.Error())
	r.recorder.Eventf(pc, nil, corev1.EventTypeWarning, v1alpha1.ReasonSignInLapsed, "Register", "%s", noteText(message))
}
