// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ConditionEgressApplied is True when what spec.egress asks for is applied. It
// never says that the policy is enforced: a NetworkPolicy has no status, and some
// networks accept policies and ignore them. Try a forbidden address from a pod to
// know.
const ConditionEgressApplied = "EgressApplied"

// Reasons of ConditionEgressApplied.
const (
	// ReasonEgressApplied surfaces when EgressApplied is True and a NetworkPolicy
	// is applied. The message says how far it opens: addresses that are not limited
	// are named.
	ReasonEgressApplied = "Applied"

	// ReasonEgressNotManaged surfaces when EgressApplied is True because
	// spec.egress.mode is None: nothing is asked for, and the operator has no
	// policy in place.
	ReasonEgressNotManaged = "NotManaged"

	// ReasonEgressNotRenderable surfaces when spec.egress cannot be written as a
	// policy that every supported network understands, for instance because a
	// server or the proxy is given by an IPv6 address. A policy that was applied
	// before stays. Correct what the message names, or set mode to None.
	ReasonEgressNotRenderable = "NotRenderable"

	// ReasonEgressNotApplied surfaces when the API server refused the policy. The
	// message repeats the refusal. The operator keeps trying.
	ReasonEgressNotApplied = "NotApplied"
)
