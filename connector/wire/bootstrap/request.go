// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/internal/datacontract"
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

// Marshal returns the body to post to Path, every element of the newest known
// agent in its place.
func (r Request) Marshal() ([]byte, error) {
	if r.TenantID == "" || r.ConnectorID == "" || r.RequestID == "" {
		return nil, errors.New("bootstrap request needs TenantID, ConnectorID and RequestID")
	}
	for dst, value := range map[*string]string{
		&r.SDKVersion:            r.AgentVersion,
		&r.DataModelVersion:      r.AgentVersion,
		&r.ProxyDataModelVersion: r.AgentVersion,
		&r.ProxyPortResponseMode: "Primary",
		&r.DotNetRelease:         "528449",
		&r.UpdaterStatus:         "Stopped",
	} {
		if *dst == "" {
			*dst = value
		}
	}
	return marshal("BootstrapRequest", r.fields()), nil
}

// ParseRequest reads a body that was posted to Path. Absent elements read as
// zero values: requests of older agents lack some.
func ParseRequest(body []byte) (Request, error) {
	var r Request
	n, err := datacontract.Parse(body, "BootstrapRequest")
	if err == nil {
		if n.Child("PerformanceMetrics") != nil {
			r.Performance = &PerformanceMetrics{}
		}
		err = readFields(n, r.fields())
	}
	if err != nil {
		return Request{}, fmt.Errorf("reading the bootstrap request: %w", err)
	}
	return r, nil
}

// fields binds the request to the elements of protocol section 4.1, in order.
func (r *Request) fields() []field {
	model := []datacontract.Attr{datacontract.XMLNS("a", dataModelNS)}
	performance := r.Performance
	if performance == nil {
		performance = &PerformanceMetrics{}
	}
	return []field{
		{"AgentSdkVersion", text{&r.SDKVersion}},
		{"AgentServiceAccountName", unless{r.ServiceAccountName == "", text{&r.ServiceAccountName}}},
		{"AgentVersion", text{&r.AgentVersion}},
		{"BootstrapAddOnRequests", blank{nil: true}},
		{"BootstrapDataModelVersion", text{&r.DataModelVersion}},
		{"ConnectorId", text{&r.ConnectorID}},
		{"ConnectorVersion", nilText{text{&r.ConnectorVersion}}},
		{"ConsecutiveFailures", number{&r.ConsecutiveFailures, 0}},
		{"CurrentProxyPortResponseMode", text{&r.ProxyPortResponseMode}},
		{"FailedRequestMetrics", blank{attrs: model}},
		{"InitialBootstrap", boolean{&r.InitialBootstrap}},
		{"IsAgentServiceAccountGmsa", unless{r.ServiceAccountName == "", boolean{&r.ServiceAccountGMSA}}},
		{"IsProxyPortResponseFallbackDisabledFromRegistry", boolean{&r.ProxyPortFallbackDisabled}},
		{"LatestDotNetVersionInstalled", text{&r.DotNetRelease}},
		{"MachineName", text{&r.System.MachineName}},
		{"OperatingSystemLanguage", text{&r.System.OSLanguage}},
		{"OperatingSystemLocale", text{&r.System.OSLocale}},
		{"OperatingSystemSKU", text{&r.System.OSSKU}},
		{"OperatingSystemVersion", text{&r.System.OSVersion}},
		{"PerformanceMetrics", unless{r.Performance == nil, group{model, performance.fields()}}},
		{"ProxyDataModelVersion", text{&r.ProxyDataModelVersion}},
		{"RequestId", text{&r.RequestID}},
		{"SubscriptionId", text{&r.TenantID}},
		{"SuccessRequestMetrics", list[RequestMetrics]{v: &r.SuccessfulRequests, attrs: model, item: "a:RequestMetrics", fields: (*RequestMetrics).fields}},
		{"TriggerErrors", text{&r.TriggerErrors}},
		{"UpdaterStatus", text{&r.UpdaterStatus}},
		{"UseServiceBusTcpConnectivityMode", boolean{&r.UseServiceBusTCP}},
		{"UseSpnegoAuthentication", boolean{&r.UseSpnego}},
	}
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

func (p *PerformanceMetrics) fields() []field {
	return []field{
		{"a:CpuAggregates", list[CPUAggregate]{v: &p.CPU, item: "a:AggregatedCpuData", fields: (*CPUAggregate).fields}},
		{"a:CurrentActiveBackendWebSockets", number{&p.CurrentActiveWebSockets, 0}},
		{"a:CurrentActiveGrpcRequests", number{&p.CurrentActiveGRPCRequests, 0}},
		{"a:FaultedServiceBusConnectionCount", number{&p.FaultedServiceBusConnections, 0}},
		{"a:FaultedWebSocketConnectionCount", number{&p.FaultedWebSocketConnections, 0}},
		{"a:LastBootstrapLatency", count{&p.LastBootstrapLatency, time.Millisecond, 0}},
		{"a:TimeGenerated", instant{&p.TimeGenerated}},
	}
}

// CPUAggregate is the processor load over one interval, in percent.
type CPUAggregate struct {
	Average       float64
	Max           float64
	Interval      time.Duration
	TimeCollected time.Time
}

func (c *CPUAggregate) fields() []field {
	return []field{
		{"a:AverageCpu", real{&c.Average}},
		{"a:DataCollectionInterval", span{&c.Interval}},
		{"a:MaxCpu", real{&c.Max}},
		{"a:TimeCollected", instant{&c.TimeCollected}},
	}
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

func (m *RequestMetrics) fields() []field {
	return []field{
		{"a:ConnectionAddress", text{&m.ConnectionAddress}},
		{"a:ConnectionLeaseTimeout", number{&m.ConnectionLeaseTimeout, 0}},
		{"a:ConnectionLimit", number{&m.ConnectionLimit, 0}},
		{"a:CurrentConnections", number{&m.CurrentConnections, 0}},
		{"a:RequestServerSslCert", group{fields: []field{
			{"a:Issuer", text{&m.CertificateIssuer}},
			{"a:SubjectName", text{&m.CertificateSubject}},
			{"a:Thumbprint", text{&m.CertificateThumbprint}},
		}}},
		{"a:TimeCollected", instant{&m.TimeCollected}},
	}
}
