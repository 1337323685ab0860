// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

func TestStartTLS(t *testing.T) {
	server := directory(t, ldapserver.Options{StartTLS: true})
	l := newLDAP(t, LDAPOptions{Forests: []Forest{{
		Suffixes: []string{ldapserver.Domain}, CAFile: server.CAFile(), Servers: []string{"ldap://" + server.Addr()}, StartTLS: true,
	}}})
	wantCode(t, validate(within(t, 20*time.Second), l, "alice", ldapserver.Password), Success)
	wantCode(t, validate(within(t, 20*time.Second), l, "alice", "wrong"), LogonFailure)
	wantCode(t, validate(within(t, 20*time.Second), l, "dave", ldapserver.Password), AccountDisabled)
	if got := server.Connections(); got != 1 {
		t.Errorf("three binds took %d connections", got)
	}

	untrusted := newLDAP(t, LDAPOptions{Forests: []Forest{{Servers: []string{"ldap://" + server.Addr()}, StartTLS: true}}})
	wantCode(t, validate(within(t, 20*time.Second), untrusted, "alice", ldapserver.Password), InternalError)
	if got := server.Binds(); got != 3 {
		t.Errorf("the server saw %d binds, want 3: none over a connection that is not trusted", got)
	}
}

// response is an answer to StartTLS with a result code.
func response(id, code byte) []byte {
	return []byte{0x30, 0x0C, 0x02, 0x01, id, 0x78, 0x07, 0x0A, 0x01, code, 0x04, 0x00, 0x04, 0x00}
}

// Whatever a server says in place of TLS, nothing but the wish for it is ever sent
// to it in clear text, and the answer is never a wrong password.
func TestAServerThatDoesNotStartTLSGetsNoPassword(t *testing.T) {
	for name, answer := range map[string][]byte{
		"a refusal":                         response(1, 2),
		"unavailable":                       response(1, 52),
		"an answer to something else":       response(2, 0),
		"a bind response":                   {0x30, 0x0C, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0A, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00},
		"no LDAP":                           []byte("220 mail.example ESMTP\r\n"),
		"an empty message":                  {0x30, 0x00},
		"a length that lies":                {0x30, 0x84, 0x7F, 0xFF, 0xFF, 0xFF, 0x02, 0x01, 0x01},
		"success and then no TLS":           slices.Concat(response(1, 0), []byte("hello, this is no handshake")),
		"success and a bind that is judged": slices.Concat(response(1, 0), []byte{0x30, 0x0C, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0A, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00}),
		"nothing":                           nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard := make(chan string, 1)
				l, err := NewLDAP(LDAPOptions{
					Forests: []Forest{{Servers: []string{"ldap://dc1.contoso.example"}, StartTLS: true}},
					Dial: func(context.Context, string, string) (net.Conn, error) {
						ours, theirs := net.Pipe()
						go func() {
							request := make([]byte, len(startTLSRequest))
							_, _ = io.ReadFull(theirs, request)
							go func() { _, _ = theirs.Write(answer) }()
							rest, _ := io.ReadAll(theirs)
							heard <- string(request) + string(rest)
						}()
						return ours, nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				got := validate(t.Context(), l, "alice", "Canary-Zebra-77")
				if got.Code != InternalError && got.Code != NoLogonServers {
					t.Errorf("the answer is %d (%v)", got.Code, got.Err)
				}
				sent := <-heard
				if !strings.HasPrefix(sent, string(startTLSRequest)) || strings.Contains(sent, "Canary-Zebra-77") || strings.Contains(sent, "alice") {
					t.Errorf("the server heard %q", sent)
				}
			})
		})
	}
}

func FuzzStartTLSResponse(f *testing.F) {
	f.Add(response(1, 0))
	f.Add(response(1, 2))
	f.Add([]byte{0x30, 0x84, 0x7F, 0xFF, 0xFF, 0xFF})
	f.Add([]byte{0x30, 0x80, 0x02, 0x01, 0x01, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, answer []byte) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			_, _ = io.ReadFull(theirs, make([]byte, len(startTLSRequest)))
			_, _ = theirs.Write(answer)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := startTLS(ctx, ours); err == nil && (len(answer) < 14 || answer[4] != 1 && answer[0] == 0x30 && answer[1] == 0x0C) {
			t.Errorf("% X is taken for success", answer)
		}
		ours.Close()
	})
}
