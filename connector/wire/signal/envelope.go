// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

// Kind says what an Envelope holds.
type Kind int

// The kinds of envelopes. KindUnknown is whatever could be read but is none of
// the others: ignore it.
const (
	KindUnknown Kind = iota
	KindSignal
	KindResponse
	KindPing
	// KindClosingFault is a connector's answer while it shuts down: the cloud
	// picks another one.
	KindClosingFault
	KindFault
	KindCreateSequence
	KindCreateSequenceResponse
	KindAcknowledgement
	KindAckRequested
	KindTerminateSequence
	// KindLastMessage ends a sequence and carries nothing: its Sequence says that
	// it is the last.
	KindLastMessage
)

// Envelope is one message of a bridged connection. Identifiers are text; those
// of the form urn:uuid:{guid} travel as 16 bytes.
type Envelope struct {
	Kind Kind
	// Action is read from the wire; writers may leave it empty and get the one
	// that belongs to Kind.
	Action               string
	MessageID, RelatesTo string
	To                   string
	// Declares that the sender wants an acknowledgement of this sequence; empty
	// if not.
	AckRequested string
	// Sequence is nil outside a reliable session.
	Sequence *Sequence

	// The members for Kind; all others are nil or empty.

	Signal                 *Message
	Response               *Response
	Fault                  *Fault
	CreateSequence         *CreateSequence
	CreateSequenceResponse *CreateSequenceResponse
	Acknowledgement        *Acknowledgement
	// TerminateSequence is the identifier of the sequence that ends.
	TerminateSequence string
}

// Sequence places a message in a reliable sequence; numbers begin at 1.
type Sequence struct {
	Identifier    string
	MessageNumber int64
	// Last says that no message of the sequence has a higher number.
	Last bool
}

// CreateSequence asks for a sequence and offers one in return.
type CreateSequence struct {
	AcksTo string
	Offer  string
}

// CreateSequenceResponse grants a sequence.
type CreateSequenceResponse struct {
	Identifier string
	// AcksTo is where acknowledgements of the offered sequence go.
	AcksTo string
}

// Acknowledgement tells which messages of a sequence have arrived.
type Acknowledgement struct {
	Identifier string
	Ranges     []Range
	// Nacks are messages that the receiver misses and wants again at once.
	Nacks []int64
	// BufferRemaining is how many more messages the receiver has room for; -1 if
	// it did not say.
	BufferRemaining int64
}

// Range is inclusive.
type Range struct{ Lower, Upper int64 }

// Fault is a SOAP fault.
type Fault struct {
	Code, Subcode, Reason string
	// Sequence is the identifier in the detail of an UnknownSequence fault.
	Sequence string
}

// Subcodes of the faults of reliable messaging (WS-ReliableMessaging, February
// 2005, section 4).
const (
	// SubcodeUnknownSequence is for an identifier that names no known sequence.
	SubcodeUnknownSequence = "UnknownSequence"
	// SubcodeSequenceTerminated is for a sequence that ended before its time.
	SubcodeSequenceTerminated = "SequenceTerminated"
	// SubcodeInvalidAcknowledgement is for an acknowledgement of what was never
	// sent.
	SubcodeInvalidAcknowledgement = "InvalidAcknowledgement"
	// SubcodeLastMessageNumberExceeded is for a message after the last one.
	SubcodeLastMessageNumberExceeded = "LastMessageNumberExceeded"
	// SubcodeCreateSequenceRefused is for a sequence that is not granted.
	SubcodeCreateSequenceRefused = "CreateSequenceRefused"
)

// Actions of the envelopes that the protocol names.
const (
	ActionSignal         = "http://tempuri.org/IConnectorSignalingService/SignalConnector"
	ActionResponse       = "http://tempuri.org/IConnectorSignalingService/SignalConnectorResponse"
	ActionClosingFault   = "http://tempuri.org/IConnectorSignalingService/SignalConnectorConnectorIsClosingFaultFault"
	ActionFault          = "http://www.w3.org/2005/08/addressing/soap/fault"
	ActionPing           = "Ping"
	ActionCreateSequence = rmNamespace + "/CreateSequence"
	ActionLastMessage    = rmNamespace + "/LastMessage"

	// AnonymousAddress is the address of answers: back where the request came from.
	AnonymousAddress = "http://www.w3.org/2005/08/addressing/anonymous"

	anonymous          = AnonymousAddress
	rmNamespace        = "http://schemas.xmlsoap.org/ws/2005/02/rm"
	signalingNamespace = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.SignalingDataModel"
	requestNamespace   = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.RequestContexts"
	instanceNamespace  = "http://www.w3.org/2001/XMLSchema-instance"
	serviceNamespace   = "http://tempuri.org/"
	connectNamespace   = "http://schemas.microsoft.com/netservices/2009/05/servicebus/connect"
)
