// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/internal/datacontract"
)

// Marshal returns the answer to a bootstrap, every element of the newest known
// service in its place. The document holds the endpoints' keys.
func (r Response) Marshal() ([]byte, error) {
	encoded, err := json.Marshal(r.Settings)
	if err != nil {
		return nil, fmt.Errorf("encoding the connectivity settings of a bootstrap response: %w", err)
	}
	return marshal("BootstrapResponse", r.fields(encoded)), nil
}

// ParseResponse reads the answer to a bootstrap. Elements that are absent or
// empty numbers keep the values of [DefaultResponse], unknown ones are ignored;
// a value that cannot be what its element holds is an error, which never repeats
// a key.
func ParseResponse(body []byte) (Response, error) {
	r := DefaultResponse()
	n, err := datacontract.Parse(body, "BootstrapResponse")
	if err == nil {
		err = readFields(n, r.fields(nil))
	}
	if err != nil {
		return Response{}, fmt.Errorf("reading the bootstrap response: %w", err)
	}
	return r, nil
}

// fields binds the response to the elements of protocol section 4.2, in order.
// The settings are given in their encoded form for writing.
func (r *Response) fields(encodedSettings []byte) []field {
	model := []datacontract.Attr{datacontract.XMLNS("a", dataModelNS)}
	milliseconds := func(d *time.Duration) count { return count{d, time.Millisecond, 0} }
	return []field{
		{"BackendSessionTimeoutMilliseconds", milliseconds(&r.BackendSessionTimeout)},
		{"BootstrapAddOnResponses", blank{nil: true}},
		{"BootstrapClientAddOnSettings", blank{nil: true, attrs: model}},
		{"BootstrapEndpointOverride", nilText{text{&r.BootstrapEndpointOverride}}},
		{"CheckForTrustRenewPeriodInMinutes", count{&r.CheckForTrustRenewPeriod, time.Minute, 1}},
		{"ConfigRequestTimeoutMilliseconds", milliseconds(&r.ConfigRequestTimeout)},
		{"ConfigurationEndpointFormat", text{&r.ConfigurationEndpointFormat}},
		{"ConnectionLimit", number{&r.ConnectionLimit, 0}},
		{"ConnectivitySettings", settings{&r.Settings, encodedSettings}},
		{"ConnectorLocalTraceConfig", group{model, r.LocalTrace.fields()}},
		{"ConnectorState", text{&r.ConnectorState}},
		{"DnsLookupCacheTtl", span{&r.DNSLookupCacheTTL}},
		{"DnsRefreshTimeoutMilliseconds", milliseconds(&r.DNSRefreshTimeout)},
		{"EnableConnectorMetricsV2", boolean{&r.ConnectorMetricsV2}},
		{"ErrorEndpointFormat", text{&r.ErrorEndpointFormat}},
		{"LogicalResponseTimeoutMilliseconds", count{&r.LogicalResponseTimeout, time.Millisecond, 1}},
		{"MaxBootstrapAddOnRequestsLength", number{&r.MaxBootstrapAddOnRequestsLength, 0}},
		{"MaxFailedBootstrapRequests", number{&r.MaxFailedRequests, 0}},
		{"MaxServicePointIdleTimeMilliseconds", milliseconds(&r.MaxServicePointIdleTime)},
		{"MinutesInTrustLifetimeBeforeRenew", count{&r.TrustLifetimeBeforeRenew, time.Minute, 0}},
		{"PayloadEndpointFormat", text{&r.PayloadEndpointFormat}},
		{"PayloadRequestTimeoutMilliseconds", milliseconds(&r.PayloadRequestTimeout)},
		{"PeriodicBootstrapIntervalMilliseconds", count{&r.PeriodicInterval, time.Millisecond, 1}},
		{"PeriodicBootstrapRetryStrategy", retryStrategy{&r.RetryStrategy}},
		{"PortoSettings", group{model, r.Porto.fields()}},
		{"ProxyPortResponseFallbackPeriod", span{&r.ProxyPortResponseFallbackPeriod}},
		{"RelayReceiveTimeout", span{&r.RelayReceiveTimeout}},
		{"ResponseEndpointFormat", text{&r.ResponseEndpointFormat}},
		{"ResponseRetryDelayFactor", real{&r.ResponseRetry.DelayFactor}},
		{"ResponseRetryInitialDelayMilliseconds", milliseconds(&r.ResponseRetry.InitialDelay)},
		{"ResponseRetryTotalAttempts", number{&r.ResponseRetry.TotalAttempts, 1}},
		{"ResponseSigningEnabled", boolean{&r.ResponseSigningEnabled}},
		{"SensorTelemetryConfig", group{model, r.Telemetry.fields()}},
		{"ServiceMessage", text{&r.ServiceMessage}},
		{"SignalingListenerEndpoints", list[Endpoint]{
			v: &r.Endpoints, attrs: model, item: "a:SignalingListenerEndpointSettings",
			typed:  []datacontract.Attr{datacontract.Type("a:ServiceBusSignalingListenerEndpointSettings")},
			fields: (*Endpoint).fields,
		}},
		{"Triggers", text{&r.Triggers}},
		{"TrustRenewEndpoint", text{&r.TrustRenewEndpoint}},
	}
}

