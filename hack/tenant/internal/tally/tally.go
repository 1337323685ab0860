// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tally counts what has happened since the tenant started. It holds
// names and numbers only.
package tally

import (
	"maps"
	"sync"
)

// Event is something that is counted; its text is the key in GET /api/stats.
type Event string

// The events. A defect is something a connector does that the service was not
// seen to punish, and that an honest connector does not do.
const (
	Registrations        Event = "registrations"
	RegistrationsRefused Event = "registrationsRefused"
	Renewals             Event = "renewals"
	RenewalsRefused      Event = "renewalsRefused"
	Bootstraps           Event = "bootstraps"
	BootstrapsRefused    Event = "bootstrapsRefused"
	LinksRefused         Event = "linksRefused"
	SignIns              Event = "signIns"
	SignInSuccesses      Event = "signInSuccesses"
	SignInFailures       Event = "signInFailures"
	// Attempts counts relayed connections tried; Retries those that were not
	// the first of their sign-in.
	Attempts Event = "attempts"
	Retries  Event = "retries"
	// ClosingFaults counts connectors that said they are shutting down.
	ClosingFaults Event = "closingFaults"
	// Sessions counts reliable sessions begun; one carries several sign-ins.
	Sessions Event = "sessions"
	// Responses counts verdicts taken; the next ones, those that came after the
	// time limit or twice, those of them that say something else than the one
	// that was taken, and those that belong to no sign-in.
	Responses            Event = "responses"
	LateResponses        Event = "lateResponses"
	ConflictingResponses Event = "conflictingResponses"
	UnknownResponses     Event = "unknownResponses"
	// Fetches counts requests that connectors fetched; FetchesRefused, those that
	// asked in vain.
	Fetches        Event = "fetches"
	FetchesRefused Event = "fetchesRefused"
	// DefectNameClaim: the name claim is not the user name of the request.
	DefectNameClaim Event = "defectNameClaim"
	// DefectConnectorID: a SignalConnectorResponse names another connector.
	DefectConnectorID Event = "defectConnectorID"
	// DefectRelatesTo: a reply on a reliable session relates to no signal that
	// waits for one.
	DefectRelatesTo Event = "defectRelatesTo"
	// DefectForeignResponse: the verdict came from a connector that was not asked.
	DefectForeignResponse Event = "defectForeignResponse"
	// DefectVerdict: the verdict cannot be read.
	DefectVerdict Event = "defectVerdict"
	// DefectBootstrapIDs: a bootstrap names other ids than the certificate.
	DefectBootstrapIDs Event = "defectBootstrapIDs"
	// DefectFetch: a fetch names another transaction, or its socket is not closed
	// in order.
	DefectFetch  Event = "defectFetch"
	ProxyTunnels Event = "proxyTunnels"
	ProxyRefused Event = "proxyRefused"
)

var all = []Event{
	Registrations, RegistrationsRefused, Renewals, RenewalsRefused, Bootstraps, BootstrapsRefused, LinksRefused,
	SignIns, SignInSuccesses, SignInFailures, Attempts, Retries, ClosingFaults, Sessions, Responses, LateResponses, ConflictingResponses, UnknownResponses, Fetches, FetchesRefused,
	DefectNameClaim, DefectConnectorID, DefectRelatesTo, DefectForeignResponse, DefectVerdict, DefectBootstrapIDs, DefectFetch, ProxyTunnels, ProxyRefused,
}

// Tally counts events. It is safe for concurrent use.
type Tally struct {
	mu     sync.Mutex
	counts map[Event]int
}

// New returns a tally with every event at zero.
func New() *Tally {
	t := &Tally{counts: map[Event]int{}}
	for _, e := range all {
		t.counts[e] = 0
	}
	return t
}

// Count adds one.
func (t *Tally) Count(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[e]++
}

// Snapshot returns every event's count.
func (t *Tally) Snapshot() map[Event]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}
