// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// startTLSRequest asks for TLS on a connection: message 1, the extended request
// 1.3.6.1.4.1.1466.20037 (RFC 4511 section 4.14).
var startTLSRequest = append([]byte{0x30, 0x1D, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16}, "1.3.6.1.4.1.1466.20037"...)

// maxStartTLSResponse bounds the answer, in bytes; real ones have some 40.
const maxStartTLSResponse = 4096

// startTLS has the server speak TLS from the next byte on. It reads the answer and
// not a byte more: what follows in clear text then fails as a handshake, so that
// nobody on the way can put words into the server's mouth.
func startTLS(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Write(startTLSRequest); err != nil {
		return causeOf(ctx, err)
	}
	packet, err := ber.ReadPacket(io.LimitReader(conn, maxStartTLSResponse)) // which reads no byte ahead
	if err != nil {
		return causeOf(ctx, err)
	}
	if len(packet.Children) < 2 {
		return errors.New("the answer to StartTLS is no LDAP message")
	}
	if id, ok := packet.Children[0].Value.(int64); !ok || id != 1 {
		return errors.New("the answer to StartTLS is to another request")
	}
	response := packet.Children[1]
	if response.ClassType != ber.ClassApplication || response.Tag != ldap.ApplicationExtendedResponse || len(response.Children) < 3 {
		return errors.New("the answer to StartTLS is no extended response")
	}
	if code, ok := response.Children[0].Value.(int64); !ok || code != ldap.LDAPResultSuccess {
		return fmt.Errorf("the server does not start TLS: result %v", response.Children[0].Value)
	}
	return nil
}

// causeOf prefers the reason why ctx ended to what that did to the connection.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
