// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/passthrough-dev/connector-operator/connector/wire/nbfx"
)

// Decoder reads the envelopes of one direction of one bridged connection. It
// is not safe for concurrent use. After an error the session's string table
// may be incomplete: end the connection.
type Decoder struct{ session nbfx.Table }

// NewDecoder returns the decoder of a new connection.
func NewDecoder() *Decoder { return &Decoder{} }

// Decode reads the content of a sized envelope. Messages of a kind that the
// protocol does not define come back as KindUnknown and are no error.
func (d *Decoder) Decode(content []byte) (Envelope, error) {
	env, err := d.decode(content)
	if err != nil {
		return Envelope{}, fmt.Errorf("reading an envelope: %w", err)
	}
	return env, nil
}

func (d *Decoder) decode(content []byte) (Envelope, error) {
	n, size, err := nbfx.DecodeMultiByteInt31(content)
	if err != nil {
		return Envelope{}, err
	}
	content = content[size:]
	if uint64(n) > uint64(len(content)) {
		return Envelope{}, nbfx.ErrTruncated
	}
	if err := d.session.AddEncoded(content[:n]); err != nil {
		return Envelope{}, err
	}
	root, err := nbfx.Parse(content[n:], &d.session)
	if err != nil {
		return Envelope{}, err
	}
	if root.Name != "Envelope" {
		return Envelope{}, fmt.Errorf("a %.64q document is not an envelope", root.Name)
	}
	return readEnvelope(root)
}

func readEnvelope(root *nbfx.Element) (Envelope, error) {
	header, body := root.Child("Header"), root.Child("Body")
	env := Envelope{
		Action:       header.Child("Action").Text(),
		MessageID:    header.Child("MessageID").Text(),
		RelatesTo:    header.Child("RelatesTo").Text(),
		To:           header.Child("To").Text(),
		AckRequested: header.Child("AckRequested").Child("Identifier").Text(),
	}
	var err error
	if env.Sequence, err = readSequence(header.Child("Sequence")); err != nil {
		return Envelope{}, err
	}
	if env.Acknowledgement, err = readAcknowledgement(header.Child("SequenceAcknowledgement")); err != nil {
		return Envelope{}, err
	}
	if body == nil || len(body.Children) == 0 {
		switch {
		case env.Sequence != nil:
			// It has a place in the sequence, whatever it means.
			if env.Sequence.Last || env.Action == ActionLastMessage {
				env.Kind, env.Sequence.Last = KindLastMessage, true
			}
		case env.Acknowledgement != nil:
			env.Kind = KindAcknowledgement
		case env.AckRequested != "":
			env.Kind = KindAckRequested
		}
		return env, nil
	}
	return env, readBody(&env, body.Children[0])
}

// readBody sets the kind and its member from the body's first element.
func readBody(env *Envelope, e *nbfx.Element) (err error) {
	switch e.Name {
	case "SignalConnector":
		env.Kind = KindSignal
		env.Signal, err = readSignal(e.Child("messageProperties"))
	case "SignalConnectorResponse":
		env.Kind = KindResponse
		result := e.Child("SignalConnectorResult")
		env.Response = &Response{ConnectorID: result.Child("ConnectorId").Text()}
		env.Response.AckLatency, err = result.Child("AckLatency").Int()
	case "Ping":
		env.Kind = KindPing
	case "Fault":
		readFault(env, e)
	case "CreateSequence":
		env.Kind = KindCreateSequence
		env.CreateSequence = &CreateSequence{
			AcksTo: e.Child("AcksTo").Child("Address").Text(),
			Offer:  e.Child("Offer").Child("Identifier").Text(),
		}
	case "CreateSequenceResponse":
		env.Kind = KindCreateSequenceResponse
		env.CreateSequenceResponse = &CreateSequenceResponse{
			Identifier: e.Child("Identifier").Text(),
			AcksTo:     e.Child("Accept").Child("AcksTo").Child("Address").Text(),
		}
	case "TerminateSequence":
		env.Kind = KindTerminateSequence
		env.TerminateSequence = e.Child("Identifier").Text()
	}
	return err
}

func readSequence(e *nbfx.Element) (*Sequence, error) {
	if e == nil {
		return nil, nil
	}
	n, err := e.Child("MessageNumber").Int()
	if err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("message number %d is below 1", n)
	}
	return &Sequence{Identifier: e.Child("Identifier").Text(), MessageNumber: n, Last: e.Child("LastMessage") != nil}, nil
}

