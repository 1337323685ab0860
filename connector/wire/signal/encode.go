// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/nbfx"
)

// Names and texts of the static dictionary. SOAP, addressing and reliable
// messaging use it; everything that the service contract or the data contract
// serializer writes goes through the session table, even where the static
// dictionary has the same text (protocol section 6.4).
var (
	sEnvelope        = nbfx.Static("Envelope")
	sHeader          = nbfx.Static("Header")
	sBody            = nbfx.Static("Body")
	sSOAP            = nbfx.Static("http://www.w3.org/2003/05/soap-envelope")
	sAddressing      = nbfx.Static("http://www.w3.org/2005/08/addressing")
	sAnonymous       = nbfx.Static(anonymous)
	sMustUnderstand  = nbfx.Static("mustUnderstand")
	sAction          = nbfx.Static("Action")
	sTo              = nbfx.Static("To")
	sMessageID       = nbfx.Static("MessageID")
	sRelatesTo       = nbfx.Static("RelatesTo")
	sReplyTo         = nbfx.Static("ReplyTo")
	sAddress         = nbfx.Static("Address")
	sRM              = nbfx.Static(rmNamespace)
	sIdentifier      = nbfx.Static("Identifier")
	sAckRequested    = nbfx.Static("AckRequested")
	sSequence        = nbfx.Static("Sequence")
	sMessageNumber   = nbfx.Static("MessageNumber")
	sAcknowledgement = nbfx.Static("SequenceAcknowledgement")
	sRange           = nbfx.Static("AcknowledgementRange")
	sLower           = nbfx.Static("Lower")
	sUpper           = nbfx.Static("Upper")
	sNack            = nbfx.Static("Nack")
	sLastMessage     = nbfx.Static("LastMessage")
	sBufferRemaining = nbfx.Static("BufferRemaining")
	sNetRM           = nbfx.Static("http://schemas.microsoft.com/ws/2006/05/rm")
	sCreate          = nbfx.Static("CreateSequence")
	sCreateResponse  = nbfx.Static("CreateSequenceResponse")
	sTerminate       = nbfx.Static("TerminateSequence")
	sAcksTo          = nbfx.Static("AcksTo")
	sOffer           = nbfx.Static("Offer")
	sAccept          = nbfx.Static("Accept")
	sFault           = nbfx.Static("Fault")
	sCode            = nbfx.Static("Code")
	sValue           = nbfx.Static("Value")
	sSubcode         = nbfx.Static("Subcode")
	sReason          = nbfx.Static("Reason")
	sText            = nbfx.Static("Text")
	sDetail          = nbfx.Static("Detail")
)

// actions gives each kind the action that belongs to it and the way it is
// written.
var actions = map[Kind]nbfx.String{
	KindSignal:                 nbfx.Session(ActionSignal),
	KindResponse:               nbfx.Session(ActionResponse),
	KindPing:                   nbfx.Literal(ActionPing),
	KindClosingFault:           nbfx.Session(ActionClosingFault),
	KindFault:                  nbfx.Literal(ActionFault),
	KindCreateSequence:         nbfx.Static(ActionCreateSequence),
	KindCreateSequenceResponse: nbfx.Static(rmNamespace + "/CreateSequenceResponse"),
	KindAcknowledgement:        nbfx.Static(rmNamespace + "/SequenceAcknowledgement"),
	KindAckRequested:           nbfx.Static(rmNamespace + "/AckRequested"),
	KindTerminateSequence:      nbfx.Static(rmNamespace + "/TerminateSequence"),
	KindLastMessage:            nbfx.Static(ActionLastMessage),
}

// Encoder writes the envelopes of one direction of one bridged connection. It
// is not safe for concurrent use.
type Encoder struct{ session nbfx.Interner }

// NewEncoder returns the encoder of a new connection.
func NewEncoder() *Encoder { return &Encoder{} }

