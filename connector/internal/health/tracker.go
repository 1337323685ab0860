// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package health folds what happens in the connector into one state, and
// derives from it whether the connector is ready, and why not.
//
// The parts of the connector report events to a Tracker; none of them asks it
// anything. Readiness is a function of the folded state and the time, so that
// the probes, the status page and the tests agree.
package health

import (
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/config/prose"
)

// Bounds of texts that others wrote, in bytes.
const (
	maxState   = 64
	maxMessage = 1024
)

// provenFor is how many failed proofs in a row make a proven validator count
// as failing: one may be a domain controller that restarts.
const provenFor = 2

// Tracker folds events. Its methods may be called concurrently.
type Tracker struct {
	mu    sync.Mutex // protects state
	state state
}

// state is everything that readiness depends on.
type state struct {
	status        config.Status // Ready, Reason, Message and Links are derived
	links         map[string]config.LinkStatus
	proofFailures int
	inspected     string // what to do about TLS inspection; empty if there is none
	gaveUp        bool
	stopping      bool
}

// New returns a tracker for a connector that has just started.
func New(c config.Config, version string) *Tracker {
	return &Tracker{state: state{
		links: map[string]config.LinkStatus{},
		status: config.Status{
			TenantID: c.TenantID, Version: version, MachineName: c.MachineName, ConfigDigest: c.Digest,
			Validator: config.ValidatorStatus{Method: c.Validation.Method, State: config.ValidatorUnproven},
		},
	}}
}

func (t *Tracker) update(f func(*state)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.state)
}

// Identity reports the certificate in use, and the thumbprints of those before
// it whose keys are held.
func (t *Tracker) Identity(connectorID, thumbprint string, notAfter time.Time, previous []string) {
	t.update(func(s *state) {
		s.status.ConnectorID = connectorID
		s.status.Certificate = config.CertificateStatus{
			Thumbprint: thumbprint, NotAfter: notAfter, PreviousThumbprints: previous, LastError: s.status.Certificate.LastError,
		}
	})
}

// IdentityFiles reports whether the identity's files can be read; nil: they can.
func (t *Tracker) IdentityFiles(err error) {
	t.update(func(s *state) {
		s.status.Certificate.LastError = ""
		if err != nil {
			s.status.Certificate.LastError = prose.Line(err.Error(), maxMessage)
		}
	})
}

// Said is what the service says of a connector when it answers a bootstrap. The
// texts are the service's own, of any length and content.
type Said struct{ State, Message, Triggers string }

// Bootstrapped reports a bootstrap that succeeded, the certificate that carried
// it ("" if that is not known), and what the service said. It returns what of
// that is shown.
func (t *Tracker) Bootstrapped(at time.Time, thumbprint string, said Said) Said {
	shown := Said{prose.Line(said.State, maxState), prose.Line(said.Message, maxMessage), prose.Line(said.Triggers, maxMessage)}
	t.update(func(s *state) {
		s.status.Bootstrap = config.BootstrapStatus{
			LastSuccess: &at, ConnectorState: shown.State, ServiceMessage: shown.Message, Triggers: shown.Triggers,
		}
		s.inspected, s.gaveUp = "", false
		if thumbprint != "" {
			s.status.BootstrapThumbprint = thumbprint
		}
	})
	return shown
}

// BootstrapFailed reports the n-th failure in a row.
func (t *Tracker) BootstrapFailed(n int, err error) {
	t.update(func(s *state) {
		s.status.Bootstrap.ConsecutiveFailures = n
		s.status.Bootstrap.LastError = prose.Line(err.Error(), maxMessage)
	})
}

// GaveUp reports that bootstraps have failed so often that the connector listens
// no more. The next one that succeeds ends that.
func (t *Tracker) GaveUp() { t.update(func(s *state) { s.gaveUp = true }) }

// Inspected reports that something between the connector and the service
// answered in its place, and what to do about it. It holds until the next
// bootstrap that succeeds.
func (t *Tracker) Inspected(what string) {
	t.update(func(s *state) { s.inspected = prose.Line(what, maxMessage) })
}

// Link reports a change of a signalling link; a closed one is forgotten.
func (t *Tracker) Link(endpoint, linkState string, at time.Time, err error) {
	t.update(func(s *state) {
		if linkState == config.LinkClosed {
			delete(s.links, endpoint)
			return
		}
		l := config.LinkStatus{Endpoint: endpoint, State: linkState, Since: at}
		switch {
		case err != nil:
			l.LastError = prose.Line(err.Error(), maxMessage)
		case linkState == config.LinkConnecting:
			l.LastError = s.links[endpoint].LastError
		}
		s.links[endpoint] = l
	})
}

