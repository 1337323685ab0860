// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire groups the codecs of the protocol between connector and cloud;
// it holds no code itself. Each package below it is one layer or one
// conversation, both halves of it, so that the connector and the cloud side in
// hack/tenant are built from the same definitions:
//
//	trust      registration and renewal of a connector's certificate
//	bootstrap  the periodic call that says where to listen
//	sas        the tokens that give the right to listen
//	relay      how cloud and connector meet at a relay instance
//	framing    records of the bridged stream
//	signal     envelopes, requests and verdicts on that stream
//	reliable   what both ends of a reliable endpoint do with envelopes
//	nbfx       the binary XML below relay and signal
//	guid       identifiers in both their byte orders
//
// All of them are values and functions: no sockets, no goroutines, no files,
// no clocks. Everything they read is bounded, because it comes from the
// network; every reader has a fuzz target.
package wire
