// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers makes the cluster look like what a PassthroughConnector
// says, and reports how far it is.
//
// One reconcile is a pass through five steps, each in a file of its own:
//
//	observe   reads the world into one observation: children, pods, identities,
//	          what the references point to, and what connectors that are not
//	          ready tell about themselves
//	plan      decides, as a pure function of the observation: which connectors to
//	          register now, which objects to apply and which to delete
//	apply     carries the plan out. Nothing else writes to children
//	status    computes the status, as a pure function of observation, plan and
//	          outcome. It is written once, and only if it differs
//	events    tells what changed between the old conditions and the new
//
// Nothing is ever read back from status: it may be lost at any time. What a pass
// remembers for the next one is in the memory of the process, and only to be
// gentle: when to call the registration service again after a failure,
// identities that were issued but could not be stored yet, and since when a
// renewed certificate is known to be used.
//
// Objects are applied server-side, and only if the hash of what was rendered or
// the set of fields that the operator owns differs from what the object shows.
// A pass that finds everything in place therefore writes nothing.
//
// There is no finalizer: owner references do the deleting.
package controllers
