// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

func encrypt(plaintext string) []byte {
	c, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, []byte(plaintext), nil)
	if err != nil {
		panic(err)
	}
	return c
}

// instant is a validator that takes no time.
type instant struct{}

func (instant) Validate(context.Context, string, string, *secret.Buffer) Answer {
	return Answer{Accepted: true, Class: "success"}
}

// BenchmarkSignIn is one request from the bytes of its envelope to the header
// of its answer: decoding, checks, decryption, verdict. Only the network and
// the directory are left out.
func BenchmarkSignIn(b *testing.B) {
	content, err := signal.NewEncoder().Encode(signal.Envelope{
		Kind: signal.KindSignal, MessageID: "urn:uuid:" + guid.New().String(), To: "sb://x/y", Signal: request(b, "P@ssw0rd"),
	})
	if err != nil {
		b.Fatal(err)
	}
	h := New(Options{
		TenantID: tenant, Pins: pins{}, Keys: keys{}, Validator: instant{}, Log: logr.Discard(),
		Observer: &observed{changed: make(chan struct{}, 1)}, MaxConcurrent: 1,
	})
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		envelope, err := signal.NewDecoder().Decode(content)
		if err != nil {
			b.Fatal(err)
		}
		h.recent = newRecent()
		_, ok := h.check(envelope.Signal, Settings{ResponseEndpointFormat: "https://{0}:{1}/subscriber/connection"})
		if !ok || !h.firstTime(envelope.Signal.RequestID, time.Now()) {
			b.Fatal("the request was dropped")
		}
		_, verdict, took := h.verdict(ctx, envelope.Signal.Tunnel.Protocol.PasswordValidation)
		if !verdict.Authenticated {
			b.Fatal("the request was refused")
		}
		h.headers(signal.EncodeVerdict(verdict), 1, &posting{request: envelope.Signal, verdict: verdict, validation: took})
	}
}

// BenchmarkBareOAEP is the yardstick: the decryption that no connector can do
// without.
func BenchmarkBareOAEP(b *testing.B) {
	ciphertext := encrypt(`{"Password":"P@ssw0rd"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rsa.DecryptOAEP(sha1.New(), nil, key, ciphertext, nil); err != nil {
			b.Fatal(err)
		}
	}
}