// ValidatorProven reports that the validator refused a random credential.
func (t *Tracker) ValidatorProven(at time.Time) {
	t.update(func(s *state) {
		if s.status.Validator.State == config.ValidatorAcceptsAnything {
			return // latched
		}
		s.proofFailures = 0
		s.status.Validator.State = config.ValidatorProven
		s.status.Validator.Message = ""
		s.status.Validator.LastCheck = &at
	})
}

// ValidatorFailing reports that the validator could not be asked. Once is not
// enough to count for one that was proven.
func (t *Tracker) ValidatorFailing(at time.Time, err error) { t.unproven(at, err, 1) }

// ValidatorLost is ValidatorFailing for trouble that does not pass by itself in a
// moment: it counts at once.
func (t *Tracker) ValidatorLost(at time.Time, err error) { t.unproven(at, err, provenFor) }

func (t *Tracker) unproven(at time.Time, err error, failures int) {
	t.update(func(s *state) {
		if s.status.Validator.State == config.ValidatorAcceptsAnything {
			return
		}
		s.proofFailures += failures
		s.status.Validator.Message = err.Error()
		s.status.Validator.LastCheck = &at
		if s.status.Validator.State != config.ValidatorProven || s.proofFailures >= provenFor {
			s.status.Validator.State = config.ValidatorFailing
		}
	})
}

// ValidatorAcceptsAnything reports that the validator accepted a random
// credential. Nothing that is reported later changes that.
func (t *Tracker) ValidatorAcceptsAnything(at time.Time, err error) {
	t.update(func(s *state) {
		s.status.Validator.State = config.ValidatorAcceptsAnything
		s.status.Validator.Message = err.Error()
		s.status.Validator.LastCheck = &at
	})
}

// Stopping reports that the connector takes no more requests.
func (t *Tracker) Stopping() { t.update(func(s *state) { s.stopping = true }) }

// Status returns the whole state as the status page shows it.
func (t *Tracker) Status(now time.Time) config.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	status := t.state.status
	status.Links = make([]config.LinkStatus, 0, len(t.state.links))
	for _, l := range t.state.links {
		status.Links = append(status.Links, l)
	}
	sort.Slice(status.Links, func(i, j int) bool { return status.Links[i].Endpoint < status.Links[j].Endpoint })
	status.Reason, status.Message = readiness(&t.state, status, now)
	status.Ready = status.Reason == config.ReasonServing
	return status
}

// readiness names the first thing that keeps the connector from serving, the
// gravest first.
func readiness(st *state, s config.Status, now time.Time) (reason, message string) {
	attached, linkError := 0, ""
	for _, l := range s.Links {
		if l.State == config.LinkAttached {
			attached++
		} else if l.LastError != "" {
			linkError = l.LastError
		}
	}
	expiry := s.Certificate.NotAfter
	switch {
	case s.Validator.State == config.ValidatorAcceptsAnything:
		return config.ReasonValidatorAcceptsAnything, s.Validator.Message
	case st.stopping:
		return config.ReasonStopping, "The connector is stopping and finishes what it holds."
	case !expiry.IsZero() && now.After(expiry):
		return config.ReasonCertificateExpired, "The certificate ended on " + expiry.UTC().Format(time.DateOnly) + "; the connector must be registered anew."
	case s.Validator.State == config.ValidatorFailing:
		return config.ReasonValidatorFailing, s.Validator.Message
	case st.gaveUp:
		return config.ReasonBootstrapFailing, fmt.Sprintf("%d bootstraps in a row failed, after which the service wants no more listening: %s", s.Bootstrap.ConsecutiveFailures, s.Bootstrap.LastError)
	case st.inspected != "" && (s.Bootstrap.LastSuccess == nil || attached == 0):
		return config.ReasonTLSInspected, st.inspected
	case s.Bootstrap.LastSuccess == nil && s.Bootstrap.LastError != "":
		return config.ReasonBootstrapFailing, s.Bootstrap.LastError
	case s.Validator.State != config.ValidatorProven:
		return config.ReasonStarting, "The validator is being checked."
	case s.Bootstrap.LastSuccess == nil:
		return config.ReasonStarting, "The first bootstrap has not been answered yet."
	case attached == 0 && linkError != "":
		return config.ReasonNoLink, linkError
	case attached == 0:
		return config.ReasonStarting, "No signalling link is attached yet."
	}
	return config.ReasonServing, "The connector serves sign-ins."
}
