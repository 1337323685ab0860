// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

// ConnectivitySettings is the JSON document that a response carries as text
// (protocol section 4.4). Unknown members are ignored, missing ones keep the
// values of [DefaultResponse].
type ConnectivitySettings struct {
	ServicePointManagerSettings ServicePointManagerSettings
	SignalingSettings           SignalingSettings
	WebSocketSignalingSettings  WebSocketSignalingSettings
	DNSCacheSettings            DNSCacheSettings         `json:"DnsCacheSettings"`
	BackendWebSocketSettings    BackendWebSocketSettings // another product's
}

// ServicePointManagerSettings tune outgoing HTTP connections.
type ServicePointManagerSettings struct {
	ConnectionLimit               int
	MaxServicePoints              int
	MaxServicePointIdleTimeMillis int `json:"MaxServicePointIdleTimeMilliseconds"`
	DNSRefreshTimeoutMillis       int `json:"DnsRefreshTimeoutMilliseconds"`
	Expect100Continue             bool
	UseNagleAlgorithm             bool
	TCPKeepAliveEnabled           bool `json:"TcpKeepAliveEnabled"`
	TCPKeepAliveTimeMillis        int  `json:"TcpKeepAliveTime"`
	TCPKeepAliveIntervalMillis    int  `json:"TcpKeepAliveInterval"`
}

// SignalingSettings describe the relayed WCF channel.
type SignalingSettings struct {
	BindingType                       string // NetTcpRelayBinding
	OpenTimeout                       TimeSpan
	CloseTimeout                      TimeSpan
	ReceiveTimeout                    TimeSpan
	ReliableSessionEnabled            bool
	ReliableSessionInactivityTimeout  TimeSpan
	ReliableSessionOrdered            bool
	ListenBacklog                     int
	MaxReceivedMessageSize            int // bytes
	MaxBufferPoolSize                 int // bytes
	MaxBufferSize                     int // bytes
	MaxConnections                    int
	WebSocketReceiveTimeout           TimeSpan
	UseCachedServiceBusSasToken       bool
	ServiceBusSasTokenTTL             TimeSpan `json:"ServiceBusSasTokenTtl"`
	UseServiceBusTracingForListenerID bool     `json:"UseServiceBusTracingForListenerId"`
}

// WebSocketSignalingSettings describe the WebSockets below it.
type WebSocketSignalingSettings struct {
	OpenTimeout                TimeSpan
	CloseTimeout               TimeSpan
	SendTimeout                TimeSpan
	ReceiveTimeout             TimeSpan
	IdleTimeout                TimeSpan
	LeaseTimeout               TimeSpan
	KeepAliveInterval          TimeSpan
	MaxReceivedMessageSize     int // bytes
	MaxConnections             int
	EnableAutomaticReconnects  bool
	RetryableOperationSettings RetryableOperationSettings
}

// RetryableOperationSettings say how a failed WebSocket operation is repeated.
type RetryableOperationSettings struct {
	MinimumSuccessfulOperationTimeSpan TimeSpan
	TotalAttempts                      int
	InitialDelayMilliseconds           int
	DelayFactor                        float64
}

// DNSCacheSettings tune the name cache of the service's own agent.
type DNSCacheSettings struct {
	DNSCacheEnabled           bool     `json:"DnsCacheEnabled"`
	DNSCacheTTL               TimeSpan `json:"DnsCacheTtl"`
	DNSCacheResolutionTimeout TimeSpan `json:"DnsCacheResolutionTimeout"`
}

// BackendWebSocketSettings concern Application Proxy only.
type BackendWebSocketSettings struct {
	MessageBufferSize                     int
	BackendWebSocketIdleTimeout           TimeSpan
	BackendWebSocketInactivityCheckPeriod TimeSpan
	BackendWebSocketKeepAliveInterval     TimeSpan
}
