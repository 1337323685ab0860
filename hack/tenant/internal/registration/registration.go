// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registration serves the two calls by which a connector gets a
// certificate: registration with an administrator's token, and renewal with the
// certificate it has (protocol sections 2 and 3).
//
// What the tenant refuses is answered as the service does: HTTP 200, not
// successful, and a text. Only what cannot be read at all gets another status.
package registration

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registry"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

// maxBody bounds a request, in bytes; real ones have about 6000.
const maxBody = 64 << 10

// Tokens checks access tokens.
type Tokens interface {
	Check(raw string, now time.Time) error
}

// Issuer certifies connectors.
type Issuer interface {
	IssueConnector(key *rsa.PublicKey, tenant, connector guid.GUID, lifetime time.Duration) ([]byte, error)
}

// Agents remembers them.
type Agents interface {
	Room(now time.Time) error
	Add(name string, der []byte, now time.Time) (registry.Agent, error)
	AddCertificate(connectorID string, der []byte) error
}

// Admitter tells who makes a request over mutual TLS.
type Admitter interface {
	Admit(*http.Request) (registry.Agent, trust.Identity, error)
}

// Service serves registration and renewal.
type Service struct {
	Tenant   guid.GUID
	Lifetime time.Duration // of certificates, unless DirectLifetime says otherwise
	Tokens   Tokens
	Issuer   Issuer
	Agents   Agents
	Admitter Admitter
	Tally    *tally.Tally
	Log      logr.Logger

	directed atomic.Int64 // a lifetime in nanoseconds; 0: Lifetime
}

// MaxLifetime bounds DirectLifetime: two years.
const MaxLifetime = 2 * 365 * 24 * time.Hour

// DirectLifetime sets the lifetime of certificates that are issued from now on, so
// that renewals of years can be tried in minutes; 0 returns to Lifetime. The error
// says what is wrong with it; then nothing changes.
func (s *Service) DirectLifetime(lifetime time.Duration) error {
	if lifetime < 0 || lifetime > MaxLifetime {
		return fmt.Errorf("a certificate's lifetime is from 1 to %d seconds, or 0 for the usual one", MaxLifetime/time.Second)
	}
	s.directed.Store(int64(lifetime))
	return nil
}

// CurrentLifetime is that of certificates that are issued now.
func (s *Service) CurrentLifetime() time.Duration {
	if lifetime := time.Duration(s.directed.Load()); lifetime > 0 {
		return lifetime
	}
	return s.Lifetime
}

// Register serves POST /register/RegisterConnector.
func (s *Service) Register(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	request, err := trust.ParseRegistrationRequest(body)
	if err != nil {
		http.Error(w, "the registration request cannot be read", http.StatusBadRequest)
		return
	}
	agent, err := s.register(request)
	result := trust.Result{Successful: err == nil}
	if err != nil {
		s.Tally.Count(tally.RegistrationsRefused)
		s.Log.Info("Refused a registration", "machine", request.System.MachineName, "why", err.Error())
		result.ErrorMessage = "The connector was not registered: " + err.Error() + "."
	} else {
		s.Tally.Count(tally.Registrations)
		s.Log.Info("Registered an agent", "connectorID", agent.ConnectorID, "machine", agent.Name, "userAgent", request.UserAgent)
		result.Certificate = agent.Current().DER
	}
	answer, err := trust.MarshalRegistrationResult(result)
	s.answer(w, answer, err)
}

func (s *Service) register(request trust.RegistrationRequest) (registry.Agent, error) {
	now := time.Now()
	if !strings.EqualFold(request.TenantID, s.Tenant.String()) {
		return registry.Agent{}, errors.New("the request names another tenant than the host it was sent to")
	}
	if err := s.Tokens.Check(request.Token, now); err != nil {
		return registry.Agent{}, err
	}
	key, err := trust.ParseCSR(request.CSR)
	if err != nil {
		return registry.Agent{}, fmt.Errorf("the certificate request is not acceptable: %w", err)
	}
	if err := s.Agents.Room(now); err != nil {
		return registry.Agent{}, err
	}
	der, err := s.Issuer.IssueConnector(key, s.Tenant, guid.New(), s.CurrentLifetime())
	if err != nil {
		return registry.Agent{}, s.internal("Cannot issue a certificate", err)
	}
	agent, err := s.Agents.Add(request.System.MachineName, der, now)
	if err != nil && !errors.Is(err, registry.ErrFull) {
		return registry.Agent{}, s.internal("Cannot remember an agent", err)
	}
	return agent, err
}

// Renew serves POST {renewal endpoint}/RenewTrustCertificate.
func (s *Service) Renew(w http.ResponseWriter, r *http.Request) {
	agent, _, err := s.Admitter.Admit(r)
	if err != nil {
		s.Tally.Count(tally.RenewalsRefused)
		s.Log.Info("Refused a renewal", "why", err.Error())
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	request, err := trust.ParseRenewalRequest(body)
	if err != nil {
		http.Error(w, "the renewal request cannot be read", http.StatusBadRequest)
		return
	}
	der, err := s.renew(agent, request)
	result := trust.Result{Successful: err == nil, Certificate: der}
	if err != nil {
		s.Tally.Count(tally.RenewalsRefused)
		s.Log.Info("Refused a renewal", "connectorID", agent.ConnectorID, "why", err.Error())
		result.ErrorMessage = "The certificate was not renewed: " + err.Error() + "."
	} else {
		s.Tally.Count(tally.Renewals)
		s.Log.Info("Renewed a certificate", "connectorID", agent.ConnectorID, "machine", agent.Name)
	}
	answer, err := trust.MarshalRenewalResult(result)
	s.answer(w, answer, err)
}

func (s *Service) renew(agent registry.Agent, request trust.RenewalRequest) ([]byte, error) {
	key, err := trust.ParseCSR(request.CSR)
	if err != nil {
		return nil, fmt.Errorf("the certificate request is not acceptable: %w", err)
	}
	id, err := guid.Parse(agent.ConnectorID)
	if err != nil {
		return nil, s.internal("An agent has a damaged id", err)
	}
	der, err := s.Issuer.IssueConnector(key, s.Tenant, id, s.CurrentLifetime())
	if err != nil {
		return nil, s.internal("Cannot issue a certificate", err)
	}
	if err := s.Agents.AddCertificate(agent.ConnectorID, der); err != nil {
		return nil, s.internal("Cannot remember a certificate", err)
	}
	return der, nil
}

// internal logs a failure of the tenant itself and returns what callers hear.
func (s *Service) internal(message string, err error) error {
	s.Log.Error(err, message)
	return errors.New("the service failed, see its log")
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request is too large or broke off", http.StatusBadRequest)
		return nil, false
	}
	return body, true
}

func (s *Service) answer(w http.ResponseWriter, body []byte, err error) {
	if err != nil {
		s.Log.Error(err, "Cannot write an answer")
		http.Error(w, "the service failed, see its log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", trust.ContentType)
	if _, err := w.Write(body); err != nil {
		s.Log.V(1).Info("An answer did not reach its connector", "why", err.Error())
	}
}
