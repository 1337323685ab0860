// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

const (
	// firstRetry is the pause after the first failed registration. Each further
	// failure doubles it, up to lastRetry.
	firstRetry = 30 * time.Second
	lastRetry  = 8 * time.Minute

	// retryJitter is the part of a pause that is added at random, so that many
	// resources that failed together do not call together.
	retryJitter = 0.25
)

// attempt is what is remembered of a resource's failed registrations.
type attempt struct {
	// inputs identifies what the failed calls were made with. Other inputs are
	// tried at once.
	inputs string
	// failures counts the calls that failed in a row.
	failures int
	// next is when to call again.
	next time.Time
	// problem is how the last call failed.
	problem error
}

// due reports whether a call may be made with the inputs at the time now.
func (a attempt) due(inputs string, now time.Time) bool {
	return a.failures == 0 || a.inputs != inputs || !now.Before(a.next)
}

// memory is what passes remember. It may be lost: the next pass is right
// without it, only less gentle.
type memory struct {
	mu sync.Mutex
	// attempts are by the UID of the PassthroughConnector.
	attempts map[types.UID]attempt
	// unsaved are identities that were issued but could not be stored, by the UID
	// of the PassthroughConnector and the index.
	unsaved map[types.UID]map[int]enrolment.Issued
	// uids finds the UID of a resource that is gone.
	uids map[types.NamespacedName]types.UID
	// certificates are by the UID of the PassthroughConnector.
	certificates map[types.UID]*certificateMemory
	// tags are by the UID of the PassthroughConnector.
	tags map[types.UID]readTags
	// signIns are by the UID of the PassthroughConnector.
	signIns map[types.UID]signInMemory
}

func newMemory() *memory {
	return &memory{
		attempts: map[types.UID]attempt{},
		unsaved:  map[types.UID]map[int]enrolment.Issued{},
		uids:     map[types.NamespacedName]types.UID{},

		certificates: map[types.UID]*certificateMemory{},
		tags:         map[types.UID]readTags{},
		signIns:      map[types.UID]signInMemory{},
	}
}

// meet notes which object has the name now, and forgets its predecessor.
func (m *memory) meet(name types.NamespacedName, uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.uids[name]; ok && old != uid {
		m.drop(old)
	}
	m.uids[name] = uid
}

// forget drops all that is known of a resource that is gone.
func (m *memory) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.uids[name])
	delete(m.uids, name)
}

// drop wants the lock held.
func (m *memory) drop(uid types.UID) {
	delete(m.attempts, uid)
	delete(m.unsaved, uid)
	delete(m.certificates, uid)
	delete(m.tags, uid)
	delete(m.signIns, uid)
}

func (m *memory) attempt(uid types.UID) attempt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attempts[uid]
}

// succeed ends a row of failures.
func (m *memory) succeed(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.attempts, uid)
}

// fail notes one more failure with the inputs and returns when to try again.
func (m *memory) fail(uid types.UID, inputs string, now time.Time, problem error, first time.Duration) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.attempts[uid]
	if a.inputs != inputs {
		a = attempt{inputs: inputs}
	}
	a.failures++
	a.problem = problem
	a.next = now.Add(pause(a.failures, first))
	m.attempts[uid] = a
	return a.next
}

// pause is how long to wait after the given number of failures in a row.
func pause(failures int, first time.Duration) time.Duration {
	d := first
	for i := 1; i < failures && d < lastRetry; i++ {
		d *= 2
	}
	return jittered(min(d, lastRetry))
}

// jittered adds up to retryJitter of d to d.
func jittered(d time.Duration) time.Duration {
	return d + rand.N(time.Duration(float64(d)*retryJitter)+1) //nolint:gosec // a pause is no secret
}

// keep holds an identity until it can be stored.
func (m *memory) keep(uid types.UID, index int, issued enrolment.Issued) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unsaved[uid] == nil {
		m.unsaved[uid] = map[int]enrolment.Issued{}
	}
	m.unsaved[uid][index] = issued
}

// kept returns an identity that is waiting to be stored.
func (m *memory) kept(uid types.UID, index int) (enrolment.Issued, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	issued, ok := m.unsaved[uid][index]
	return issued, ok
}

// waiting is how many identities of a resource wait to be stored.
func (m *memory) waiting(uid types.UID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.unsaved[uid])
}

// stored lets go of an identity that is in its Secret now.
func (m *memory) stored(uid types.UID, index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.unsaved[uid], index)
}
