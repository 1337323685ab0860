// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ConditionServiceHealthy is True when the service has nothing to find fault with
// in the connectors that have told what it says about them. It is Unknown until
// one has. It does not enter into ConditionReady: connectors that the service
// finds fault with may still serve sign-ins.
const ConditionServiceHealthy = "ServiceHealthy"

// Reasons of ConditionServiceHealthy. Where connectors differ, the gravest counts,
// in the order of this list; the message names a connector and how many there
// are.
const (
	// ReasonTLSInspected surfaces when something between a connector and the
	// service, usually a proxy or firewall that inspects TLS, answers with a
	// certificate of its own. Exempt the hosts that the message names from
	// inspection: connectors prove themselves with their own certificate, which
	// no inspection can pass on.
	ReasonTLSInspected = "TLSInspected"

	// ReasonServiceError surfaces when the service has an error for the
	// administrator (its state ErrorServiceMessage). The message repeats its text.
	ReasonServiceError = "ServiceError"

	// ReasonUpdateRequired surfaces when the service wants a newer version of the
	// connector. Update the operator, whose release the connectors follow, or
	// spec.pod.image if that is set.
	ReasonUpdateRequired = "UpdateRequired"

	// ReasonServiceStateUnknown surfaces when the service gives connectors a state
	// that this version does not know. The message repeats it.
	ReasonServiceStateUnknown = "ServiceStateUnknown"

	// ReasonServiceInformation surfaces when ServiceHealthy is True and the service
	// has information for the administrator. The message repeats its text.
	ReasonServiceInformation = "ServiceInformation"

	// ReasonServiceOk surfaces when ServiceHealthy is True and there is nothing to
	// tell.
	ReasonServiceOk = "ServiceOk"

	// ReasonNotReported surfaces when ServiceHealthy is Unknown because no connector
	// has bootstrapped yet.
	ReasonNotReported = "NotReported"
)
