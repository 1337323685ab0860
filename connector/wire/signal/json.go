// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxJSON bounds a JSON message, in bytes: 40 connectors with two certificates
// each need about 40 kB.
const MaxJSON = 262144

// The JSON form of a Message (protocol section 7.3). "__type" members are
// written as the service writes them and ignored when read.
type (
	jsonMessage struct {
		Type                       string     `json:"__type,omitempty"`
		RequestID                  string     `json:"RequestId"`
		SessionID                  string     `json:"SessionId"`
		SubscriptionID             string     `json:"SubscriptionId"`
		TransactionID              string     `json:"TransactionId"`
		OverrideServiceHostEnabled bool       `json:"OverrideServiceHostEnabled"`
		OverriddenReturnHost       string     `json:"OverridenReturnHost"`
		OverriddenReturnPort       uint16     `json:"OverridenReturnPort"`
		ReturnHost                 string     `json:"ReturnHost"`
		ReturnPort                 uint16     `json:"ReturnPort"`
		TunnelContext              jsonTunnel `json:"TunnelContext"`
	}
	jsonTunnel struct {
		Type              string       `json:"__type,omitempty"`
		ConfigurationHash string       `json:"ConfigurationHash"`
		CorrelationID     string       `json:"CorrelationId"`
		HasPayload        bool         `json:"HasPayload"`
		ProtocolContext   jsonProtocol `json:"ProtocolContext"`
	}
	jsonProtocol struct {
		Type              string          `json:"__type,omitempty"`
		TrafficProtocol   int             `json:"TrafficProtocol"`
		ConnectionID      string          `json:"ConnectionId,omitempty"`
		BodyBytes         []uint16        `json:"BodyBytes,omitempty"`
		Domain            string          `json:"Domain"`
		EncryptedData     []jsonEncrypted `json:"EncryptedData"`
		Password          string          `json:"Password"`
		UserPrincipalName string          `json:"UserPrincipalName"`
	}
	jsonEncrypted struct {
		Type          string `json:"__type,omitempty"`
		Ciphertext    string `json:"Base64EncryptedData"`
		KeyIdentifier string `json:"KeyIdentifer"`
	}
)

const typeSuffix = ":#Microsoft.ApplicationProxy.Common.SignalingDataModel"

// EncodeJSON writes a message as the proxy hands it out. A TrafficTrustedParty
// request is written with its body as an array of byte values.
func EncodeJSON(m Message) ([]byte, error) {
	c := m.Tunnel.Protocol
	p := jsonProtocol{Type: c.TypeName, TrafficProtocol: int(c.Traffic), ConnectionID: c.ConnectionID}
	if v := c.PasswordValidation; v != nil {
		p.Domain, p.UserPrincipalName = v.Domain, v.UserPrincipalName
		for _, d := range v.EncryptedData {
			p.EncryptedData = append(p.EncryptedData, jsonEncrypted{
				Type:          "EncryptedOnPremValidationData" + typeSuffix,
				Ciphertext:    base64.StdEncoding.EncodeToString(d.Ciphertext),
				KeyIdentifier: d.KeyIdentifier,
			})
		}
		if c.Traffic == TrafficTrustedParty {
			body, err := json.Marshal(p) //nolint:gosec // the member called Password is always empty: the protocol's unused slot for clear text
			if err != nil {
				return nil, fmt.Errorf("writing the body of a signal: %w", err)
			}
			p = jsonProtocol{Type: c.TypeName, TrafficProtocol: int(c.Traffic)}
			for _, b := range body {
				p.BodyBytes = append(p.BodyBytes, uint16(b))
			}
		}
	}
	data, err := json.Marshal(jsonMessage{
		Type: "SignalMessage" + typeSuffix, RequestID: m.RequestID, SessionID: m.SessionID,
		SubscriptionID: m.SubscriptionID, TransactionID: m.TransactionID,
		OverrideServiceHostEnabled: m.OverrideServiceHostEnabled, OverriddenReturnHost: m.OverriddenReturnHost,
		OverriddenReturnPort: uint16(m.OverriddenReturnPort), ReturnHost: m.ReturnHost, ReturnPort: uint16(m.ReturnPort), //nolint:gosec // ports; the reader checks them
		TunnelContext: jsonTunnel{
			Type: "TunnelContext", ConfigurationHash: m.Tunnel.ConfigurationHash, CorrelationID: m.Tunnel.CorrelationID,
			HasPayload: m.Tunnel.HasPayload, ProtocolContext: p,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("writing a signal as JSON: %w", err)
	}
	return data, nil
}

// DecodeJSON reads a message. Unknown members are ignored, order does not
// matter, and the request is found by the number of its traffic protocol.
func DecodeJSON(data []byte) (Message, error) {
	if len(data) > MaxJSON {
		return Message{}, fmt.Errorf("reading a signal: %d bytes are more than %d", len(data), MaxJSON)
	}
	var j jsonMessage
	if err := json.Unmarshal(data, &j); err != nil {
		return Message{}, fmt.Errorf("reading a signal: %w", withoutContent(err))
	}
	protocol, err := j.TunnelContext.ProtocolContext.decode()
	if err != nil {
		return Message{}, fmt.Errorf("reading a signal: %w", err)
	}
	return Message{
		RequestID: j.RequestID, SessionID: j.SessionID, SubscriptionID: j.SubscriptionID, TransactionID: j.TransactionID,
		OverrideServiceHostEnabled: j.OverrideServiceHostEnabled, OverriddenReturnHost: j.OverriddenReturnHost,
		OverriddenReturnPort: int(j.OverriddenReturnPort), ReturnHost: j.ReturnHost, ReturnPort: int(j.ReturnPort),
		Tunnel: TunnelContext{
			ConfigurationHash: j.TunnelContext.ConfigurationHash, CorrelationID: j.TunnelContext.CorrelationID,
			HasPayload: j.TunnelContext.HasPayload, Protocol: protocol,
		},
	}, nil
}

// withoutContent keeps what a JSON error says about place and type and drops
// the value it quotes.
func withoutContent(err error) error {
	if typeError, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("member %.100q at offset %d has the wrong type", typeError.Field, typeError.Offset)
	}
	return errors.New("it is not a JSON document of the expected form")
}

func (p jsonProtocol) decode() (ProtocolContext, error) {
	c := ProtocolContext{TypeName: p.Type, Traffic: TrafficProtocol(p.TrafficProtocol), ConnectionID: p.ConnectionID}
	if c.Traffic == TrafficTrustedParty && len(p.BodyBytes) > 0 {
		body := make([]byte, len(p.BodyBytes))
		for i, b := range p.BodyBytes {
			if b > 255 {
				return c, fmt.Errorf("BodyBytes holds %d, which is not a byte", b)
			}
			body[i] = byte(b)
		}
		p = jsonProtocol{}
		if err := json.Unmarshal(body, &p); err != nil {
			return c, fmt.Errorf("BodyBytes: %w", withoutContent(err))
		}
	}
	if p.EncryptedData == nil {
		return c, nil
	}
	c.PasswordValidation = &PasswordValidation{Domain: p.Domain, UserPrincipalName: p.UserPrincipalName}
	for _, d := range p.EncryptedData {
		ciphertext, err := base64.StdEncoding.DecodeString(d.Ciphertext)
		if err != nil {
			return c, errors.New("Base64EncryptedData is not base64")
		}
		c.PasswordValidation.EncryptedData = append(c.PasswordValidation.EncryptedData, EncryptedData{Ciphertext: ciphertext, KeyIdentifier: d.KeyIdentifier})
	}
	return c, nil
}
