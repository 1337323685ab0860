// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package signal holds what cloud and connector say to each other once they
// have met: the SOAP envelopes of a bridged connection, the request for a
// password validation inside them, and the verdict.
//
// # Envelopes
//
// An Envelope is one message of either direction. A Decoder reads the content
// of the sized envelopes of one direction of one connection, and an Encoder
// writes the other direction; both hold the session's string table, so there
// is one of each per connection. On plain endpoints only SignalConnector, its
// response, Ping and faults occur; the messages of WS-ReliableMessaging belong
// to reliable endpoints (protocol sections 6.6 to 6.8).
//
// # Requests
//
// A Message names the user and carries the password, encrypted once for every
// key of every connector of the tenant. It arrives inside an envelope or, in
// an older form, as JSON (DecodeJSON; protocol section 7.3), for which the
// connector asks with EncodeFetch.
//
// # Passwords
//
// UnwrapPassword takes a password out of the decrypted plaintext without
// copying it. Nothing in this package turns a password into a string.
//
// Everything read here comes from the network: sizes are bounded, errors hold
// no content that could be a secret, and nothing panics.
package signal
