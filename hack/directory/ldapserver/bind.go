// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ldapserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
)

const (
	// Tags of protocol operations (RFC 4511 section 4.2 and 4.3) and of the
	// simple choice in a bind.
	tagBindRequest  = ber.Tag(0)
	tagBindResponse = ber.Tag(1)
	tagUnbind       = ber.Tag(2)
	tagSimple       = ber.Tag(0)

	// The same of extended operations (section 4.12).
	tagExtendedRequest  = ber.Tag(23)
	tagExtendedResponse = ber.Tag(24)

	// maxRequest bounds one request; a bind is some 100 bytes.
	maxRequest = 64 << 10
	// writeTimeout bounds one response.
	writeTimeout = 10 * time.Second
)

// serve answers the binds of one connection, one after the other, until the
// client unbinds, hangs up or sends anything else.
func (s *Server) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		request, err := ber.ReadPacket(io.LimitReader(reader, maxRequest))
		if err != nil {
			return
		}
		b, err := parseBind(request)
		if err != nil {
			s.log.V(1).Info("connection ended: not a bind", "error", err.Error())
			return
		}
		answer, ok := s.answer(b)
		if !ok {
			return
		}
		_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := conn.Write(encodeResponse(b.id, tagBindResponse, answer)); err != nil {
			return
		}
	}
}

// startTLS is the name of the extended request (RFC 4511 section 4.14).
const startTLS = "1.3.6.1.4.1.1466.20037"

// takeStartTLS answers a request for TLS, which is all that may come in clear text.
func takeStartTLS(conn net.Conn) bool {
	request, err := ber.ReadPacket(io.LimitReader(conn, maxRequest))
	if err != nil || len(request.Children) < 2 {
		return false
	}
	id, ok := request.Children[0].Value.(int64)
	extended := request.Children[1]
	if !ok || extended.ClassType != ber.ClassApplication || extended.Tag != tagExtendedRequest || len(extended.Children) == 0 ||
		extended.Children[0].Data.String() != startTLS {
		return false
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err = conn.Write(encodeResponse(id, tagExtendedResponse, Answer{})) // success
	return err == nil
}

// bind is one bind request.
type bind struct {
	id       int64
	name     string
	simple   bool
	password []byte
}

var errUnbind = errors.New("the client unbinds")

// parseBind reads SEQUENCE { messageID, [APPLICATION 0] { version, name,
// authentication } } (RFC 4511 section 4.2).
func parseBind(p *ber.Packet) (bind, error) {
	if len(p.Children) < 2 {
		return bind{}, errors.New("the message is not an LDAP message")
	}
	id, ok := p.Children[0].Value.(int64)
	op := p.Children[1]
	if !ok || op.ClassType != ber.ClassApplication {
		return bind{}, errors.New("the message is not an LDAP message")
	}
	if op.Tag == tagUnbind {
		return bind{}, errUnbind
	}
	if op.Tag != tagBindRequest || len(op.Children) != 3 {
		return bind{}, fmt.Errorf("operation %d is not supported; this directory answers binds", op.Tag)
	}
	name, ok := op.Children[1].Value.(string)
	if !ok {
		return bind{}, errors.New("the name in the bind is not a string")
	}
	auth := op.Children[2]
	return bind{
		id:       id,
		name:     name,
		simple:   auth.ClassType == ber.ClassContext && auth.Tag == tagSimple,
		password: auth.Data.Bytes(),
	}, nil
}

// answer decides on a bind. It reports false if the connection is to be closed
// instead.
func (s *Server) answer(b bind) (Answer, bool) {
	s.mu.Lock()
	s.binds++
	s.mu.Unlock()
	s.onBind(b.name)

	user, known := s.find(b.name)
	if known && user.Delay > 0 && !s.pause(user.Delay) {
		return Answer{}, false
	}
	answer := Answer{Result: resultAuthMethodNotSupported}
	if b.simple {
		answer = s.verdict(user, known, b.password)
	}
	// Only names that are known are logged: people type passwords into the
	// field of the name.
	s.log.Info("bind answered", "user", user.Name, "known", known, "result", answer.Result, "hangUp", answer.HangUp)
	return answer, !answer.HangUp
}

// encodeResponse writes SEQUENCE { messageID, [APPLICATION tag] { resultCode,
// matchedDN, diagnosticMessage } }.
func encodeResponse(id int64, tag ber.Tag, a Answer) []byte {
	response := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "LDAPResult")
	response.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, a.Result, "resultCode"))
	response.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", "matchedDN"))
	response.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, a.Diagnostic, "diagnosticMessage"))
	message := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "LDAPMessage")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, "messageID"))
	message.AppendChild(response)
	return message.Bytes()
}
