// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reliable is what both ends of a reliable endpoint do with the
// envelopes of package signal: WS-ReliableMessaging of February 2005, as far as
// WCF uses it there (protocol section 6.6).
//
// A [Session] is a state machine and nothing else: it opens no socket, starts
// no goroutine and reads no clock. Its user tells it what arrived, what to send
// and what time it is, and writes what [Session.Take] returns:
//
//	delivered, err := session.Receive(envelope, now)
//	... act on delivered, which may call session.Send ...
//	for _, e := range session.Take(now) { ... write e ... }
//	... call Take again at session.Wake(), or when something happens ...
//
// What it promises: messages are delivered once each and in the order of their
// numbers; nothing is acknowledged that was not received; what the peer does
// not acknowledge is sent again, after pauses that grow, until it is clear that
// it never will be; and memory is bounded by [Window] and [MaxQueued], whatever
// arrives.
package reliable
