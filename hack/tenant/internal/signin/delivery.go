// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/relaying"
)

// Delivery is how a request reaches a connector that was found.
type Delivery string

// The deliveries. The zero value stands for DeliverAuto.
const (
	// DeliverAuto does as the service: inline on plain endpoints, fetched on
	// reliable ones.
	DeliverAuto Delivery = "auto"
	// DeliverInline puts the request into the signal.
	DeliverInline Delivery = "inline"
	// DeliverConnect puts a connection id into the signal, with which the
	// connector fetches the request.
	DeliverConnect Delivery = "connect"
	// DeliverConnectBytes does so too, and hands the request out as an array of
	// byte values (TrafficProtocol 3).
	DeliverConnectBytes Delivery = "connect-bytes"
)

var deliveries = []Delivery{DeliverAuto, DeliverInline, DeliverConnect, DeliverConnectBytes}

// Validate reports a delivery that is none; the text is for whoever chose it.
func (d Delivery) Validate() error {
	if d != "" && !slices.Contains(deliveries, d) {
		return fmt.Errorf("delivery %.32q is none of %v", string(d), deliveries)
	}
	return nil
}

// Preference narrows the ways a sign-in can take. The zero value leaves them
// all to the tenant.
type Preference struct {
	Delivery Delivery
	Endpoint Endpoint
}

// reliableSuffix ends the paths of reliable endpoints (protocol section 4.5).
const reliableSuffix = "_reliable"

func isReliable(l relaying.Listener) bool { return strings.HasSuffix(l.Via, reliableSuffix) }

// Endpoint is a kind of endpoint.
type Endpoint string

// The kinds. The zero value is any of them.
const (
	EndpointPlain    Endpoint = "plain"
	EndpointReliable Endpoint = "reliable"
)

// Validate reports a kind that is none; the text is for whoever chose it.
func (e Endpoint) Validate() error {
	switch e {
	case "", EndpointPlain, EndpointReliable:
		return nil
	}
	return fmt.Errorf("endpoint %.32q is neither %s nor %s", string(e), EndpointPlain, EndpointReliable)
}

// takes reports whether a listener waits on an endpoint of the kind.
func (e Endpoint) takes(l relaying.Listener) bool {
	return e == "" || isReliable(l) == (e == EndpointReliable)
}

// endpointOf names the kind of the endpoint behind a relay address.
func endpointOf(via string) Endpoint {
	switch {
	case via == "":
		return ""
	case strings.HasSuffix(via, reliableSuffix):
		return EndpointReliable
	default:
		return EndpointPlain
	}
}

// delivery decides how a request goes to a listener.
func (s *Service) delivery(tx *transaction, l relaying.Listener) Delivery {
	for _, d := range []Delivery{tx.preference.Delivery, s.opts.Delivery} {
		if d != "" && d != DeliverAuto {
			return d
		}
	}
	if isReliable(l) {
		return DeliverConnect
	}
	return DeliverInline
}

// signalFor is what a transaction says to a listener: the same for every
// attempt but for the connection id, so that a connector that gets it twice
// recognises it.
func (s *Service) signalFor(tx *transaction, l relaying.Listener) signal.Message {
	message := tx.message(s.opts)
	delivery := s.delivery(tx, l)
	if delivery == DeliverInline {
		return message
	}
	if delivery == DeliverConnectBytes {
		message.Tunnel.Protocol.TypeName, message.Tunnel.Protocol.Traffic = "", signal.TrafficTrustedParty
	}
	connection := guid.New().String()
	s.mu.Lock()
	s.waiting[connection] = &handout{connectorID: l.ConnectorID, message: message}
	tx.connections = append(tx.connections, connection)
	s.mu.Unlock()
	pointer := message
	pointer.Tunnel.Protocol = signal.ProtocolContext{TypeName: "ConnectContext", Traffic: signal.TrafficConnect, ConnectionID: connection}
	return pointer
}
