// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package relay holds the messages by which a connector and the cloud meet at
// a relay instance (protocol sections 6.1 and 6.3).
//
// A signal on the AMQP link carries a Connect: where to dial and under which
// rendezvous identifier. The connector dials, sends an Accept with that
// identifier, and gets an AcceptReply; from then on the socket is a bridged
// stream, which package framing reads. Accept and AcceptReply each travel
// behind a length prefix (AppendPrefixed, ReadPrefixed).
package relay

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"github.com/passthrough-dev/connector-operator/connector/wire/nbfx"
)

// MaxMessage bounds a length-prefixed message, in bytes.
const MaxMessage = 65536

const (
	connectNamespace        = "http://schemas.microsoft.com/netservices/2009/05/servicebus/connect"
	relayedConnectNamespace = "http://schemas.microsoft.com/netservices/2009/05/servicebus/relayedconnect"
	relayedConnectAction    = relayedConnectNamespace + "/RelayedConnect"
	instanceNamespace       = "http://www.w3.org/2001/XMLSchema-instance"
	serializationNamespace  = "http://schemas.microsoft.com/2003/10/Serialization/"
	anonymous               = "http://schemas.microsoft.com/2005/12/ServiceModel/Addressing/Anonymous"
)

// Strings of the static dictionary that every envelope uses.
var (
	nameEnvelope       = nbfx.Static("Envelope")
	nameHeader         = nbfx.Static("Header")
	nameBody           = nbfx.Static("Body")
	nameAction         = nbfx.Static("Action")
	nameTo             = nbfx.Static("To")
	nameMessageID      = nbfx.Static("MessageID")
	nameMustUnderstand = nbfx.Static("mustUnderstand")
	soapNamespace      = nbfx.Static("http://www.w3.org/2003/05/soap-envelope")
	addressing         = nbfx.Static("http://www.w3.org/2005/08/addressing")
)

// Connect asks a connector to meet the cloud at a relay instance.
type Connect struct {
	// Via is the relay address, sb://{namespace host}/{path}, without a slash at
	// the end.
	Via string
	// MessageID of the outer envelope, plain text "{guid}_G{n}".
	MessageID string
	// ID is the rendezvous identifier. Knowing it is the credential.
	ID string
	// The three addresses are IPv4; old libraries dialled HTTPSAddress.
	IPAddress    netip.Addr
	IPPort       int
	HTTPAddress  netip.Addr
	HTTPPort     int
	HTTPSAddress netip.Addr
	HTTPSPort    int
	// InstanceDNSAddress is the host to dial. It comes from the network: check it
	// against the pinned suffixes before use.
	InstanceDNSAddress string
}

func startEnvelope(w *nbfx.Writer, action string) {
	w.Start("s", nameEnvelope)
	w.Namespace("s", soapNamespace)
	w.Namespace("a", addressing)
	w.Start("s", nameHeader)
	mustUnderstand(w, nameAction, action)
}

func mustUnderstand(w *nbfx.Writer, name nbfx.String, text string) {
	w.Start("a", name)
	w.Attribute("s", nameMustUnderstand)
	w.Int(1)
	w.AttributeEnd()
	w.Text(nbfx.Literal(text))
	w.End()
}

// startBody ends the header and opens the body.
func startBody(w *nbfx.Writer) {
	w.End()
	w.Start("s", nameBody)
}

// endEnvelope closes what startBody and startEnvelope opened.
func endEnvelope(w *nbfx.Writer) []byte {
	w.End()
	w.End()
	return w.Bytes()
}

func textElement(w *nbfx.Writer, name, text string) {
	w.Start("", nbfx.Literal(name))
	w.Text(nbfx.Literal(text))
	w.End()
}

func intElement(w *nbfx.Writer, name string, n int64) {
	w.Start("", nbfx.Literal(name))
	w.Int(n)
	w.End()
}

