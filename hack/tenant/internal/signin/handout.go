// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

// fetchTimeout bounds the wait for what a connector wants to fetch.
const fetchTimeout = 10 * time.Second

// handout is a request that waits to be fetched.
type handout struct {
	connectorID string // to whom it may be given
	message     signal.Message
}

// HandOut serves the WebSocket over which connectors fetch the requests that
// signals only point to (protocol section 7).
func (s *Service) HandOut(w http.ResponseWriter, r *http.Request) {
	agent, _, err := s.opts.Admitter.Admit(r)
	if err != nil {
		s.opts.Tally.Count(tally.FetchesRefused)
		s.opts.Log.Info("Refused a fetch", "why", err.Error())
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	s.attempts.Add(1)
	defer s.attempts.Done()
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil { // the client has been answered
		s.opts.Log.V(1).Info("Refused a WebSocket for a fetch", "why", err.Error())
		return
	}
	defer func() { _ = socket.CloseNow() }() // where nothing more is to be said
	m, err := s.give(socket, agent.ConnectorID)
	if err != nil {
		s.opts.Tally.Count(tally.FetchesRefused)
		s.opts.Log.Info("A fetch came to nothing", "connectorID", agent.ConnectorID, "why", err.Error())
		// The connector may be gone already.
		_ = socket.Close(websocket.StatusPolicyViolation, "there is no such request")
		return
	}
	s.opts.Tally.Count(tally.Fetches)
	s.farewell(socket, agent.ConnectorID, m, r.Header.Get("x-cwap-transid"))
}

// give reads what the connector asks for and hands it out.
func (s *Service) give(socket *websocket.Conn, connectorID string) (signal.Message, error) {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
	defer cancel()
	socket.SetReadLimit(signal.MaxFetch)
	_, ask, err := socket.Read(ctx)
	if err != nil {
		return signal.Message{}, fmt.Errorf("reading what a connector asks for: %w", err)
	}
	connection, err := signal.DecodeFetch(ask)
	if err != nil {
		return signal.Message{}, err
	}
	s.mu.Lock()
	found := s.waiting[strings.ToLower(connection)]
	s.mu.Unlock()
	if found == nil || found.connectorID != connectorID {
		return signal.Message{}, errors.New("no request waits for that connector under that connection id")
	}
	document, err := signal.EncodeJSON(found.message)
	if err != nil {
		return signal.Message{}, err
	}
	if err := socket.Write(ctx, websocket.MessageBinary, document); err != nil {
		return signal.Message{}, fmt.Errorf("handing out a request: %w", err)
	}
	return found.message, nil
}

// farewell waits for the connector to close the socket in order once it has
// posted its verdict. What it does otherwise changes nothing, but is counted.
func (s *Service) farewell(socket *websocket.Conn, connectorID string, m signal.Message, transaction string) {
	// The answer may take its whole time, and the goodbye after it.
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.ResponseTimeout+goodbye)
	defer cancel()
	_, _, err := socket.Read(ctx)
	if s.ctx.Err() != nil {
		return // the tenant stops
	}
	if websocket.CloseStatus(err) != websocket.StatusNormalClosure || !strings.EqualFold(transaction, m.TransactionID) {
		s.opts.Tally.Count(tally.DefectFetch)
		s.opts.Log.Info("A fetch was not as the service's own", "connectorID", connectorID, "transactionID", m.TransactionID,
			"header", transaction, "end", fmt.Sprint(err))
	}
}
