// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// keptSignIn is what the Secret <name>-registration holds: one of these, or nothing.
type keptSignIn struct {
	// pending is a code that waits for an administrator.
	pending *pendingSignIn
	// denied is the user code of a sign-in that was denied.
	denied string
	// refresh is the refresh token that a sign-in has left.
	refresh string
}

// Format prints nothing of the tokens, whatever the verb.
func (keptSignIn) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, "kept sign-in") }

// pendingSignIn is a code that waits for an administrator, as it is stored.
type pendingSignIn struct {
	DeviceCode      string    `json:"deviceCode"`
	UserCode        string    `json:"userCode"`
	VerificationURL string    `json:"verificationURL"`
	Expires         time.Time `json:"expires"`
	IntervalSeconds int64     `json:"intervalSeconds"`
}

// Format prints what may be shown, never the device code, whatever the verb.
func (p pendingSignIn) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "sign-in with the code %s at %s", p.UserCode, p.VerificationURL)
}

// id tells one code from another and is no secret.
func (p *pendingSignIn) id() string { return p.UserCode + " " + p.Expires.Format(time.RFC3339) }

func (p *pendingSignIn) interval() time.Duration {
	return time.Duration(max(p.IntervalSeconds, 1)) * time.Second
}

// readSignIn reads what a Secret holds of an authority. What another one issued, or
// what cannot be read, is of no use: it is as if there was nothing.
func readSignIn(secret *corev1.Secret, authority string) keptSignIn {
	if string(secret.Data[v1alpha1.KeyAuthority]) != authority {
		return keptSignIn{}
	}
	if refresh := secret.Data[v1alpha1.KeyRefreshToken]; len(refresh) > 0 {
		return keptSignIn{refresh: string(refresh)}
	}
	if denied := secret.Data[v1alpha1.KeyDenied]; len(denied) > 0 {
		return keptSignIn{denied: string(denied)}
	}
	var pending pendingSignIn
	if err := json.Unmarshal(secret.Data[v1alpha1.KeyDeviceAuthorization], &pending); err != nil || pending.DeviceCode == "" {
		return keptSignIn{}
	}
	return keptSignIn{pending: &pending}
}

// data is what readSignIn reads.
func (k keptSignIn) data(authority string) (map[string][]byte, error) {
	data := map[string][]byte{v1alpha1.KeyAuthority: []byte(authority)}
	switch {
	case k.refresh != "":
		data[v1alpha1.KeyRefreshToken] = []byte(k.refresh)
	case k.denied != "":
		data[v1alpha1.KeyDenied] = []byte(k.denied)
	case k.pending != nil:
		encoded, err := json.Marshal(k.pending)
		if err != nil {
			return nil, fmt.Errorf("encoding a sign-in: %w", err)
		}
		data[v1alpha1.KeyDeviceAuthorization] = encoded
	}
	return data, nil
}

// storeSignIn makes a Secret of ours hold kept and nothing else, and keeps trying for
// storeDeadline. A Secret that was deleted during the pass is not made again: whoever
// deleted it wants the operator to ask anew.
func (r *Reconciler) storeSignIn(ctx context.Context, o *observation, kept keptSignIn) error {
	ctx, cancel := context.WithTimeout(ctx, storeDeadline)
	defer cancel()
	data, err := kept.data(o.signIn.authority.Name())
	if err != nil {
		return err
	}
	var last error
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 5}
	err = wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		last = r.writeSignIn(ctx, o, data)
		if last == nil {
			return true, nil
		}
		if !retriable(last) || apierrors.HasStatusCause(last, corev1.NamespaceTerminatingCause) {
			return false, last
		}
		return false, nil
	})
	if err == nil {
		return nil
	}
	if last = firstOf(last, err); !retriable(last) {
		return last
	}
	return &enrolment.Error{
		Reason:  v1alpha1.ReasonSignInNotStored,
		Message: fmt.Sprintf("the sign-in could not be stored in Secret %s: %v", desired.RegistrationName(o.connector), last),
		Retry:   true,
	}
}

// writeSignIn tries once to write the Secret. If it is not what the pass has seen, the
// next try is made with what it is now.
func (r *Reconciler) writeSignIn(ctx context.Context, o *observation, data map[string][]byte) error {
	pc, seen := o.connector, o.signIn.secret
	var err error
	next := desired.RegistrationSecret(pc, data)
	if seen == nil {
		err = r.client.Create(ctx, next)
	} else {
		next = seen.DeepCopy()
		next.Data = data
		err = r.client.Update(ctx, next, client.FieldOwner(v1alpha1.OperatorName))
	}
	switch {
	case err == nil:
		o.signIn.secret = next
		return nil
	case seen == nil && !apierrors.IsAlreadyExists(err), seen != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
		return err
	}
	now, readErr := getOrNil(ctx, r.live, pc.Namespace, next.Name, &corev1.Secret{})
	switch {
	case readErr != nil:
		return readErr
	case now == nil, seen != nil && now.UID != seen.UID:
		return changedMeanwhile(v1alpha1.ReasonSignInNotStored, next)
	}
	if foreign := checkOwner(pc, now, "Secret", v1alpha1.ReasonNameTaken); foreign != nil {
		return foreign
	}
	o.signIn.secret = now
	return err
}

// poll is when to ask next whether somebody has signed in.
type poll struct {
	of       string // id of the code
	next     time.Time
	failures int   // calls in a row that brought no answer
	problem  error // of the last one; nil if it brought one
	over     bool  // the authority says that the code has ended
}

// signInMemory is what passes remember of a sign-in.
type signInMemory struct {
	poll poll
	// token is a refresh token that could not be stored in the Secret with the UID, of
	// the authority; empty if there is none.
	token     string
	secret    types.UID
	authority string
}

// meetSignIn completes what a pass has read by what is remembered.
func (m *memory) meetSignIn(uid types.UID, s *signIn, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.signIns[uid]
	if s.secret == nil || s.secret.UID != known.secret || s.authority.Name() != known.authority {
		known.token = "" // it was deleted, so as to begin anew
	}
	if known.token != "" {
		s.kept, s.unsaved = keptSignIn{refresh: known.token}, true
	}
	switch pending := s.kept.pending; {
	case pending == nil:
		known.poll = poll{}
	case known.poll.of != pending.id():
		// The last process may have asked a moment ago.
		known.poll = poll{of: pending.id(), next: now.Add(pending.interval())}
	}
	s.poll = known.poll
	m.signIns[uid] = known
}

func (m *memory) setPoll(uid types.UID, p poll) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.signIns[uid]
	known.poll = p
	m.signIns[uid] = known
}

// keepToken holds a refresh token until it can be stored.
func (m *memory) keepToken(uid types.UID, s *signIn, token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.signIns[uid]
	known.token, known.secret, known.authority = token, "", s.authority.Name()
	if s.secret != nil {
		known.secret = s.secret.UID
	}
	m.signIns[uid] = known
}

// dropToken lets go of a refresh token that is stored or of no use.
func (m *memory) dropToken(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.signIns[uid]
	known.token = ""
	m.signIns[uid] = known
}
