// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admission tells which agent is at the other end of a mutual TLS
// connection. Bootstrap, renewal and the response endpoint ask it; whatever ids
// a request's body holds count for nothing (protocol section 2.5).
package admission

import (
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registry"
)

// Authority knows which certificates are the tenant's.
type Authority interface {
	CheckConnector(certificate *x509.Certificate, now time.Time) error
}

// Agents knows which of them are in use.
type Agents interface {
	ByThumbprint(thumbprint string, now time.Time) (registry.Agent, bool)
}

// Desk admits agents.
type Desk struct {
	Authority Authority
	Agents    Agents
}

// Admit returns the agent that made a request and the identity in the
// certificate it used. The error says why it is refused, for the status 403.
func (d Desk) Admit(r *http.Request) (registry.Agent, trust.Identity, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return registry.Agent{}, trust.Identity{}, errors.New("a client certificate is required")
	}
	certificate, now := r.TLS.PeerCertificates[0], time.Now()
	if err := d.Authority.CheckConnector(certificate, now); err != nil {
		return registry.Agent{}, trust.Identity{}, err
	}
	identity, err := trust.ParseIdentity(certificate)
	if err != nil {
		return registry.Agent{}, trust.Identity{}, err
	}
	agent, ok := d.Agents.ByThumbprint(identity.Thumbprint, now)
	if !ok || agent.ConnectorID != identity.ConnectorID {
		return registry.Agent{}, trust.Identity{}, errors.New("the certificate belongs to no registered agent, or was replaced by a newer one")
	}
	return agent, identity, nil
}
