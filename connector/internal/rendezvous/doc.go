// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rendezvous answers relayed connection requests: it meets the cloud at
// a relay instance, takes the request to validate a password or fetches it from
// where the signal points, decrypts and validates it, and posts the verdict
// (protocol sections 6 to 9).
//
// What arrives is not signed, so nothing in it is believed: hosts must lie
// under the pinned suffixes, the tenant must be the connector's own, a request
// that was seen before is dropped, and everything is bounded in size, time and
// number. A request that is refused for such a reason gets no answer at all.
//
// A password lives in one buffer from decryption to verdict and is wiped on
// every path.
package rendezvous
