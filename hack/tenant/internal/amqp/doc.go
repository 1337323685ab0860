// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package amqp is the server half of AMQP 1.0 (OASIS, October 2012) as far as
// the relay's signalling speaks it (protocol sections 5.2 to 5.8): SASL that
// accepts EXTERNAL, one session, links that come in pairs, transfers to the
// client, flow properties that renew a token.
//
// [Serve] runs one connection on a byte stream to its end. It asks an
// [Authorizer] whether a link may attach, and tells a [Registrar] when a client
// has attached a receiving link with which it listens. Through the [Listener]
// the caller then sends messages:
//
//	err := amqp.Serve(ctx, conn, amqp.Options{Container: id, Authorizer: keys, Registrar: listeners})
//	delivery, err := listener.Send(payload)
//	<-delivery.Done()
//
// What the server writes is, byte for byte, what the real service was seen to
// write (protocol section 12.3), including a transfer in two writes: one for
// the frame up to the performative, one for the payload. Clients exist that
// depend on it, so each Write of the connection must become one message.
//
// What it reads comes from anyone who can open a connection. Frames are at most
// [MaxFrame] bytes; values are bounded in nesting and in count before anything
// is allocated. Sizes written inside a frame are not believed: compound values
// are read by their count, since clients exist that write wrong sizes and the
// real service accepted them (protocol section 5.8).
package amqp
