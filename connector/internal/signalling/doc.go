// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package signalling listens for relayed connection requests on every endpoint
// that the bootstrap named: AMQP 1.0 over a byte stream that the caller dials
// (protocol section 5).
//
// A Listener holds one link pair per endpoint and keeps it up: it reconnects
// with growing, jittered pauses, and replaces a connection before the token
// that it was opened with expires, the new one first. What arrives is accepted
// at once, as the service expects, and handed on.
//
// It is the only package that knows the AMQP library. Nothing above it sees an
// AMQP type or error.
package signalling