func readAcknowledgement(e *nbfx.Element) (*Acknowledgement, error) {
	if e == nil {
		return nil, nil
	}
	a := &Acknowledgement{Identifier: e.Child("Identifier").Text(), BufferRemaining: -1}
	for _, c := range e.Children {
		switch c.Name {
		case "AcknowledgementRange":
			lower, err1 := attributeInt(c, "Lower")
			upper, err2 := attributeInt(c, "Upper")
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
			if lower < 0 || upper < lower {
				return nil, fmt.Errorf("acknowledgement range %d to %d is not a range", lower, upper)
			}
			a.Ranges = append(a.Ranges, Range{Lower: lower, Upper: upper})
		case "Nack":
			n, err := c.Int()
			if err != nil {
				return nil, err
			}
			if n < 1 {
				return nil, fmt.Errorf("message number %d is below 1", n)
			}
			a.Nacks = append(a.Nacks, n)
		case "BufferRemaining":
			n, err := c.Int()
			if err != nil {
				return nil, err
			}
			a.BufferRemaining = n
		}
	}
	return a, nil
}

func attributeInt(e *nbfx.Element, name string) (int64, error) {
	text, _ := e.Attribute(name)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("attribute %s is %.32q, which is not an integer", name, text)
	}
	return n, nil
}

func readFault(env *Envelope, e *nbfx.Element) {
	code := e.Child("Code")
	env.Kind = KindFault
	env.Fault = &Fault{
		Code:     localName(code.Child("Value").Text()),
		Subcode:  localName(code.Child("Subcode").Child("Value").Text()),
		Reason:   e.Child("Reason").Child("Text").Text(),
		Sequence: e.Child("Detail").Child("Identifier").Text(),
	}
	if closing := e.Child("Detail").Child("ConnectorIsClosingFault"); closing != nil {
		env.Kind = KindClosingFault
		if message := closing.Child("Message").Text(); message != "" {
			env.Fault.Reason = message
		}
	}
}

// localName drops the prefix of a qualified name.
func localName(name string) string {
	if _, local, ok := strings.Cut(name, ":"); ok {
		return local
	}
	return name
}

func readSignal(e *nbfx.Element) (*Message, error) {
	if e == nil {
		return nil, errors.New("the signal has no properties")
	}
	m := &Message{
		RequestID:            e.Child("RequestId").Text(),
		SessionID:            e.Child("SessionId").Text(),
		SubscriptionID:       e.Child("SubscriptionId").Text(),
		TransactionID:        e.Child("TransactionId").Text(),
		OverriddenReturnHost: e.Child("OverridenReturnHost").Text(),
		ReturnHost:           e.Child("ReturnHost").Text(),
	}
	var errs [4]error
	m.OverrideServiceHostEnabled, errs[0] = e.Child("OverrideServiceHostEnabled").Bool()
	m.OverriddenReturnPort, errs[1] = port(e.Child("OverridenReturnPort"))
	m.ReturnPort, errs[2] = port(e.Child("ReturnPort"))
	tunnel := e.Child("TunnelContext")
	m.Tunnel = TunnelContext{
		ConfigurationHash: tunnel.Child("ConfigurationHash").Text(),
		CorrelationID:     tunnel.Child("CorrelationId").Text(),
	}
	m.Tunnel.HasPayload, errs[3] = tunnel.Child("HasPayload").Bool()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	var err error
	m.Tunnel.Protocol, err = readProtocolContext(tunnel.Child("ProtocolContext"))
	return m, err
}

func port(e *nbfx.Element) (int, error) {
	n, err := e.Int()
	if err == nil && (n < 0 || n > 65535) {
		err = fmt.Errorf("element %s holds %d, which is not a port", e.Name, n)
	}
	return int(n), err
}

func readProtocolContext(e *nbfx.Element) (ProtocolContext, error) {
	typeName, _ := e.Attribute("type")
	c := ProtocolContext{
		TypeName:     localName(typeName),
		Traffic:      parseTraffic(e.Child("TrafficProtocol").Text()),
		ConnectionID: e.Child("ConnectionId").Text(),
	}
	if c.Traffic != TrafficPasswordValidation && c.Traffic != TrafficTrustedParty {
		return c, nil
	}
	if list := e.Child("EncryptedData"); list != nil {
		v := &PasswordValidation{Domain: e.Child("Domain").Text(), UserPrincipalName: e.Child("UserPrincipalName").Text()}
		for _, item := range list.Children {
			ciphertext, err := item.Child("Base64EncryptedData").Bytes()
			if err != nil {
				return c, err
			}
			v.EncryptedData = append(v.EncryptedData, EncryptedData{Ciphertext: ciphertext, KeyIdentifier: item.Child("KeyIdentifer").Text()})
		}
		c.PasswordValidation = v
	}
	return c, nil
}