// Encode returns the content of a sized envelope: the strings that the peer
// does not know yet, and the document. It fails if the member for the
// envelope's Kind is missing or the result would be too large.
func (e *Encoder) Encode(env Envelope) ([]byte, error) {
	if err := env.check(); err != nil {
		return nil, fmt.Errorf("writing an envelope: %w", err)
	}
	w := &nbfx.Writer{Session: &e.session}
	w.Start("s", sEnvelope)
	w.Namespace("s", sSOAP)
	if env.usesRM() {
		w.Namespace("r", sRM)
	}
	w.Namespace("a", sAddressing)
	writeHeader(w, env)
	w.Start("s", sBody)
	writeBody(w, env)
	w.End()
	w.End()
	table := e.session.Flush()
	content := nbfx.AppendMultiByteInt31(nil, uint32(len(table))) //nolint:gosec // a few hundred bytes
	content = append(append(content, table...), w.Bytes()...)
	if len(content) > nbfx.MaxDocument {
		return nil, fmt.Errorf("writing an envelope: %d bytes are more than %d", len(content), nbfx.MaxDocument)
	}
	return content, nil
}

// check refuses envelopes without the member that their kind needs.
func (env *Envelope) check() error {
	missing := false
	switch env.Kind {
	case KindSignal:
		missing = env.Signal == nil
	case KindResponse:
		missing = env.Response == nil
	case KindFault, KindClosingFault:
		missing = env.Fault == nil
	case KindCreateSequence:
		missing = env.CreateSequence == nil
	case KindCreateSequenceResponse:
		missing = env.CreateSequenceResponse == nil
	case KindAcknowledgement:
		missing = env.Acknowledgement == nil
	case KindAckRequested:
		missing = env.AckRequested == ""
	case KindTerminateSequence:
		missing = env.TerminateSequence == ""
	case KindLastMessage:
		missing = env.Sequence == nil || !env.Sequence.Last
	case KindPing:
	case KindUnknown:
		return fmt.Errorf("its kind is not set")
	}
	if missing {
		return fmt.Errorf("the member for kind %d is missing", env.Kind)
	}
	return nil
}

// usesRM reports whether the header holds elements of reliable messaging. The
// bodies that do declare the namespace themselves.
func (env *Envelope) usesRM() bool {
	return env.Sequence != nil || env.AckRequested != "" || env.Acknowledgement != nil
}

func writeHeader(w *nbfx.Writer, env Envelope) {
	w.Start("s", sHeader)
	if env.AckRequested != "" {
		w.Start("r", sAckRequested)
		identifier(w, "r", sIdentifier, env.AckRequested)
		w.End()
	}
	if env.Sequence != nil {
		w.Start("r", sSequence)
		mustUnderstand(w)
		identifier(w, "r", sIdentifier, env.Sequence.Identifier)
		w.Start("r", sMessageNumber)
		w.Int(env.Sequence.MessageNumber)
		w.End()
		if env.Sequence.Last {
			w.Start("r", sLastMessage)
			w.End()
		}
		w.End()
	}
	if env.Acknowledgement != nil {
		writeAcknowledgement(w, env.Acknowledgement)
	}
	w.Start("a", sAction)
	mustUnderstand(w)
	w.Text(actions[env.Kind])
	w.End()
	if env.MessageID != "" {
		identifier(w, "a", sMessageID, env.MessageID)
	}
	if env.RelatesTo != "" {
		identifier(w, "a", sRelatesTo, env.RelatesTo)
	}
	if env.Kind == KindSignal {
		w.Start("a", sReplyTo)
		w.Start("a", sAddress)
		w.Text(sAnonymous)
		w.End()
		w.End()
	}
	if env.To != "" {
		w.Start("a", sTo)
		mustUnderstand(w)
		w.Text(address(env.To))
		w.End()
	}
	w.End()
}

func mustUnderstand(w *nbfx.Writer) {
	w.Attribute("s", sMustUnderstand)
	w.Int(1)
	w.AttributeEnd()
}

// address writes the anonymous address by its identifier, others in full.
func address(to string) nbfx.String {
	if to == anonymous {
		return sAnonymous
	}
	return nbfx.Literal(to)
}

// identifier writes an element that holds an identifier: as 16 bytes if it has
// that form, else as text.
func identifier(w *nbfx.Writer, prefix string, name nbfx.String, id string) {
	w.Start(prefix, name)
	writeIdentifier(w, id)
	w.End()
}