// EncodeConnect writes the document that goes into the AMQP data section.
func EncodeConnect(c Connect) []byte {
	var w nbfx.Writer
	startEnvelope(&w, "OnewaySend")
	w.Start("", nbfx.Literal("RelayVia"))
	w.Namespace("", nbfx.Literal(connectNamespace))
	w.Text(nbfx.Literal(c.Via))
	w.End()
	w.Start("a", nameMessageID)
	w.Text(nbfx.Literal(c.MessageID))
	w.End()
	mustUnderstand(&w, nameTo, c.Via)
	startBody(&w)
	w.Base64(encodeInnerConnect(c))
	return endEnvelope(&w)
}

func encodeInnerConnect(c Connect) []byte {
	var w nbfx.Writer
	startEnvelope(&w, relayedConnectAction)
	mustUnderstand(&w, nameTo, c.Via)
	startBody(&w)
	w.Start("", nbfx.Literal("RelayedConnect"))
	w.Namespace("", nbfx.Literal(relayedConnectNamespace))
	w.Namespace("i", nbfx.Literal(instanceNamespace))
	textElement(&w, "Id", c.ID)
	intElement(&w, "IpAddress", fromAddr(c.IPAddress))
	intElement(&w, "IpPort", int64(c.IPPort))
	intElement(&w, "HttpAddress", fromAddr(c.HTTPAddress))
	intElement(&w, "HttpPort", int64(c.HTTPPort))
	intElement(&w, "HttpsAddress", fromAddr(c.HTTPSAddress))
	intElement(&w, "HttpsPort", int64(c.HTTPSPort))
	textElement(&w, "InstanceDnsAddress", c.InstanceDNSAddress)
	w.End()
	return endEnvelope(&w)
}

// fromAddr writes an IPv4 address as the protocol does: a 64-bit number with
// the first octet in the lowest byte. Anything else is 0.
func fromAddr(a netip.Addr) int64 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return int64(binary.LittleEndian.Uint32(b[:]))
}

func toAddr(n int64) (netip.Addr, error) {
	if n < 0 || n > 0xFFFFFFFF {
		return netip.Addr{}, fmt.Errorf("%d is not an IPv4 address", n)
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b), nil
}

// parse reads an envelope and returns its header, its body and its action.
func parse(doc []byte) (header, body *nbfx.Element, action string, err error) {
	root, err := nbfx.Parse(doc, nil)
	if err != nil {
		return nil, nil, "", err
	}
	header, body = root.Child("Header"), root.Child("Body")
	if root.Name != "Envelope" || header == nil || body == nil {
		return nil, nil, "", fmt.Errorf("a %.64q document is not an envelope with header and body", root.Name)
	}
	return header, body, header.Child("Action").Text(), nil
}

// DecodeConnect reads the document of an AMQP data section.
func DecodeConnect(doc []byte) (Connect, error) {
	c, err := decodeConnect(doc)
	if err != nil {
		return Connect{}, fmt.Errorf("reading a relayed connection request: %w", err)
	}
	return c, nil
}

func decodeConnect(doc []byte) (Connect, error) {
	header, body, _, err := parse(doc)
	if err != nil {
		return Connect{}, err
	}
	inner, err := body.Bytes()
	if err != nil {
		return Connect{}, err
	}
	_, innerBody, action, err := parse(inner)
	if err != nil {
		return Connect{}, fmt.Errorf("inner document: %w", err)
	}
	request := innerBody.Child("RelayedConnect")
	if request == nil {
		return Connect{}, fmt.Errorf("action %.100q carries no RelayedConnect", action)
	}
	c := Connect{
		Via:                header.Child("RelayVia").Text(),
		MessageID:          header.Child("MessageID").Text(),
		ID:                 request.Child("Id").Text(),
		InstanceDNSAddress: request.Child("InstanceDnsAddress").Text(),
	}
	if c.ID == "" || c.InstanceDNSAddress == "" {
		return Connect{}, fmt.Errorf("it names no rendezvous or no relay instance")
	}
	for name, port := range map[string]*int{"IpPort": &c.IPPort, "HttpPort": &c.HTTPPort, "HttpsPort": &c.HTTPSPort} {
		n, err := request.Child(name).Int()
		if err != nil {
			return Connect{}, err
		}
		if n < 0 || n > 65535 {
			return Connect{}, fmt.Errorf("%s %d is not a port", name, n)
		}
		*port = int(n)
	}
	for name, addr := range map[string]*netip.Addr{"IpAddress": &c.IPAddress, "HttpAddress": &c.HTTPAddress, "HttpsAddress": &c.HTTPSAddress} {
		n, err := request.Child(name).Int()
		if err != nil {
			return Connect{}, err
		}
		if *addr, err = toAddr(n); err != nil {
			return Connect{}, err
		}
	}
	return c, nil
}

