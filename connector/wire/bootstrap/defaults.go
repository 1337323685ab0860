// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import "time"

// DefaultResponse returns what the service has been seen to answer in 2025,
// without what belongs to one tenant: Endpoints and TrustRenewEndpoint are
// empty. The cloud side adds those; a reader starts from it, so that elements an
// older service does not send mean this.
func DefaultResponse() Response {
	return Response{
		Settings:                 defaultSettings(),
		PeriodicInterval:         10 * time.Minute,
		RetryStrategy:            DefaultRetryStrategy(),
		MaxFailedRequests:        2172,
		ConnectorState:           StateOk,
		LogicalResponseTimeout:   15 * time.Second,
		ResponseEndpointFormat:   "https://{0}:{1}/subscriber/connection",
		ResponseRetry:            ResponseRetry{TotalAttempts: 5, InitialDelay: 200 * time.Millisecond, DelayFactor: 2},
		CheckForTrustRenewPeriod: 6 * time.Hour,

		BackendSessionTimeout:           305 * time.Second,
		ConfigRequestTimeout:            20 * time.Second,
		ConfigurationEndpointFormat:     "https://{0}:{1}/subscriber/admin",
		ConnectionLimit:                 200,
		LocalTrace:                      LocalTrace{DaysToKeep: 30, Level: 2},
		DNSLookupCacheTTL:               30 * time.Minute,
		DNSRefreshTimeout:               30 * time.Minute,
		ErrorEndpointFormat:             "https://{0}:{1}/subscriber/error",
		MaxServicePointIdleTime:         5 * time.Minute,
		PayloadEndpointFormat:           "https://{0}:{1}/subscriber/payload",
		PayloadRequestTimeout:           20 * time.Second,
		Porto:                           Porto{RootCANames: []string{"DigiCert"}, ChannelShutdownDelay: day, MaxLogsCacheSize: 5},
		ProxyPortResponseFallbackPeriod: day,
		RelayReceiveTimeout:             Infinite,
		Telemetry:                       Telemetry{SamplesMaxSize: 1024},
	}
}

// documentedRenewal is how long before expiry the documentation says that
// agents renew.
const documentedRenewal = 30 * day

// RenewBefore is how long before the end of its certificate a connector must
// renew it: TrustLifetimeBeforeRenew, or the documented 30 days where that is
// zero, whose meaning is not public.
func (r Response) RenewBefore() time.Duration {
	if r.TrustLifetimeBeforeRenew <= 0 {
		return documentedRenewal
	}
	return r.TrustLifetimeBeforeRenew
}

func defaultSettings() ConnectivitySettings {
	const kib64 = 65536
	return ConnectivitySettings{
		ServicePointManagerSettings: ServicePointManagerSettings{
			ConnectionLimit:               200,
			MaxServicePointIdleTimeMillis: 300000,
			DNSRefreshTimeoutMillis:       1800000,
			TCPKeepAliveEnabled:           true,
			TCPKeepAliveTimeMillis:        60000,
			TCPKeepAliveIntervalMillis:    1000,
		},
		SignalingSettings: SignalingSettings{
			BindingType:                      "NetTcpRelayBinding",
			OpenTimeout:                      TimeSpan(time.Minute),
			CloseTimeout:                     TimeSpan(time.Minute),
			ReceiveTimeout:                   TimeSpan(Infinite),
			ReliableSessionInactivityTimeout: TimeSpan(10 * time.Minute),
			ReliableSessionOrdered:           true,
			ListenBacklog:                    10,
			MaxReceivedMessageSize:           kib64,
			MaxBufferPoolSize:                kib64,
			MaxBufferSize:                    kib64,
			MaxConnections:                   100,
			WebSocketReceiveTimeout:          TimeSpan(2 * time.Hour),
			UseCachedServiceBusSasToken:      true,
			ServiceBusSasTokenTTL:            TimeSpan(time.Hour),
		},
		WebSocketSignalingSettings: WebSocketSignalingSettings{
			OpenTimeout:               TimeSpan(30 * time.Second),
			CloseTimeout:              TimeSpan(30 * time.Second),
			SendTimeout:               TimeSpan(30 * time.Second),
			ReceiveTimeout:            TimeSpan(2 * time.Hour),
			IdleTimeout:               TimeSpan(2 * time.Hour),
			LeaseTimeout:              TimeSpan(6 * time.Hour),
			KeepAliveInterval:         TimeSpan(10 * time.Second),
			MaxReceivedMessageSize:    kib64,
			MaxConnections:            1,
			EnableAutomaticReconnects: true,
			RetryableOperationSettings: RetryableOperationSettings{
				MinimumSuccessfulOperationTimeSpan: TimeSpan(time.Minute),
				TotalAttempts:                      5,
				InitialDelayMilliseconds:           200,
				DelayFactor:                        2,
			},
		},
		DNSCacheSettings: DNSCacheSettings{
			DNSCacheEnabled:           true,
			DNSCacheTTL:               TimeSpan(30 * time.Minute),
			DNSCacheResolutionTimeout: TimeSpan(time.Minute),
		},
		BackendWebSocketSettings: BackendWebSocketSettings{
			MessageBufferSize:                     16384,
			BackendWebSocketIdleTimeout:           TimeSpan(5 * time.Hour),
			BackendWebSocketInactivityCheckPeriod: TimeSpan(30 * time.Minute),
			BackendWebSocketKeepAliveInterval:     TimeSpan(3*time.Minute + 45*time.Second),
		},
	}
}
