// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bootstrapping answers the call by which a connector says that it is
// alive and learns where to listen (protocol section 4).
//
// Who calls is decided by the client certificate. Ids in the body that differ
// are counted as a defect and otherwise ignored, as the service does.
package bootstrapping

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/keyring"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registry"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

// maxBody bounds a request, in bytes. Metrics make real ones long.
const maxBody = 1 << 20

// Admitter tells who makes a request over mutual TLS.
type Admitter interface {
	Admit(*http.Request) (registry.Agent, trust.Identity, error)
}

// Agents remembers bootstraps.
type Agents interface {
	Bootstrapped(connectorID, thumbprint, name, version string, now time.Time) error
}

// Keys hands out shared access keys.
type Keys interface {
	Key(connectorID string, p keyring.Path) string
}

// Endpoint is a place to listen.
type Endpoint struct {
	Namespace, Domain, Path string
	Reliable                bool // the path's streams use WS-ReliableMessaging
}

// Service serves bootstraps.
type Service struct {
	Admitter  Admitter
	Agents    Agents
	Keys      Keys
	Endpoints []Endpoint
	// Interval is what connectors are told to wait between bootstraps.
	Interval time.Duration
	// ResponseTimeout is how long they are told to take for a validation.
	ResponseTimeout time.Duration
	// RenewalEndpoint is the URL to which trust.RenewalPath is appended.
	RenewalEndpoint string
	// RootName is the name of the root behind the service's TLS certificates.
	RootName string
	Tally    *tally.Tally
	Log      logr.Logger

	mu         sync.Mutex // protects directions
	directions Directions
}

// ServeHTTP serves POST /ConnectorBootstrap.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	agent, identity, err := s.Admitter.Admit(r)
	if err != nil {
		s.Tally.Count(tally.BootstrapsRefused)
		s.Log.Info("Refused a bootstrap", "why", err.Error())
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request is too large or broke off", http.StatusBadRequest)
		return
	}
	request, err := bootstrap.ParseRequest(body)
	if err != nil {
		s.Tally.Count(tally.BootstrapsRefused)
		s.Log.Info("Cannot read a bootstrap", "connectorID", agent.ConnectorID, "why", err.Error())
		http.Error(w, "the bootstrap request cannot be read", http.StatusBadRequest)
		return
	}
	if !strings.EqualFold(request.ConnectorID, identity.ConnectorID) || !strings.EqualFold(request.TenantID, identity.TenantID) {
		s.Tally.Count(tally.DefectBootstrapIDs)
	}
	if s.fails() {
		s.Log.Info("Failed a bootstrap, as directed", "connectorID", agent.ConnectorID)
		http.Error(w, "out of order, as directed", http.StatusServiceUnavailable)
		return
	}
	answer, err := s.answer(agent, identity, request)
	if err != nil {
		s.Log.Error(err, "Cannot answer a bootstrap", "connectorID", agent.ConnectorID)
		http.Error(w, "the service failed, see its log", http.StatusInternalServerError)
		return
	}
	s.Tally.Count(tally.Bootstraps)
	s.Log.Info("Answered a bootstrap", "connectorID", agent.ConnectorID, "machine", request.System.MachineName,
		"version", request.AgentVersion, "initial", request.InitialBootstrap, "consecutiveFailures", request.ConsecutiveFailures)
	w.Header().Set("Content-Type", bootstrap.ContentType)
	if _, err := w.Write(answer); err != nil {
		s.Log.V(1).Info("An answer did not reach its connector", "connectorID", agent.ConnectorID, "why", err.Error())
	}
}

func (s *Service) answer(agent registry.Agent, identity trust.Identity, request bootstrap.Request) ([]byte, error) {
	if err := s.Agents.Bootstrapped(agent.ConnectorID, identity.Thumbprint, request.System.MachineName, request.AgentVersion, time.Now()); err != nil {
		return nil, err
	}
	response := bootstrap.DefaultResponse()
	response.PeriodicInterval = s.Interval
	response.LogicalResponseTimeout = s.ResponseTimeout
	response.TrustRenewEndpoint = s.RenewalEndpoint
	response.Porto.RootCANames = []string{s.RootName}
	if then := response.RetryStrategy.AndThen; then != nil && then.First.Periodic != nil {
		then.First.Periodic.Interval = s.Interval // the service's are equal too
	}
	response.Endpoints = nil
	for _, e := range s.Endpoints {
		response.Endpoints = append(response.Endpoints, bootstrap.Endpoint{
			Available: true, Name: e.Namespace + "/" + e.Path, Domain: e.Domain, Namespace: e.Namespace,
			Reliable: e.Reliable, Scheme: "sb", ServicePath: e.Path, SharedAccessKeyName: keyring.KeyName,
			SharedAccessKey: s.Keys.Key(agent.ConnectorID, keyring.Path{Host: e.Namespace + "." + e.Domain, Path: e.Path}),
		})
	}
	s.follow(&response)
	return response.Marshal()
}
