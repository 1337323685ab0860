// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/framing"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/relaying"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

const (
	// goodbye bounds the wait for a connector's end record.
	goodbye = 2 * time.Second
	// returnPort is what signals name beside the overriding 443, where nobody
	// uses it.
	returnPort = 10100

	zeroID = "00000000-0000-0000-0000-000000000000"

	// creditPatience is how long a request waits for connectors that are attached and
	// take nothing just now, if no other connector does: credit comes a moment after
	// a link, and again a moment after each message.
	creditPatience = 2 * time.Second
	creditCheck    = 20 * time.Millisecond
)

// attempt says how far a connector took a request.
type attempt struct {
	signalled bool  // the signal was sent
	taken     bool  // and acknowledged
	closing   bool  // the connector is shutting down
	err       error // why it was not taken
}

// pick chooses the next listener: agents take turns, and those that were not
// asked yet come first. A transaction uses no link twice.
func (s *Service) pick(tx *transaction, tried map[relaying.Listener]bool, closing map[string]bool) (relaying.Listener, bool) {
	byAgent := map[string][]relaying.Listener{}
	for _, l := range s.opts.Relay.Listeners() {
		if !tried[l] && !closing[l.ConnectorID] && l.Ready() && tx.preference.Endpoint.takes(l) {
			byAgent[l.ConnectorID] = append(byAgent[l.ConnectorID], l)
		}
	}
	if len(byAgent) == 0 {
		return relaying.Listener{}, false
	}
	var agents []string
	fresh := slices.ContainsFunc(keys(byAgent), func(id string) bool { return !tx.asked[id] })
	for _, id := range keys(byAgent) {
		if !fresh || !tx.asked[id] {
			agents = append(agents, id)
		}
	}
	slices.SortFunc(agents, cmp.Compare)
	s.mu.Lock()
	turn := s.turn
	s.turn++
	s.mu.Unlock()
	n := uint64(len(agents))
	links := byAgent[agents[turn%n]]
	return links[turn/n%uint64(len(links))], true
}

// next is pick with some patience.
func (s *Service) next(ctx context.Context, tx *transaction, tried map[relaying.Listener]bool, closing map[string]bool) (relaying.Listener, bool) {
	patience, tick := time.NewTimer(creditPatience), time.NewTicker(creditCheck)
	defer patience.Stop()
	defer tick.Stop()
	for {
		l, ok := s.pick(tx, tried, closing)
		if ok || !slices.ContainsFunc(s.opts.Relay.Listeners(), func(l relaying.Listener) bool {
			return !tried[l] && !closing[l.ConnectorID] && tx.preference.Endpoint.takes(l)
		}) {
			return l, ok
		}
		select {
		case <-tick.C:
		case <-patience.C:
			return relaying.Listener{}, false
		case <-ctx.Done():
			return relaying.Listener{}, false
		}
	}
}

func keys(m map[string][]relaying.Listener) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	return all
}

// start makes an attempt in the background and returns where its outcome will
// be. What remains of it then, saying goodbye, holds nobody up.
func (s *Service) start(tx *transaction, l relaying.Listener) <-chan attempt {
	tx.attempts++
	tx.via = l.Via
	s.opts.Tally.Count(tally.Attempts)
	if tx.attempts > 1 {
		s.opts.Tally.Count(tally.Retries)
	}
	outcome := make(chan attempt, 1)
	message := s.signalFor(tx, l)
	s.attempts.Go(func() { s.attempt(message, l, outcome) })
	return outcome
}

// attempt brings a signal to a connector. It does not outlive its deadlines,
// whatever became of the sign-in.
func (s *Service) attempt(m signal.Message, l relaying.Listener, outcome chan<- attempt) {
	if isReliable(l) {
		outcome <- s.attemptReliable(&m, l)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.AcceptTimeout)
	defer cancel()
	conn, err := s.opts.Relay.Connect(ctx, l)
	if err != nil {
		outcome <- attempt{err: err}
		return
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		outcome <- attempt{err: err}
		return
	}
	reader := framing.NewReader(conn)
	if err := preamble(conn, reader, l.Via); err != nil {
		outcome <- attempt{err: err}
		return
	}
	result := s.signal(conn, reader, m, l)
	outcome <- result
	if result.taken || result.closing {
		end(conn, reader)
	}
}