func writeIdentifier(w *nbfx.Writer, id string) {
	if text, ok := strings.CutPrefix(id, "urn:uuid:"); ok {
		if g, err := guid.Parse(text); err == nil {
			w.UniqueID(g)
			return
		}
	}
	w.Text(nbfx.Literal(id))
}

func writeAcknowledgement(w *nbfx.Writer, a *Acknowledgement) {
	w.Start("r", sAcknowledgement)
	identifier(w, "r", sIdentifier, a.Identifier)
	for _, r := range a.Ranges {
		w.Start("r", sRange)
		w.Attribute("", sLower)
		w.Int(r.Lower)
		w.AttributeEnd()
		w.Attribute("", sUpper)
		w.Int(r.Upper)
		w.AttributeEnd()
		w.End()
	}
	for _, n := range a.Nacks {
		w.Start("r", sNack)
		w.Int(n)
		w.End()
	}
	if a.BufferRemaining >= 0 {
		w.Start("netrm", sBufferRemaining)
		w.Namespace("netrm", sNetRM)
		w.Int(a.BufferRemaining)
		w.End()
	}
	w.End()
}

func writeBody(w *nbfx.Writer, env Envelope) {
	switch env.Kind {
	case KindSignal:
		writeSignal(w, env.Signal)
	case KindResponse:
		writeResponse(w, env.Response)
	case KindPing:
		w.Start("", nbfx.Session("Ping"))
		w.Namespace("", nbfx.Session(connectNamespace))
		w.Namespace("i", nbfx.Session(instanceNamespace))
		w.End()
	case KindFault, KindClosingFault:
		writeFault(w, env)
	case KindCreateSequence:
		w.Start("", sCreate)
		w.Namespace("", sRM)
		acksTo(w, env.CreateSequence.AcksTo)
		w.Start("", sOffer)
		identifier(w, "", sIdentifier, env.CreateSequence.Offer)
		w.End()
		w.End()
	case KindCreateSequenceResponse:
		w.Start("", sCreateResponse)
		w.Namespace("", sRM)
		identifier(w, "", sIdentifier, env.CreateSequenceResponse.Identifier)
		w.Start("", sAccept)
		acksTo(w, env.CreateSequenceResponse.AcksTo)
		w.End()
		w.End()
	case KindTerminateSequence:
		w.Start("", sTerminate)
		w.Namespace("", sRM)
		identifier(w, "", sIdentifier, env.TerminateSequence)
		w.End()
	case KindAcknowledgement, KindAckRequested, KindLastMessage, KindUnknown:
		// Nothing in the body: the header says it all.
	}
}

func acksTo(w *nbfx.Writer, to string) {
	w.Start("", sAcksTo)
	w.Start("a", sAddress)
	w.Text(address(to))
	w.End()
	w.End()
}

func writeResponse(w *nbfx.Writer, r *Response) {
	w.Start("", nbfx.Session("SignalConnectorResponse"))
	w.Namespace("", nbfx.Session(serviceNamespace))
	w.Start("", nbfx.Session("SignalConnectorResult"))
	w.Namespace("b", nbfx.Session(signalingNamespace))
	w.Namespace("i", nbfx.Session(instanceNamespace))
	w.Start("b", nbfx.Session("AckLatency"))
	w.Int(r.AckLatency)
	w.End()
	text(w, "b", "ConnectorId", r.ConnectorID)
	w.End()
	w.End()
}

// text writes an element whose name goes through the session table.
func text(w *nbfx.Writer, prefix, name, value string) {
	w.Start(prefix, nbfx.Session(name))
	w.Text(nbfx.Literal(value))
	w.End()
}

