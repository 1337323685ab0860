// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"net/http"
)

// ConsentPath is where the administrator approves or denies a sign-in.
const ConsentPath = "/device"

// Consent takes the administrator's decisions.
type Consent interface {
	Decide(userCode, username string, password []byte, approve bool) error
	Revoke() error
}

// consentForm is what the page shows.
type consentForm struct{ Code, Username, Error string }

// decided is what the page after a decision shows.
type decided struct{ Approved bool }

func (s *Site) consentPage(w http.ResponseWriter, _ *http.Request) {
	s.page(w, http.StatusOK, "device", consentForm{})
}

func (s *Site) decide(w http.ResponseWriter, r *http.Request) {
	c, err := readForm(w, r)
	defer c.wipe()
	if err == nil && c.decision != "approve" && c.decision != "deny" {
		err = errors.New("neither approved nor denied")
	}
	if err != nil {
		s.page(w, http.StatusBadRequest, "device", consentForm{Error: "The form could not be read."})
		return
	}
	approve := c.decision == "approve"
	if err := s.Consent.Decide(c.code, c.username, c.password, approve); err != nil {
		s.page(w, http.StatusForbidden, "device", consentForm{Code: c.code, Username: c.username, Error: sentence(err)})
		return
	}
	s.page(w, http.StatusOK, "decided", decided{approve})
}

// sentence is an error as a sentence of its own.
func sentence(err error) string {
	text := err.Error()
	return string(text[0]-'a'+'A') + text[1:] + "."
}

func (s *Site) revokeAPI(w http.ResponseWriter, r *http.Request) {
	if _, err := readBody(w, r, "application/json"); err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	if err := s.Consent.Revoke(); err != nil {
		s.Log.Error(err, "Cannot revoke the sign-ins")
		s.problem(w, http.StatusInternalServerError, errors.New("the tenant failed, see its log"))
		return
	}
	s.json(w, http.StatusOK, struct{}{})
}
