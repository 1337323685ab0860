// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrapping

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
)

// maxText bounds the texts of Directions, in bytes.
const maxText = 16 << 10

// Directions change what the service answers, so that what happens to a connector
// in years can be tried in a minute. The zero value changes nothing.
type Directions struct {
	// State and Message are what connectors are told about themselves; an empty
	// state means Ok.
	State   string `json:"state,omitempty"`
	Message string `json:"message,omitempty"`
	// Triggers are commands, of which connectors understand none.
	Triggers string `json:"triggers,omitempty"`
	// FailNext is how many bootstraps to answer with status 503 from now on.
	FailNext int `json:"failNext,omitempty"`
	// IntervalSeconds is the time between bootstraps, and RetrySeconds that
	// after a failed one instead of the documented strategy; 0: as configured.
	IntervalSeconds int `json:"intervalSeconds,omitempty"`
	RetrySeconds    int `json:"retrySeconds,omitempty"`
	// MaxFailed is after how many failures in a row connectors give up; 0: as the
	// service has it.
	MaxFailed int `json:"maxFailed,omitempty"`
	// MoveTo is a URL for later bootstraps.
	MoveTo string `json:"moveTo,omitempty"`
	// TokenSeconds is the lifetime of connectors' tokens; 0: an hour.
	TokenSeconds int `json:"tokenSeconds,omitempty"`
	// Namespaces are the only ones that are named; none: all.
	Namespaces []string `json:"namespaces,omitempty"`
	// Unavailable are namespaces that are named as not available.
	Unavailable []string `json:"unavailable,omitempty"`
}

// Direct takes over directions for all later bootstraps. Errors say what is wrong
// with them; then nothing changes.
func (s *Service) Direct(d Directions) error {
	for name, n := range map[string]int{
		"failNext": d.FailNext, "intervalSeconds": d.IntervalSeconds, "retrySeconds": d.RetrySeconds, "maxFailed": d.MaxFailed, "tokenSeconds": d.TokenSeconds,
	} {
		if n < 0 || n > 1e6 {
			return fmt.Errorf("%s is %d; it must be from 0 to 1000000", name, n)
		}
	}
	if len(d.State)+len(d.Message)+len(d.Triggers)+len(d.MoveTo) > maxText {
		return errors.New("the texts are too long")
	}
	for _, namespace := range slices.Concat(d.Namespaces, d.Unavailable) {
		if !slices.ContainsFunc(s.Endpoints, func(e Endpoint) bool { return e.Namespace == namespace }) {
			return fmt.Errorf("there is no namespace %.64q", namespace)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.directions = d
	return nil
}

// Directions returns those that are in force.
func (s *Service) Directions() Directions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.directions
}

// fails reports whether a bootstrap is to fail, and counts it.
func (s *Service) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.directions.FailNext == 0 {
		return false
	}
	s.directions.FailNext--
	return true
}

// follow changes an answer as directed.
func (s *Service) follow(response *bootstrap.Response) {
	d := s.Directions()
	if d.State != "" {
		response.ConnectorState = d.State
	}
	response.ServiceMessage, response.Triggers, response.BootstrapEndpointOverride = d.Message, d.Triggers, d.MoveTo
	if d.IntervalSeconds > 0 {
		response.PeriodicInterval = time.Duration(d.IntervalSeconds) * time.Second
	}
	if d.RetrySeconds > 0 {
		response.RetryStrategy = bootstrap.RetryStrategy{Periodic: &bootstrap.Periodic{Interval: time.Duration(d.RetrySeconds) * time.Second}}
	}
	if d.MaxFailed > 0 {
		response.MaxFailedRequests = d.MaxFailed
	}
	if d.TokenSeconds > 0 {
		response.Settings.SignalingSettings.ServiceBusSasTokenTTL = bootstrap.TimeSpan(time.Duration(d.TokenSeconds) * time.Second)
	}
	response.Endpoints = slices.DeleteFunc(response.Endpoints, func(e bootstrap.Endpoint) bool {
		return len(d.Namespaces) > 0 && !slices.Contains(d.Namespaces, e.Namespace)
	})
	for i := range response.Endpoints {
		response.Endpoints[i].Available = !slices.Contains(d.Unavailable, response.Endpoints[i].Namespace)
	}
}
