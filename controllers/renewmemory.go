// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// certificateMemory is what is remembered of the certificates of one resource.
type certificateMemory struct {
	// renewBefore is how long before its end the service wants a certificate to be
	// renewed; zero if it was not asked yet.
	renewBefore time.Duration
	// attempts are the renewals that failed in a row, by index.
	attempts map[int]attempt
	// unsaved are pairs that were issued but could not be stored, by index.
	unsaved map[int]unsavedRenewal
	// confirmed is when a certificate was first seen to have carried a bootstrap.
	confirmed map[int]confirmation
}

type unsavedRenewal struct {
	replaces string // the thumbprint of the certificate that it renews
	issued   enrolment.Issued
}

type confirmation struct {
	thumbprint string
	at         time.Time
}

// certificatesOf returns what is remembered of a resource's certificates. It
// wants the lock held.
func (m *memory) certificatesOf(uid types.UID) *certificateMemory {
	c := m.certificates[uid]
	if c == nil {
		c = &certificateMemory{attempts: map[int]attempt{}, unsaved: map[int]unsavedRenewal{}, confirmed: map[int]confirmation{}}
		m.certificates[uid] = c
	}
	return c
}

func (m *memory) renewBefore(uid types.UID) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.certificatesOf(uid).renewBefore
}

func (m *memory) learnRenewBefore(uid types.UID, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.certificatesOf(uid).renewBefore = d
}

func (m *memory) renewalAttempt(uid types.UID, index int) attempt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.certificatesOf(uid).attempts[index]
}

// failRenewal notes one more failure and returns when to try again.
func (m *memory) failRenewal(uid types.UID, index int, now time.Time, problem error, first time.Duration) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.certificatesOf(uid)
	a := c.attempts[index]
	a.failures++
	a.problem = problem
	a.next = now.Add(pause(a.failures, first))
	c.attempts[index] = a
	return a.next
}

// succeedRenewal ends a row of failures.
func (m *memory) succeedRenewal(uid types.UID, index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.certificatesOf(uid).attempts, index)
}

// keepRenewal holds a renewed pair until it can be stored.
func (m *memory) keepRenewal(uid types.UID, index int, replaces string, issued enrolment.Issued) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.certificatesOf(uid).unsaved[index] = unsavedRenewal{replaces: replaces, issued: issued}
}

// keptRenewal returns a renewed pair that is waiting to replace a certificate.
func (m *memory) keptRenewal(uid types.UID, index int, replaces string) (enrolment.Issued, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept, ok := m.certificatesOf(uid).unsaved[index]
	return kept.issued, ok && kept.replaces == replaces
}

// storedRenewal lets go of a renewed pair that is in its Secret now, or is of no
// use any more.
func (m *memory) storedRenewal(uid types.UID, index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.certificatesOf(uid).unsaved, index)
}

// confirm notes that a certificate has carried a bootstrap, and returns when that
// was first noted.
func (m *memory) confirm(uid types.UID, index int, thumbprint string, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.certificatesOf(uid)
	if c.confirmed[index].thumbprint != thumbprint {
		c.confirmed[index] = confirmation{thumbprint: thumbprint, at: now}
	}
	return c.confirmed[index].at
}
