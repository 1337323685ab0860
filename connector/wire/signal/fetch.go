// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

// FetchPath is where the proxy host hands out the requests of signals with
// TrafficConnect, over a WebSocket with mutual TLS and without a subprotocol
// (protocol section 7.1).
const FetchPath = "/subscriber/websocketconnect"

// MaxFetch bounds what a connector says there, in bytes; it has 73.
const MaxFetch = 1024

// fetch is the only message of a connector (protocol section 7.2). No other
// MessageType is known.
type fetch struct {
	ConnectionID string `json:"ConnectionId"`
	MessageType  int    `json:"MessageType"`
}

// EncodeFetch writes the message that asks for a request; connectionID is that
// of the signal. It must be a GUID, anything else is an error.
func EncodeFetch(connectionID string) ([]byte, error) {
	if _, err := guid.Parse(connectionID); err != nil {
		return nil, fmt.Errorf("asking for a request: the connection id %w", err)
	}
	data, err := json.Marshal(fetch{ConnectionID: connectionID})
	if err != nil {
		return nil, fmt.Errorf("asking for a request: %w", err)
	}
	return data, nil
}

// DecodeFetch reads that message and returns the connection id, a GUID as it
// was written.
func DecodeFetch(data []byte) (connectionID string, err error) {
	if len(data) > MaxFetch {
		return "", fmt.Errorf("reading what a connector asks for: %d bytes are more than %d", len(data), MaxFetch)
	}
	var f fetch
	if err := json.Unmarshal(data, &f); err != nil {
		return "", fmt.Errorf("reading what a connector asks for: %w", withoutContent(err))
	}
	if f.MessageType != 0 {
		return "", fmt.Errorf("reading what a connector asks for: message type %d is not known", f.MessageType)
	}
	if _, err := guid.Parse(f.ConnectionID); err != nil {
		return "", errors.New("reading what a connector asks for: the connection id is not a GUID")
	}
	return f.ConnectionID, nil
}
