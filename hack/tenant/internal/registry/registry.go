// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry remembers the agents of the tenant: the connectors that have
// registered, their certificates, and when they last bootstrapped.
//
// An agent is active while its bootstraps keep coming, and is forgotten when it
// has been silent for ten days. A tenant has at most forty (protocol section
// 1.4). Every agent is one JSON file, so that a restarted tenant still knows
// them.
package registry

import (
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/statefile"
)

const (
	// Limit is how many agents a tenant has at most.
	Limit = 40
	// forgetAfter is the silence after which an agent is removed.
	forgetAfter = 10 * 24 * time.Hour
	// overlap is how long a connection with a certificate that was replaced is
	// still taken: requests encrypted for it may be under way.
	overlap = 10 * time.Minute
)

// ErrFull says that the tenant takes no further agent.
var ErrFull = fmt.Errorf("the tenant has %d agents already, which is the limit", Limit)

// ErrUnknown says that there is no such agent.
var ErrUnknown = errors.New("no such agent is registered")

// Certificate is one that an agent was given.
type Certificate struct {
	DER        []byte    `json:"der"`
	Thumbprint string    `json:"thumbprint"` // SHA-1, upper-case hex
	NotAfter   time.Time `json:"notAfter"`
	// Retired is when a newer certificate proved itself by a bootstrap; zero
	// until then. Nothing is encrypted for a retired certificate.
	Retired time.Time `json:"retired,omitzero"`
}

// Agent is a registered connector. Copies are independent.
type Agent struct {
	ConnectorID   string        `json:"connectorID"`
	Name          string        `json:"name"` // its machine's
	Version       string        `json:"version,omitempty"`
	Registered    time.Time     `json:"registered"`
	LastBootstrap time.Time     `json:"lastBootstrap,omitzero"`
	Certificates  []Certificate `json:"certificates"` // oldest first
}

// Current returns the newest certificate.
func (a Agent) Current() Certificate { return a.Certificates[len(a.Certificates)-1] }

// Recipient is a key for which passwords are encrypted.
type Recipient struct {
	KeyIdentifier string
	Key           *rsa.PublicKey
}

// Registry holds the agents. It is safe for concurrent use.
type Registry struct {
	dir       string
	activeFor time.Duration

	// mu protects agents, and keeps files in the order of changes.
	mu     sync.Mutex
	agents map[string]*Agent
}

// Open reads the agents in dir. An agent counts as active for activeFor after
// each bootstrap.
func Open(dir string, activeFor time.Duration) (*Registry, error) {
	r := &Registry{dir: dir, activeFor: activeFor, agents: map[string]*Agent{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("looking for agents: %w", err)
	}
	for _, file := range files {
		var a Agent
		if _, err := statefile.ReadJSON(file, &a); err != nil {
			return nil, err
		}
		if a.ConnectorID == "" || len(a.Certificates) == 0 {
			return nil, fmt.Errorf("%s does not describe an agent: remove it", file)
		}
		r.agents[a.ConnectorID] = &a
	}
	return r, nil
}

// Add registers an agent with its first certificate.
func (r *Registry) Add(name string, der []byte, now time.Time) (Agent, error) {
	certificate, identity, err := parse(der)
	if err != nil {
		return Agent{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.sweep(now); err != nil {
		return Agent{}, err
	}
	if len(r.agents) >= Limit {
		return Agent{}, ErrFull
	}
	a := &Agent{ConnectorID: identity.ConnectorID, Name: name, Registered: now.UTC(), Certificates: []Certificate{certificate}}
	if err := r.save(a); err != nil {
		return Agent{}, err
	}
	return clone(a), nil
}

// Room reports, before a certificate is issued, whether Add would fail.
func (r *Registry) Room(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.sweep(now); err != nil {
		return err
	}
	if len(r.agents) >= Limit {
		return ErrFull
	}
	return nil
}

// AddCertificate gives an agent a further certificate. The earlier ones stay
// active until the new one has carried a bootstrap.
func (r *Registry) AddCertificate(connectorID string, der []byte) error {
	certificate, _, err := parse(der)
	if err != nil {
		return err
	}
	return r.change(connectorID, func(a *Agent) {
		a.Certificates = append(a.Certificates, certificate)
	})
}

// Bootstrapped records a bootstrap with one of the agent's certificates, which
// retires the earlier ones.
func (r *Registry) Bootstrapped(connectorID, thumbprint, name, version string, now time.Time) error {
	return r.change(connectorID, func(a *Agent) {
		a.LastBootstrap, a.Version = now.UTC(), version
		if name != "" {
			a.Name = name
		}
		at := slices.IndexFunc(a.Certificates, func(c Certificate) bool { return c.Thumbprint == thumbprint })
		for i := range max(at, 0) {
			if a.Certificates[i].Retired.IsZero() {
				a.Certificates[i].Retired = now.UTC()
			}
		}
		a.Certificates = slices.DeleteFunc(a.Certificates, func(c Certificate) bool {
			return !c.Retired.IsZero() && now.After(c.Retired.Add(overlap))
		})
	})
}

// ByThumbprint finds the agent that a client certificate belongs to, if that
// certificate may still be used.
func (r *Registry) ByThumbprint(thumbprint string, now time.Time) (Agent, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.agents {
		for _, c := range a.Certificates {
			if c.Thumbprint == thumbprint && now.Before(c.NotAfter) && (c.Retired.IsZero() || now.Before(c.Retired.Add(overlap))) {
				return clone(a), true
			}
		}
	}
	return Agent{}, false
}

// ByID finds an agent.
func (r *Registry) ByID(connectorID string) (Agent, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.agents[connectorID]
	if !ok {
		return Agent{}, false
	}
	return clone(a), true
}

// Agents lists the agents in the order of registration, after forgetting those
// that have been silent for too long.
func (r *Registry) Agents(now time.Time) ([]Agent, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.sweep(now); err != nil {
		return nil, err
	}
	all := make([]Agent, 0, len(r.agents))
	for _, a := range r.agents {
		all = append(all, clone(a))
	}
	slices.SortFunc(all, func(a, b Agent) int {
		return cmp.Or(a.Registered.Compare(b.Registered), cmp.Compare(a.ConnectorID, b.ConnectorID))
	})
	return all, nil
}

// IDs lists the connector ids of all agents.
func (r *Registry) IDs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]string, 0, len(r.agents))
	for id := range r.agents {
		ids = append(ids, id)
	}
	return ids
}