func (c *LocalTrace) fields() []field {
	return []field{
		{"a:DaysToKeepLocalTraces", number{&c.DaysToKeep, 0}},
		{"a:LocalTracesDisabled", boolean{&c.Disabled}},
		{"a:LocalTracesLevel", number{&c.Level, 0}},
	}
}

func (p *Porto) fields() []field {
	return []field{
		{"a:AppProxyRootCaNames", stringList{&p.RootCANames}},
		{"a:ConnectorChannelShutdownDelay", span{&p.ChannelShutdownDelay}},
		{"a:MaxConnectorLogsCacheSize", number{&p.MaxLogsCacheSize, 0}},
		{"a:RustConnectorSettings", blank{attrs: []datacontract.Attr{datacontract.XMLNS("b", arraysNS)}}},
	}
}

func (t *Telemetry) fields() []field {
	return []field{
		{"a:SamplesDisabled", boolean{&t.SamplesDisabled}},
		{"a:SamplesMaxSizeInBytes", number{&t.SamplesMaxSize, 0}},
		{"a:TelemetryDisabled", boolean{&t.Disabled}},
	}
}

func (e *Endpoint) fields() []field {
	return []field{
		{"a:IsAvailable", boolean{&e.Available}},
		{"a:Name", text{&e.Name}},
		{"a:Domain", text{&e.Domain}},
		{"a:Namespace", text{&e.Namespace}},
		{"a:ReliableSessionEnabled", boolean{&e.Reliable}},
		{"a:Scheme", text{&e.Scheme}},
		{"a:ServicePath", text{&e.ServicePath}},
		{"a:SharedAccessKey", text{&e.SharedAccessKey}},
		{"a:SharedAccessKeyName", text{&e.SharedAccessKeyName}},
	}
}

// settings is the JSON document inside the XML one.
type settings struct {
	v       *ConnectivitySettings
	encoded []byte
}

func (e settings) write(w *datacontract.Writer, name string) { w.Text(name, string(e.encoded)) }

func (e settings) read(parent *datacontract.Node, name string) error {
	document := parent.Value(name)
	if document == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(document), e.v); err != nil {
		// The decoder repeats numbers of any length.
		return fmt.Errorf("element %s: %.200s", name, err.Error())
	}
	return nil
}

// retryStrategy reads a tree. One without a known strategy in it, or with values
// that cannot be, leaves the documented strategy in place: an answer that says
// where to listen is not worth less for it.
type retryStrategy struct{ v *RetryStrategy }

func (e retryStrategy) write(w *datacontract.Writer, name string) {
	w.Element(name, func() { e.v.write(w) }, datacontract.XMLNS("a", retryNS))
}

func (e retryStrategy) read(parent *datacontract.Node, name string) error {
	if s, err := readStrategy(parent.Child(name)); err == nil && s != (RetryStrategy{}) {
		*e.v = s
	}
	return nil
}

// stringList is an array of strings.
type stringList struct{ v *[]string }

func (e stringList) write(w *datacontract.Writer, name string) {
	w.Element(name, func() {
		for _, s := range *e.v {
			w.Text("b:string", s)
		}
	}, datacontract.XMLNS("b", arraysNS))
}

func (e stringList) read(parent *datacontract.Node, name string) error {
	n := parent.Child(name)
	if n == nil {
		return nil
	}
	*e.v = nil
	for _, s := range n.All("string") {
		if len(*e.v) == maxItems {
			return errors.New("element " + name + " holds too many texts")
		}
		*e.v = append(*e.v, s.Text())
	}
	return nil
}
