// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package agent is the running connector: it puts the other packages together,
// starts them in an order that fails closed, and stops them in an order that
// loses no request.
//
//	start  status pages → identity → validator proven → bootstrap → signalling
//	stop   signalling closed → held requests answered → status pages
//
// Nothing listens before the validator has refused a random credential. If it
// ever accepts one, signalling is closed for good, and only the status pages
// stay, to say why.
package agent