func writeSignal(w *nbfx.Writer, m *Message) {
	w.Start("", nbfx.Session("SignalConnector"))
	w.Namespace("", nbfx.Session(serviceNamespace))
	w.Start("", nbfx.Session("messageProperties"))
	w.Namespace("b", nbfx.Session(signalingNamespace))
	w.Namespace("i", nbfx.Session(instanceNamespace))
	for _, id := range [][2]string{{"RequestId", m.RequestID}, {"SessionId", m.SessionID}, {"SubscriptionId", m.SubscriptionID}, {"TransactionId", m.TransactionID}} {
		w.Start("", nbfx.Session(id[0]))
		w.Namespace("", nbfx.Session(requestNamespace))
		w.Text(nbfx.Literal(id[1]))
		w.End()
	}
	w.Start("b", nbfx.Session("OverrideServiceHostEnabled"))
	w.Bool(m.OverrideServiceHostEnabled)
	w.End()
	text(w, "b", "OverridenReturnHost", m.OverriddenReturnHost)
	number(w, "OverridenReturnPort", m.OverriddenReturnPort)
	text(w, "b", "ReturnHost", m.ReturnHost)
	number(w, "ReturnPort", m.ReturnPort)
	w.Start("b", nbfx.Session("TunnelContext"))
	unqualified(w, "ConfigurationHash")
	w.Text(nbfx.Literal(m.Tunnel.ConfigurationHash))
	w.End()
	unqualified(w, "CorrelationId")
	w.Text(nbfx.Literal(m.Tunnel.CorrelationID))
	w.End()
	unqualified(w, "HasPayload")
	w.Bool(m.Tunnel.HasPayload)
	w.End()
	writeProtocolContext(w, m.Tunnel.Protocol)
	w.End()
	w.End()
	w.End()
}

func number(w *nbfx.Writer, name string, n int) {
	w.Start("b", nbfx.Session(name))
	w.Int(int64(n))
	w.End()
}

// unqualified opens a member of the tunnel context, which has the empty
// namespace.
func unqualified(w *nbfx.Writer, name string) {
	w.Start("", nbfx.Session(name))
	w.Namespace("", nbfx.Session(""))
}

func writeProtocolContext(w *nbfx.Writer, c ProtocolContext) {
	w.Start("", nbfx.Session("ProtocolContext"))
	w.Attribute("i", nbfx.Session("type"))
	w.Text(nbfx.Session(c.TypeName))
	w.AttributeEnd()
	w.Namespace("", nbfx.Session(""))
	text(w, "", "TrafficProtocol", c.Traffic.String())
	if c.ConnectionID != "" {
		text(w, "", "ConnectionId", c.ConnectionID)
	}
	if v := c.PasswordValidation; v != nil {
		text(w, "", "Domain", v.Domain)
		w.Start("", nbfx.Session("EncryptedData"))
		for _, d := range v.EncryptedData {
			w.Start("b", nbfx.Session("EncryptedOnPremValidationData"))
			text(w, "b", "Base64EncryptedData", base64.StdEncoding.EncodeToString(d.Ciphertext))
			text(w, "b", "KeyIdentifer", d.KeyIdentifier)
			w.End()
		}
		w.End()
		text(w, "", "Password", "")
		text(w, "", "UserPrincipalName", v.UserPrincipalName)
	}
	w.End()
}

// writeFault writes a SOAP 1.2 fault. Its layout is that of WCF; no capture of
// the closing fault is public.
func writeFault(w *nbfx.Writer, env Envelope) {
	f := env.Fault
	w.Start("s", sFault)
	w.Start("s", sCode)
	w.Start("s", sValue)
	w.Text(nbfx.Literal("s:" + orDefault(f.Code, "Sender")))
	w.End()
	if f.Subcode != "" {
		w.Start("s", sSubcode)
		w.Start("s", sValue)
		w.Namespace("a", sRM)
		w.Text(nbfx.Literal("a:" + f.Subcode))
		w.End()
		w.End()
	}
	w.End()
	w.Start("s", sReason)
	w.Start("s", sText)
	w.Attribute("xml", nbfx.Literal("lang"))
	w.Text(nbfx.Literal("en-US"))
	w.AttributeEnd()
	w.Text(nbfx.Literal(f.Reason))
	w.End()
	w.End()
	switch {
	case env.Kind == KindClosingFault:
		w.Start("s", sDetail)
		w.Start("", nbfx.Session("ConnectorIsClosingFault"))
		w.Namespace("", nbfx.Session(signalingNamespace))
		w.Namespace("i", nbfx.Session(instanceNamespace))
		text(w, "", "Message", f.Reason)
		w.End()
		w.End()
	case f.Sequence != "":
		w.Start("s", sDetail)
		w.Start("r", sIdentifier)
		w.Namespace("r", sRM)
		writeIdentifier(w, f.Sequence)
		w.End()
		w.End()
	}
	w.End()
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
