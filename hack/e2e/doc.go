// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end-to-end tests: the operator installed in a real
// control plane, connectors running as pods, a tenant and a directory, driven
// from outside the way a user drives them, with kubectl and a sign-in.
//
// One system serves all tests of a run; each test uses a namespace of its own
// and removes what it made, because all of them share one tenant and a sign-in
// is answered by whichever connector the tenant picks.
package e2e
