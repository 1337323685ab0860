// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package enrolment gets a connector its identity from the registration
// service. It makes the operator's only calls to the outside.
//
// A registration costs something that cannot be given back: the tenant counts
// it against its limit, and the service lists it until it has been inactive for
// days. So the package is careful before it calls, and precise about what went
// wrong:
//
//	if err := enrolment.CheckToken(token, tenantID, now); err != nil { ... }   // no call made
//	issued, err := registrar.Register(ctx, enrolment.Request{...})             // exactly one call
//	identity, err := enrolment.ParsePair(certPEM, keyPEM, tenantID, now)       // what a Secret holds
//
// Every error that has a reason known to the API is an [*Error], which carries
// that reason, a sentence for a person, and whether calling again later can
// help. The package keeps no state, writes nothing to the cluster and never
// prints a token or a key.
package enrolment
