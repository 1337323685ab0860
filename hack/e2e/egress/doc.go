// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package egress tests that connectors work under the NetworkPolicy that the
// operator renders for them, and that the policy lets nothing else out.
//
// The whole system runs in a network namespace that has no way out. Each pod has
// a network of its own, and the nodes enforce network policies (hack/cluster).
// The tests need root; what is tried is tried from inside the pods' networks.
package egress
