// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// StatusPath is where a connector serves its Status, as JSON.
const StatusPath = "/statusz"

// Reasons of Status.Reason. They are API: the operator and alerts match them.
const (
	// ReasonServing: ready.
	ReasonServing = "Serving"
	// ReasonStarting: nothing has failed yet, not everything has happened yet.
	ReasonStarting = "Starting"
	// ReasonBootstrapFailing: the service has not answered a bootstrap, or not for
	// so long that the connector has stopped listening, as the service demands.
	ReasonBootstrapFailing = "BootstrapFailing"
	// ReasonTLSInspected: something between the connector and the service answers
	// with a certificate that is not the service's.
	ReasonTLSInspected = "TLSInspected"
	// ReasonNoLink: no signalling link is attached.
	ReasonNoLink = "NoLink"
	// ReasonValidatorFailing: the validator could not be proven, for example
	// because no domain controller answers.
	ReasonValidatorFailing = "ValidatorFailing"
	// ReasonValidatorAcceptsAnything: the validator accepted a random
	// credential. Latched: the connector listens no more until it is restarted.
	ReasonValidatorAcceptsAnything = "ValidatorAcceptsAnything"
	// ReasonCertificateExpired: the service no longer knows this connector; it
	// must be registered afresh.
	ReasonCertificateExpired = "CertificateExpired"
	// ReasonStopping: finishing what it holds.
	ReasonStopping = "Stopping"
)

// States of Link.State.
const (
	LinkConnecting = "Connecting"
	LinkAttached   = "Attached"
	LinkWaiting    = "Waiting" // before the next attempt
	LinkClosed     = "Closed"
)

// States of Validator.State.
const (
	ValidatorUnproven        = "Unproven"
	ValidatorProven          = "Proven"
	ValidatorFailing         = "Failing"
	ValidatorAcceptsAnything = "AcceptsAnything"
)

// Status is what a connector tells at StatusPath. It holds no user, no password
// and no key.
type Status struct {
	ConnectorID string `json:"connectorID"`
	TenantID    string `json:"tenantID"`
	Version     string `json:"version"`
	MachineName string `json:"machineName"`
	// ConfigDigest is the Digest of the configuration file that is in use.
	ConfigDigest string            `json:"configDigest"`
	Ready        bool              `json:"ready"`
	Reason       string            `json:"reason"`  // a Reason constant
	Message      string            `json:"message"` // for a person
	Certificate  CertificateStatus `json:"certificate"`
	// BootstrapThumbprint is the thumbprint of the certificate that carried the
	// last successful bootstrap; empty before the first. Once it is that of the
	// newest certificate, the service has taken the newest one over.
	BootstrapThumbprint string          `json:"bootstrapThumbprint,omitempty"`
	Bootstrap           BootstrapStatus `json:"bootstrap"`
	Links               []LinkStatus    `json:"links"`
	Validator           ValidatorStatus `json:"validator"`
}

// CertificateStatus is the identity in use.
type CertificateStatus struct {
	Thumbprint string    `json:"thumbprint"` // SHA-1, upper-case hex, as the portal shows
	NotAfter   time.Time `json:"notAfter"`
	// PreviousThumbprints are those of the certificates before it whose keys are
	// still held to decrypt, newest first.
	PreviousThumbprints []string `json:"previousThumbprints,omitempty"`
	// LastError says why the identity's files cannot be read. The identity in
	// memory stays in use.
	LastError string `json:"lastError,omitempty"`
}

// BootstrapStatus is how the last bootstraps went.
type BootstrapStatus struct {
	LastSuccess         *time.Time `json:"lastSuccess,omitempty"`
	LastError           string     `json:"lastError,omitempty"` // empty after a success
	ConsecutiveFailures int        `json:"consecutiveFailures"`
	// ConnectorState is what the service sent, bounded and printable: one of the
	// states of protocol section 4.3 or a newer one.
	ConnectorState string `json:"connectorState,omitempty"`
	// ServiceMessage is the service's text for the administrator, bounded and
	// printable.
	ServiceMessage string `json:"serviceMessage,omitempty"`
	// Triggers are commands that the service sent. They are reported and not
	// obeyed: their form is not public.
	Triggers string `json:"triggers,omitempty"`
}

// LinkStatus is one signalling endpoint.
type LinkStatus struct {
	Endpoint  string    `json:"endpoint"` // host/path
	State     string    `json:"state"`    // a Link constant
	Since     time.Time `json:"since"`
	LastError string    `json:"lastError,omitempty"`
}

// ValidatorStatus is what the last proof of the validator showed.
type ValidatorStatus struct {
	Method    string     `json:"method"`
	State     string     `json:"state"` // a Validator constant
	Message   string     `json:"message,omitempty"`
	LastCheck *time.Time `json:"lastCheck,omitempty"`
}