// preamble opens the stream. The acknowledgement may have come before.
func preamble(conn net.Conn, reader *framing.Reader, via string) error {
	if _, err := conn.Write(framing.AppendPreamble(nil, framing.Preamble{Via: via})); err != nil {
		return fmt.Errorf("sending the preamble: %w", err)
	}
	record, err := reader.ReadRecord()
	if err != nil {
		return fmt.Errorf("waiting for the preamble's acknowledgement: %w", err)
	}
	if record.Type != framing.RecordPreambleAck {
		return fmt.Errorf("the connector answered the preamble with record %#02x", byte(record.Type))
	}
	return nil
}

// signal sends the request and reads whether the connector takes it.
func (s *Service) signal(conn net.Conn, reader *framing.Reader, m signal.Message, l relaying.Listener) attempt {
	messageID := "urn:uuid:" + guid.New().String()
	content, err := signal.NewEncoder().Encode(signal.Envelope{Kind: signal.KindSignal, MessageID: messageID, To: l.Via, Signal: &m})
	if err != nil {
		return attempt{err: fmt.Errorf("encoding a signal: %w", err)}
	}
	if err := conn.SetDeadline(time.Now().Add(s.opts.AcceptTimeout)); err != nil {
		return attempt{err: err}
	}
	if _, err := conn.Write(framing.AppendSizedEnvelope(nil, content)); err != nil {
		return attempt{err: fmt.Errorf("sending a signal: %w", err)}
	}
	decoder := signal.NewDecoder()
	for {
		record, err := reader.ReadRecord()
		if err != nil {
			return attempt{signalled: true, err: fmt.Errorf("waiting for the signal's acknowledgement: %w", err)}
		}
		if record.Type != framing.RecordSizedEnvelope {
			return attempt{signalled: true, err: fmt.Errorf("the connector answered the signal with record %#02x", byte(record.Type))}
		}
		envelope, err := decoder.Decode(record.Payload)
		if err != nil {
			return attempt{signalled: true, err: err}
		}
		switch envelope.Kind {
		case signal.KindPing, signal.KindUnknown:
			continue
		case signal.KindClosingFault:
			return attempt{signalled: false, closing: true, err: errors.New("the connector is closing")}
		case signal.KindResponse:
			if envelope.RelatesTo != messageID {
				return attempt{signalled: true, err: errors.New("the acknowledgement relates to another message")}
			}
			if envelope.Response == nil || envelope.Response.ConnectorID != l.ConnectorID {
				s.opts.Tally.Count(tally.DefectConnectorID) // works with the service all the same
			}
			return attempt{signalled: true, taken: true}
		default:
			return attempt{signalled: true, err: fmt.Errorf("the connector answered the signal with %s", envelope.Action)}
		}
	}
}

// end exchanges end records. Whether that works changes nothing.
func end(conn net.Conn, reader *framing.Reader) {
	if conn.SetDeadline(time.Now().Add(goodbye)) != nil {
		return
	}
	if _, err := conn.Write(framing.AppendEnd(nil)); err != nil {
		return
	}
	for {
		if record, err := reader.ReadRecord(); err != nil || record.Type == framing.RecordEnd {
			return
		}
	}
}

// message is the request of a transaction.
func (tx *transaction) message(opts Options) signal.Message {
	m := signal.Message{
		RequestID: tx.requestID, SessionID: zeroID, SubscriptionID: opts.TenantID, TransactionID: tx.id,
		ReturnHost: opts.ProxyHost, ReturnPort: tx.returnPort,
		Tunnel: signal.TunnelContext{
			ConfigurationHash: tx.configurationHash, CorrelationID: tx.id,
			Protocol: signal.ProtocolContext{
				TypeName: "PasswordValidationContext", Traffic: signal.TrafficPasswordValidation,
				PasswordValidation: &signal.PasswordValidation{Domain: tx.netbios, UserPrincipalName: tx.upn, EncryptedData: tx.data},
			},
		},
	}
	if len(opts.ReturnPorts) == 0 {
		m.OverrideServiceHostEnabled, m.OverriddenReturnHost, m.OverriddenReturnPort = true, opts.ProxyHost, 443
	}
	return m
}
