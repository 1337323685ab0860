// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxJSON bounds a JSON message, in bytes: 40 connectors with two certificates
// each need about 40 kB, and four times that as an array of byte values.
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
		Type              string `json:"__type,omitempty"`
		ConfigurationHash string `json:"ConfigurationHash"`
		CorrelationID     string `json:"CorrelationId"`
		HasPayload        bool   `json:"HasPayload"`
		// ProtocolContext is one of the forms below; a reader takes them all
		// from one jsonProtocol.
		ProtocolContext json.RawMessage `json:"ProtocolContext"`
	}
	jsonProtocol struct {
		Type              string          `json:"__type"`
		TrafficProtocol   int             `json:"TrafficProtocol"`
		ConnectionID      string          `json:"ConnectionId"`
		BodyBytes         []uint16        `json:"BodyBytes"`
		Domain            string          `json:"Domain"`
		EncryptedData     []jsonEncrypted `json:"EncryptedData"`
		UserPrincipalName string          `json:"UserPrincipalName"`
	}
	// The forms that are written. The empty Password is the protocol's unused
	// slot for clear text.
	jsonPassword struct {
		Type              string          `json:"__type,omitempty"`
		TrafficProtocol   int             `json:"TrafficProtocol"`
		Domain            string          `json:"Domain"`
		EncryptedData     []jsonEncrypted `json:"EncryptedData"`
		Password          string          `json:"Password"`
		UserPrincipalName string          `json:"UserPrincipalName"`
	}
	jsonTrusted struct {
		Type            string   `json:"__type,omitempty"`
		TrafficProtocol int      `json:"TrafficProtocol"`
		BodyBytes       []uint16 `json:"BodyBytes"`
	}
	jsonTrustedBody struct {
		TrafficProtocol   int             `json:"TrafficProtocol"`
		Domain            string          `json:"Domain"`
		UserPrincipalName string          `json:"UserPrincipalName"`
		EncryptedData     []jsonEncrypted `json:"EncryptedData"`
	}
	jsonConnect struct {
		Type            string `json:"__type,omitempty"`
		TrafficProtocol int    `json:"TrafficProtocol"`
		ConnectionID    string `json:"ConnectionId,omitempty"`
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
	data, err := encodeJSON(m)
	if err != nil {
		return nil, fmt.Errorf("writing a signal as JSON: %w", err)
	}
	return escapeSlashes(data), nil
}

func encodeJSON(m Message) ([]byte, error) {
	protocol, err := encodeProtocol(m.Tunnel.Protocol)
	if err != nil {
		return nil, err
	}
	return marshal(jsonMessage{
		Type: "SignalMessage" + typeSuffix, RequestID: m.RequestID, SessionID: m.SessionID,
		SubscriptionID: m.SubscriptionID, TransactionID: m.TransactionID,
		OverrideServiceHostEnabled: m.OverrideServiceHostEnabled, OverriddenReturnHost: m.OverriddenReturnHost,
		OverriddenReturnPort: uint16(m.OverriddenReturnPort), ReturnHost: m.ReturnHost, ReturnPort: uint16(m.ReturnPort), //nolint:gosec // ports; the reader checks them
		TunnelContext: jsonTunnel{
			Type: "TunnelContext", ConfigurationHash: m.Tunnel.ConfigurationHash, CorrelationID: m.Tunnel.CorrelationID,
			HasPayload: m.Tunnel.HasPayload, ProtocolContext: protocol,
		},
	})
}

func encodeProtocol(c ProtocolContext) ([]byte, error) {
	v := c.PasswordValidation
	if v == nil {
		return marshal(jsonConnect{Type: c.TypeName, TrafficProtocol: int(c.Traffic), ConnectionID: c.ConnectionID})
	}
	entries := make([]jsonEncrypted, 0, len(v.EncryptedData))
	for _, d := range v.EncryptedData {
		entries = append(entries, jsonEncrypted{
			Type:          "EncryptedOnPremValidationData" + typeSuffix,
			Ciphertext:    base64.StdEncoding.EncodeToString(d.Ciphertext),
			KeyIdentifier: d.KeyIdentifier,
		})
	}
	if c.Traffic != TrafficTrustedParty {
		return marshal(jsonPassword{
			Type: c.TypeName, TrafficProtocol: int(c.Traffic), Domain: v.Domain, EncryptedData: entries, UserPrincipalName: v.UserPrincipalName,
		})
	}
	body, err := marshal(jsonTrustedBody{
		TrafficProtocol: int(c.Traffic), Domain: v.Domain, UserPrincipalName: v.UserPrincipalName, EncryptedData: entries,
	})
	if err != nil {
		return nil, err
	}
	trusted := jsonTrusted{Type: c.TypeName, TrafficProtocol: int(c.Traffic), BodyBytes: make([]uint16, 0, len(body))}
	for _, b := range escapeSlashes(body) {
		trusted.BodyBytes = append(trusted.BodyBytes, uint16(b))
	}
	return marshal(trusted)
}

// marshal writes JSON without escaping anything for HTML's sake.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// escapeSlashes writes slashes as the service's serializer does. In a document
// they can only be inside of strings.
func escapeSlashes(document []byte) []byte {
	return bytes.ReplaceAll(document, []byte(`/`), []byte(`\/`))
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
	var p jsonProtocol
	if inner := j.TunnelContext.ProtocolContext; len(inner) > 0 {
		if err := json.Unmarshal(inner, &p); err != nil {
			return Message{}, fmt.Errorf("reading a signal: %w", withoutContent(err))
		}
	}
	protocol, err := p.decode()
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
	// The number decides, not what else there is.
	if p.EncryptedData == nil || (c.Traffic != TrafficPasswordValidation && c.Traffic != TrafficTrustedParty) {
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
