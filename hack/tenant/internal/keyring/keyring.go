// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keyring makes the shared access keys that bootstrap hands out, and
// checks the tokens that come back (protocol section 5.8).
//
// The service was seen to use one key name, "Connector". This tenant keeps the
// name and gives every agent a key of its own, derived from one secret. A
// connector cannot tell the difference, and the tenant learns from the token
// alone who is listening: no certificate has to be shown to the relay. It also
// means that a forgotten agent can no longer listen.
package keyring

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/sas"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/amqp"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/statefile"
)

// KeyName is the name of every key.
const KeyName = "Connector"

// Agents lists the connector ids whose keys are good.
type Agents interface {
	IDs() []string
}

// Ring makes and checks keys. It is safe for concurrent use.
type Ring struct {
	secret []byte
	file   string            // of the generation
	paths  map[string]string // canonical "host/path/" of every relay path, to its resource
	agents Agents

	mu         sync.Mutex // protects generation
	generation int
}

// Path is a relay path that exists.
type Path struct {
	Host string // namespace and domain
	Path string
}

// Open reads the secret in dir and makes it if there is none.
func Open(dir string, paths []Path, agents Agents) (*Ring, error) {
	file := filepath.Join(dir, "relay-secret.json")
	r := &Ring{paths: map[string]string{}, agents: agents, file: filepath.Join(dir, "relay-generation.json")}
	if _, err := statefile.ReadJSON(r.file, &r.generation); err != nil {
		return nil, err
	}
	found, err := statefile.ReadJSON(file, &r.secret)
	if err != nil {
		return nil, err
	}
	if !found {
		r.secret = make([]byte, 32)
		if _, err := rand.Read(r.secret); err != nil {
			return nil, fmt.Errorf("making the secret of the relay keys: %w", err)
		}
		if err := statefile.WriteJSON(file, r.secret); err != nil {
			return nil, err
		}
	}
	for _, p := range paths {
		uri := sas.ResourceURI(p.Host, p.Path)
		r.paths[uri] = uri
	}
	return r, nil
}

// Key returns an agent's key for a path: 44 characters of base64, used as text.
func (r *Ring) Key(connectorID string, p Path) string {
	return r.key(connectorID, sas.ResourceURI(p.Host, p.Path))
}

// Rotate replaces every key. Bootstraps hand out the new ones; a token that was
// signed with an old one is refused from now on, and a link that was attached
// with one stays until it needs a new token.
func (r *Ring) Rotate() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := statefile.WriteJSON(r.file, r.generation+1); err != nil {
		return err
	}
	r.generation++
	return nil
}

func (r *Ring) key(connectorID, resource string) string {
	r.mu.Lock()
	generation := r.generation
	r.mu.Unlock()
	h := hmac.New(sha256.New, r.secret)
	fmt.Fprintf(h, "%s\n%s", connectorID, resource)
	if generation > 0 {
		fmt.Fprintf(h, "\n%d", generation)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Authorize implements amqp.Authorizer: it says whose token allows listening at
// an address, and until when.
func (r *Ring) Authorize(address, raw string) (amqp.Grant, error) {
	resource, ok := r.paths[resourceOf(address)]
	if !ok {
		return amqp.Grant{}, &amqp.Refusal{Condition: amqp.ConditionRelayNotFound, Description: "there is no relay at that address"}
	}
	unauthorized := func(why string) error {
		return &amqp.Refusal{Condition: amqp.ConditionUnauthorized, Description: why}
	}
	if raw == "" {
		return amqp.Grant{}, unauthorized("the link carries no token")
	}
	t, err := sas.Parse(raw)
	switch {
	case err != nil:
		return amqp.Grant{}, unauthorized("the token cannot be read")
	case t.KeyName != KeyName:
		return amqp.Grant{}, unauthorized("the token names a key that does not exist")
	case !t.Covers(address):
		return amqp.Grant{}, unauthorized("the token is for another address")
	case t.Expired(time.Now()):
		return amqp.Grant{}, unauthorized("the token has expired")
	}
	for _, id := range r.agents.IDs() {
		if t.Verify(r.key(id, resource)) {
			return amqp.Grant{Principal: id, Expiry: t.Expiry}, nil
		}
	}
	return amqp.Grant{}, unauthorized("the token's signature is wrong")
}

// resourceOf turns a link address (sb://host/path/) into the resource that
// tokens name.
func resourceOf(address string) string {
	_, rest, ok := strings.Cut(address, "://")
	if !ok {
		return ""
	}
	host, path, _ := strings.Cut(rest, "/")
	return sas.ResourceURI(host, path)
}
