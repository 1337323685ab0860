// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import "fmt"

// TrafficProtocol says what a signal asks for. XML carries names, JSON
// numbers.
type TrafficProtocol int

// The traffic protocols that pass-through authentication uses.
const (
	TrafficPasswordValidation TrafficProtocol = 2
	TrafficTrustedParty       TrafficProtocol = 3
	TrafficConnect            TrafficProtocol = 4
)

var trafficNames = []string{"HTTP", "TCP", "PasswordValidation", "TrustedParty", "Connect", "BackendWebSocket", "HttpForwardingProxy", "UDP"}

// String returns the name that XML carries.
func (t TrafficProtocol) String() string {
	if t >= 0 && int(t) < len(trafficNames) {
		return trafficNames[t]
	}
	return fmt.Sprintf("TrafficProtocol(%d)", int(t))
}

// parseTraffic reads a name; one that is not known is -1, which no caller
// handles and every caller refuses.
func parseTraffic(name string) TrafficProtocol {
	for i, n := range trafficNames {
		if n == name {
			return TrafficProtocol(i)
		}
	}
	return -1
}

// Message asks a connector to do something: to validate a password, or to
// fetch the request for that from the proxy.
type Message struct {
	RequestID, SessionID string
	// SubscriptionID is the tenant. A connector must refuse any but its own.
	SubscriptionID string
	// TransactionID correlates the answer; it goes into a header of the response.
	TransactionID string

	// The answer goes to the overriding host and port if OverrideServiceHostEnabled,
	// else to the other two. All four come from the network: check them against
	// the pinned suffixes and ports before use.
	OverrideServiceHostEnabled bool
	OverriddenReturnHost       string
	OverriddenReturnPort       int
	ReturnHost                 string
	ReturnPort                 int

	Tunnel TunnelContext
}

// TunnelContext holds the request itself.
type TunnelContext struct {
	ConfigurationHash, CorrelationID string
	HasPayload                       bool
	Protocol                         ProtocolContext
}

// ProtocolContext is the polymorphic part. Callers go by Traffic and must
// tolerate that the member for it is missing.
type ProtocolContext struct {
	TypeName string
	Traffic  TrafficProtocol
	// ConnectionID is set for TrafficConnect.
	ConnectionID string
	// PasswordValidation is set for TrafficPasswordValidation and, if its body
	// could be read, for TrafficTrustedParty.
	PasswordValidation *PasswordValidation
}

// PasswordValidation is a request to validate a password.
type PasswordValidation struct {
	// Domain is the NetBIOS name of the user's domain; it may be empty.
	Domain            string
	UserPrincipalName string
	// EncryptedData holds one entry for every active certificate of every
	// connector of the tenant. Keep none but your own.
	EncryptedData []EncryptedData
}

// EncryptedData is the password for one key.
type EncryptedData struct {
	// Ciphertext is RSAES-OAEP with SHA-1, 256 bytes for a 2048-bit key.
	Ciphertext []byte
	// KeyIdentifier is "{connector id}_{SHA-1 thumbprint, upper-case hex}".
	KeyIdentifier string
}

// Response acknowledges that a signal was received; it says nothing of the
// password.
type Response struct {
	AckLatency  int64 // milliseconds
	ConnectorID string
}