// Active reports whether an agent has bootstrapped lately.
func (r *Registry) Active(a Agent, now time.Time) bool {
	return !a.LastBootstrap.IsZero() && now.Before(a.LastBootstrap.Add(r.activeFor))
}

// Recipients lists the key of every active certificate of every agent, active
// or not: each request is encrypted for all of them (protocol section 7.4).
func (r *Registry) Recipients(now time.Time) ([]Recipient, error) {
	agents, err := r.Agents(now)
	if err != nil {
		return nil, err
	}
	var all []Recipient
	for _, a := range agents {
		for _, c := range a.Certificates {
			if !c.Retired.IsZero() || !now.Before(c.NotAfter) {
				continue
			}
			certificate, err := x509.ParseCertificate(c.DER)
			if err != nil {
				return nil, fmt.Errorf("reading a certificate of agent %s: %w", a.ConnectorID, err)
			}
			key, ok := certificate.PublicKey.(*rsa.PublicKey)
			if !ok {
				return nil, fmt.Errorf("agent %s has a certificate whose key is not RSA", a.ConnectorID)
			}
			all = append(all, Recipient{KeyIdentifier: a.ConnectorID + "_" + c.Thumbprint, Key: key})
		}
	}
	return all, nil
}

// change applies a change to an agent and writes it down.
func (r *Registry) change(connectorID string, apply func(*Agent)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.agents[connectorID]
	if !ok {
		return ErrUnknown
	}
	next := clone(a)
	apply(&next)
	return r.save(&next)
}

// save writes an agent's file, then remembers the agent.
func (r *Registry) save(a *Agent) error {
	if err := statefile.WriteJSON(r.file(a.ConnectorID), a); err != nil {
		return err
	}
	r.agents[a.ConnectorID] = a
	return nil
}

// sweep forgets agents that have been silent for too long.
func (r *Registry) sweep(now time.Time) error {
	for id, a := range r.agents {
		seen := a.Registered
		if a.LastBootstrap.After(seen) {
			seen = a.LastBootstrap
		}
		if now.Before(seen.Add(forgetAfter)) {
			continue
		}
		if err := os.Remove(r.file(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forgetting agent %s: %w", id, err)
		}
		delete(r.agents, id)
	}
	return nil
}

// file is where an agent is written down; its id is a GUID that we made.
func (r *Registry) file(connectorID string) string {
	return filepath.Join(r.dir, connectorID+".json")
}

func parse(der []byte) (Certificate, trust.Identity, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return Certificate{}, trust.Identity{}, fmt.Errorf("reading an agent's certificate: %w", err)
	}
	identity, err := trust.ParseIdentity(certificate)
	if err != nil {
		return Certificate{}, trust.Identity{}, fmt.Errorf("reading an agent's certificate: %w", err)
	}
	return Certificate{DER: der, Thumbprint: identity.Thumbprint, NotAfter: certificate.NotAfter}, identity, nil
}

func clone(a *Agent) Agent {
	c := *a
	c.Certificates = slices.Clone(a.Certificates)
	return c
}
