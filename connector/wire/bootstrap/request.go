// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const (
	// Path is appended to the bootstrap URL of a tenant.
	Path = "/ConnectorBootstrap"
	// ContentType goes with the request and the answer.
	ContentType = trust.ContentType
)

// Request is what a connector reports about itself (protocol section 4.1). The
// cloud trusts the client certificate, not the identifiers in here.
type Request struct {
	TenantID     string // SubscriptionId on the wire
	ConnectorID  string
	RequestID    string // a new GUID for each request
	AgentVersion string // such as 1.5.3437.0
	// SDKVersion, DataModelVersion and ProxyDataModelVersion are usually the
	// agent's; empty ones are written as AgentVersion.
	SDKVersion            string
	DataModelVersion      string
	ProxyDataModelVersion string
	ConnectorVersion      string // empty: nil, as newer agents send
	// System describes the machine; its MachineName is shown in the portal.
	System trust.SystemSettings
	// ServiceAccountName and ServiceAccountGMSA are sent by newer agents only:
	// an empty name leaves both out.
	ServiceAccountName string
	ServiceAccountGMSA bool
	// InitialBootstrap is true on the first call after start.
	InitialBootstrap bool
	// ConsecutiveFailures is the number of bootstraps that failed in a row.
	ConsecutiveFailures int
	// ProxyPortResponseMode is Primary; empty is written as that.
	ProxyPortResponseMode string
	// ProxyPortFallbackDisabled is true in what was seen.
	ProxyPortFallbackDisabled bool
	DotNetRelease             string // empty: 528449
	Performance               *PerformanceMetrics
	SuccessfulRequests        []RequestMetrics
	TriggerErrors             string
	UpdaterStatus             string // Running or Stopped; empty is written as Stopped
	UseServiceBusTCP          bool   // AMQP over TCP instead of WebSocket
	UseSpnego                 bool
}

// PerformanceMetrics are the agent's own figures.
type PerformanceMetrics struct {
	CPU                          []CPUAggregate
	CurrentActiveWebSockets      int
	CurrentActiveGRPCRequests    int
	FaultedServiceBusConnections int
	FaultedWebSocketConnections  int
	LastBootstrapLatency         time.Duration // written in whole milliseconds
	TimeGenerated                time.Time
}

// CPUAggregate is the processor load over one interval, in percent.
type CPUAggregate struct {
	Average       float64
	Max           float64
	Interval      time.Duration
	TimeCollected time.Time
}

// RequestMetrics tell the service which TLS certificate the agent saw at an
// address.
type RequestMetrics struct {
	ConnectionAddress      string
	ConnectionLeaseTimeout int
	ConnectionLimit        int
	CurrentConnections     int
	CertificateIssuer      string
	CertificateSubject     string
	CertificateThumbprint  string
	TimeCollected          time.Time
}