// EncodeAccept writes a connector's answer to a Connect; id is its ID.
func EncodeAccept(id string) []byte {
	var w nbfx.Writer
	startEnvelope(&w, "RelayedAccept")
	mustUnderstand(&w, nameTo, anonymous)
	startBody(&w)
	w.Start("", nbfx.Literal("RelayedAccept"))
	w.Namespace("", nbfx.Literal(connectNamespace))
	w.Namespace("i", nbfx.Literal(instanceNamespace))
	textElement(&w, "Id", id)
	w.End()
	return endEnvelope(&w)
}

// DecodeAccept reads an Accept and returns its rendezvous identifier.
func DecodeAccept(doc []byte) (id string, err error) {
	_, body, action, err := parse(doc)
	if err != nil {
		return "", fmt.Errorf("reading a relay accept: %w", err)
	}
	id = body.Child("RelayedAccept").Child("Id").Text()
	if id == "" {
		return "", fmt.Errorf("reading a relay accept: action %.100q names no rendezvous", action)
	}
	return id, nil
}

// EncodeAcceptReply writes the relay's consent to an Accept.
func EncodeAcceptReply() []byte {
	var w nbfx.Writer
	startEnvelope(&w, "RelayedAcceptReply")
	startBody(&w)
	w.Start("z", nbfx.Literal("anyType"))
	w.Namespace("z", nbfx.Literal(serializationNamespace))
	w.Namespace("i", nbfx.Literal(instanceNamespace))
	w.End()
	return endEnvelope(&w)
}

// RefusedError reports a relay that answered an Accept with something other
// than a reply: the rendezvous has ended or is taken.
type RefusedError struct {
	// Action of the answer; "" if it could not be read.
	Action string
	// Text of a fault's reason, if there is one.
	Text string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the relay refused the rendezvous: action %.100q %.200s", e.Action, e.Text)
}

// DecodeAcceptReply reads the relay's answer to an Accept. Every answer but a
// RelayedAcceptReply is a *RefusedError.
func DecodeAcceptReply(doc []byte) error {
	_, body, action, err := parse(doc)
	if err != nil {
		return &RefusedError{Text: err.Error()}
	}
	if action != "RelayedAcceptReply" || body.Child("Fault") != nil {
		return &RefusedError{Action: action, Text: body.Child("Fault").Child("Reason").Child("Text").Text()}
	}
	return nil
}

// AppendPrefixed appends a message behind its length, four bytes little-endian.
func AppendPrefixed(b, msg []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(msg))) //nolint:gosec // messages are at most MaxMessage bytes
	return append(b, msg...)
}

// ReadPrefixed reads one length-prefixed message of at most limit bytes.
func ReadPrefixed(r io.Reader, limit int) ([]byte, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, fmt.Errorf("reading the length of a relay message: %w", err)
	}
	n := binary.LittleEndian.Uint32(prefix[:])
	if uint64(n) > uint64(max(limit, 0)) {
		return nil, fmt.Errorf("a relay message of %d bytes is larger than %d", n, limit)
	}
	msg := make([]byte, n)
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, fmt.Errorf("reading a relay message of %d bytes: %w", n, err)
	}
	return msg, nil
}
