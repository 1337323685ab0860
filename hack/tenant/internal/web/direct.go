// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/bootstrapping"
)

// Bootstraps are answered as directed.
type Bootstraps interface {
	Direct(d bootstrapping.Directions) error
	Directions() bootstrapping.Directions
}

// Keys are those of the relay.
type Keys interface{ Rotate() error }

func (s *Site) bootstrapAPI(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	var d bootstrapping.Directions
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		s.problem(w, http.StatusBadRequest, fmt.Errorf("reading the directions: %w", err))
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
