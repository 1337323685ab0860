// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package interop holds the tests of connector processes against the tenant
// over every path of the protocol, without a cluster: which verdict each path
// brings for each outcome, and what becomes of sign-ins when connections break
// at each moment.
package interop
