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
	// server or the proxy is given by an IPv6 address, or because there are more
	// addresses than a policy holds. A policy that was applied before stays; without
	// one no connector is registered or started. Correct what the message names, or
	// set mode to None.
	ReasonEgressNotRenderable = "NotRenderable"

	// ReasonServiceTagsNotFound surfaces when the ConfigMap or the key that
	// spec.egress.serviceTags names does not exist. A policy that was applied before
	// stays; without one no connector is registered or started. Create what the
	// message names: that is noticed at once.
	ReasonServiceTagsNotFound = "ServiceTagsNotFound"

	// ReasonServiceTagsInvalid surfaces when the file that spec.egress.serviceTags
	// names cannot be read, or does not have one of the tags. What was applied
	// stays, as for ServiceTagsNotFound. Put the published file there, or correct
	// the tags.
	ReasonServiceTagsInvalid = "ServiceTagsInvalid"

	// ReasonPolicyKindMissing surfaces when the cluster does not have the kind of
	// policy that spec.egress.mode names. What was applied before stays; without a
	// NetworkPolicy no connector is registered or started. Install the kind, which
	// is noticed within a minute or two, or choose another mode.
	ReasonPolicyKindMissing = "PolicyKindMissing"

	// ReasonEgressNotApplied surfaces when the API server refused the policy. The
	// message repeats the refusal. The operator keeps trying.
	ReasonEgressNotApplied = "NotApplied"
)
