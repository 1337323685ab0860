// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"fmt"
	"time"
)

// Connector states that are known (protocol section 4.3); there may be others.
const (
	StateOk                  = "Ok"                  // keep going
	StateUpdateRequired      = "UpdateRequired"      // a newer version must be installed
	StateInfoServiceMessage  = "InfoServiceMessage"  // show ServiceMessage as information
	StateErrorServiceMessage = "ErrorServiceMessage" // show ServiceMessage as an error
)

// Response is the service's answer (protocol section 4.2). The first group is
// what a connector acts upon; the second concerns other products that share the
// service, and is kept so that an answer survives being read and written.
type Response struct {
	// Endpoints are where to listen, each with a key of its own.
	Endpoints []Endpoint
	// Settings are the connection settings, sent as JSON in an element.
	Settings ConnectivitySettings
	// PeriodicInterval is how long to wait from one bootstrap to the next.
	PeriodicInterval time.Duration
	// RetryStrategy says when to try again after a failed bootstrap.
	RetryStrategy RetryStrategy
	// MaxFailedRequests is how many failures in a row mean giving up.
	MaxFailedRequests int
	// BootstrapEndpointOverride, if not empty, is a URL for later bootstraps.
	BootstrapEndpointOverride string
	// ConnectorState is one of the State constants or something newer.
	ConnectorState string
	// ServiceMessage is free text for the administrator.
	ServiceMessage string
	// LogicalResponseTimeout bounds one validation, from signal to response.
	LogicalResponseTimeout time.Duration
	// ResponseEndpointFormat is the URL of responses; {0} host, {1} port.
	ResponseEndpointFormat string
	// ResponseRetry says how often and when to repeat a response that failed.
	ResponseRetry ResponseRetry
	// ResponseSigningEnabled has never been seen true; the form of the
	// signature is unknown, so that a connector can only refuse it.
	ResponseSigningEnabled bool
	// TrustRenewEndpoint is the URL to which trust.RenewalPath is appended.
	TrustRenewEndpoint string
	// CheckForTrustRenewPeriod is how often to look whether to renew.
	CheckForTrustRenewPeriod time.Duration
	// TrustLifetimeBeforeRenew is the service's wish; use RenewBefore.
	TrustLifetimeBeforeRenew time.Duration

	BackendSessionTimeout           time.Duration
	ConfigRequestTimeout            time.Duration
	ConfigurationEndpointFormat     string
	ConnectionLimit                 int
	LocalTrace                      LocalTrace
	DNSLookupCacheTTL               time.Duration
	DNSRefreshTimeout               time.Duration
	ConnectorMetricsV2              bool
	ErrorEndpointFormat             string
	MaxBootstrapAddOnRequestsLength int
	MaxServicePointIdleTime         time.Duration
	PayloadEndpointFormat           string
	PayloadRequestTimeout           time.Duration
	Porto                           Porto
	ProxyPortResponseFallbackPeriod time.Duration
	RelayReceiveTimeout             time.Duration
	Telemetry                       Telemetry
	Triggers                        string // server-driven commands of unknown form; ignore
}

// ResponseRetry says how a response that could not be delivered is repeated.
type ResponseRetry struct {
	TotalAttempts int           // the first one included
	InitialDelay  time.Duration // before the second attempt
	DelayFactor   float64       // each further delay is this many times the last
}

// LocalTrace configures the trace files of the service's own agent.
type LocalTrace struct {
	DaysToKeep int
	Disabled   bool
	Level      int
}

// Porto holds settings of newer agents. RootCANames names the operators of the
// root CAs to expect behind the service's certificates, such as "DigiCert".
type Porto struct {
	RootCANames          []string
	ChannelShutdownDelay time.Duration
	MaxLogsCacheSize     int
}

// Telemetry configures the telemetry of the service's own agent.
type Telemetry struct {
	SamplesDisabled bool
	SamplesMaxSize  int // bytes
	Disabled        bool
}

// Endpoint is one place to listen (protocol section 4.5). Printing one does not
// reveal its key.
type Endpoint struct {
	Available       bool // false: do not listen there now
	Name            string
	Domain          string // servicebus.windows.net
	Namespace       string // first label of the host; mixed case occurs
	Reliable        bool   // the stream uses WS-ReliableMessaging
	Scheme          string // sb
	ServicePath     string
	SharedAccessKey string `json:"-"` // used as text: see package sas
	// SharedAccessKeyName names the key in tokens: Connector.
	SharedAccessKeyName string
}

// Host returns the name to dial, for which the caller must check the suffix.
func (e Endpoint) Host() string { return e.Namespace + "." + e.Domain }

// Format prints the address and never the key, whatever the verb.
func (e Endpoint) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "%s://%s/%s", e.Scheme, e.Host(), e.ServicePath)
}
