// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net/http"
	"strings"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

// answer is what a connector posted.
type answer struct {
	connectorID string
	verdict     signal.Verdict
	invalid     bool // it could not be read
	headers     map[string]string
}

// answerHeaders are the headers of protocol section 9.2 that came, without the
// verdict, which is told in other words.
func answerHeaders(h http.Header) map[string]string {
	all := map[string]string{}
	for name, values := range h {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-cwap-") && name != verdictHeader {
			all[name] = strings.Join(values, ", ")
		}
	}
	return all
}

const verdictHeader = "x-cwap-backend-response"

// Respond serves POST /subscriber/connection, where connectors post verdicts
// (protocol section 9). They are told apart by transaction, and the first one
// counts.
func (s *Service) Respond(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	agent, _, err := s.opts.Admitter.Admit(r)
	if err != nil {
		s.opts.Log.Info("Refused a response", "why", err.Error())
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	id := strings.ToLower(r.Header.Get("x-cwap-transid"))
	verdict, err := signal.DecodeVerdict(r.Header.Get(verdictHeader))
	a := answer{connectorID: agent.ConnectorID, verdict: verdict, invalid: err != nil, headers: answerHeaders(r.Header)}
	switch s.deliver(id, a) {
	case tally.UnknownResponses:
		s.opts.Tally.Count(tally.UnknownResponses)
		s.opts.Log.Info("A response belongs to no sign-in", "connectorID", agent.ConnectorID, "transactionID", id)
		http.Error(w, "no request has that transaction id", http.StatusNotFound)
		return
	case tally.LateResponses:
		s.opts.Tally.Count(tally.LateResponses)
		s.opts.Log.Info("A response came late or twice", "connectorID", agent.ConnectorID, "transactionID", id)
	default:
		s.opts.Tally.Count(tally.Responses)
	}
	if a.invalid {
		s.opts.Tally.Count(tally.DefectVerdict)
		s.opts.Log.Info("A verdict cannot be read", "connectorID", agent.ConnectorID, "transactionID", id, "why", err.Error())
		http.Error(w, "the verdict cannot be read", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// deliver hands an answer to its sign-in and says what became of it.
func (s *Service) deliver(id string, a answer) tally.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := s.pending[id]
	if tx == nil {
		before, ok := s.past[id]
		if !ok {
			return tally.UnknownResponses
		}
		s.compare(before.taken, a)
		return tally.LateResponses
	}
	select {
	case tx.answer <- a:
		tx.taken = &a
		return tally.Responses
	default:
		s.compare(tx.taken, a)
		return tally.LateResponses
	}
}

// compare counts an answer that contradicts the one that was taken. The same
// one again is what the retry rule makes (protocol section 9.5).
func (s *Service) compare(taken *answer, late answer) {
	if taken != nil && (taken.verdict.Authenticated != late.verdict.Authenticated || taken.verdict.Reason != late.verdict.Reason) {
		s.opts.Tally.Count(tally.ConflictingResponses)
	}
}
