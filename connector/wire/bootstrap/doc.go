// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bootstrap holds the documents of the call by which a connector says
// that it is alive and learns where to listen (protocol section 4).
//
// A connector posts a [Request] to its bootstrap URL + [Path] over mutual TLS
// at start and then every [Response].PeriodicInterval:
//
//	body, err := bootstrap.Request{...}.Marshal()
//	response, err := bootstrap.ParseResponse(answer)
//	for _, endpoint := range response.Endpoints { listen(endpoint.Host(), endpoint.ServicePath) }
//
// After failures, [RetryStrategy.Delay] says how long to wait. The cloud side
// reads requests with [ParseRequest] and answers with [DefaultResponse], filled
// with its endpoints.
//
// The service writes spans of time in four ways (milliseconds, minutes, XML
// schema durations and .NET TimeSpans); all are time.Duration here, and what
// means "for ever" there is [Infinite].
//
// Readers go by local names, ignore what they do not know, and fill what an
// older service does not send from [DefaultResponse]. Writers produce every element in
// the service's order. Hosts in a response come from the wire: check them
// against the configured suffixes before dialling.
package bootstrap
