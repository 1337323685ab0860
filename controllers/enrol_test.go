// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"net/http"
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// TestARegistrationThatMayHaveBeenLeftBehindIsTold loses the service's answer in
// each way that leaves open what the service did, and in some that do not.
func TestARegistrationThatMayHaveBeenLeftBehindIsTold(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		reason string // of the condition
		told   bool
	}{
		"the connection breaks": {
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, v1alpha1.ReasonServiceUnreachable, true,
		},
		"the answer breaks off": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write([]byte("<RegistrationResult"))
			}, v1alpha1.ReasonServiceUnreachable, true,
		},
		"the answer is no result": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, v1alpha1.ReasonServiceAnswerInvalid, true,
		},
		"the certificate is none": {
			func(w http.ResponseWriter, _ *http.Request) {
				body, err := trust.MarshalRegistrationResult(trust.Result{Successful: true, Certificate: []byte("damaged")})
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(body)
			}, v1alpha1.ReasonServiceAnswerInvalid, true,
		},
		"a gateway does not wait": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) }, v1alpha1.ReasonServiceUnreachable, true,
		},
		"a gateway heard nothing good": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, v1alpha1.ReasonServiceUnreachable, true,
		},
		"the service is out of order": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, v1alpha1.ReasonServiceUnreachable, false,
		},
		"the service refuses": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, v1alpha1.ReasonRegistrationRefused, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.give()
			h.create(fixture.Replicas(1))
			h.service.Answer(tc.answer)
			for range 2 {
				calls := h.service.Calls()
				if _, err := h.pass(); err != nil {
					t.Fatal(err)
				}
				h.wantCondition(v1alpha1.ConditionRegistered, tc.reason, "0 of 1")
				told := 0
				for _, e := range h.events() {
					if strings.HasPrefix(e, "Warning RegistrationUncertain ") && contains(e, "corp-0."+h.namespace) {
						told++
					}
					if contains(e, "eyJ") {
						t.Errorf("an event holds a token: %s", e)
					}
				}
				want := 0
				if tc.told {
					want = h.service.Calls() - calls
				}
				if told != want || h.service.Calls() != calls+1 {
					t.Errorf("%d events after %d calls, want %d", told, h.service.Calls()-calls, want)
				}
				h.later()
			}
		})
	}
	t.Run("nobody answers", func(t *testing.T) {
		h := newHarness(t)
		h.give()
		h.create(fixture.Replicas(1), func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Service.Custom.RegistrationURL = "https://127.0.0.1:1"
		})
		if _, err := h.pass(); err != nil {
			t.Fatal(err)
		}
		h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonServiceUnreachable, "127.0.0.1:1")
		for _, e := range h.events() {
			if contains(e, v1alpha1.ReasonRegistrationUncertain) {
				t.Errorf("an event of a request that was never sent: %s", e)
			}
		}
	})
}
