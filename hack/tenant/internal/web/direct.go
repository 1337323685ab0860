// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/bootstrapping"
)

// Bootstraps are answered as directed.
type Bootstraps interface {
	Direct(d bootstrapping.Directions) error
	Directions() bootstrapping.Directions
}

// Keys are those of the relay.
type Keys interface{ Rotate() error }

// Certificates are issued with the lifetime that is asked for.
type Certificates interface {
	DirectLifetime(lifetime time.Duration) error
	CurrentLifetime() time.Duration
}

func (s *Site) bootstrapAPI(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	var d bootstrapping.Directions
	if err := decode(body, &d); err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	if err := s.Bootstraps.Direct(d); err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	s.json(w, http.StatusOK, s.Bootstraps.Directions())
}

func (s *Site) rotateAPI(w http.ResponseWriter, r *http.Request) {
	if _, err := readBody(w, r, "application/json"); err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	if err := s.Keys.Rotate(); err != nil {
		s.Log.Error(err, "Cannot rotate the relay keys")
		s.problem(w, http.StatusInternalServerError, errors.New("the tenant failed, see its log"))
		return
	}
	s.json(w, http.StatusOK, struct{}{})
}

// certificateDirections are the body of POST /api/certificates, and its answer.
type certificateDirections struct {
	LifetimeSeconds int64 `json:"lifetimeSeconds"`
}

func (s *Site) certificatesAPI(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	var d certificateDirections
	if err := decode(body, &d); err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	lifetime := time.Duration(d.LifetimeSeconds) * time.Second
	if lifetime/time.Second != time.Duration(d.LifetimeSeconds) {
		lifetime = -1 // more than can be said: refused
	}
	if err := s.Certificates.DirectLifetime(lifetime); err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	s.json(w, http.StatusOK, certificateDirections{LifetimeSeconds: int64(s.Certificates.CurrentLifetime() / time.Second)})
}

// decode reads directions, all of whose members must be known.
func decode(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("reading the directions: %w", err)
	}
	return nil
}
