// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
)

// amqps reaches the relay over TLS without WebSockets (protocol section 5.9):
// the transport of that name.
type amqps struct{ *streams }

// listen opens the byte stream of a signalling link.
func (a amqps) listen(ctx context.Context, host string) (net.Conn, error) {
	return a.open(ctx, host, config.PortAMQP, nil)
}

// meet opens the byte stream to a relay instance, whose host and port have been
// checked. It goes to the instance's name, as it does by WebSocket: only a name
// can be pinned and proven by a certificate. The address that the signal names
// beside is repeated where the protocol wants it.
func (a amqps) meet(ctx context.Context, to relay.Connect) (net.Conn, error) {
	return a.open(ctx, to.InstanceDNSAddress, to.IPPort, relay.AppendPrelude(nil, to.IPAddress, to.IPPort))
}
