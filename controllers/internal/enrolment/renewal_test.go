// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// renewal is a renewal of a certificate that has ten days left.
func renewal(t *testing.T, s *fixture.RegistrationService) enrolment.RenewalRequest {
	t.Helper()
	certPEM, keyPEM := s.Authority.Pair(t, fixture.TenantID, connectorID, time.Now().Add(10*day))
	return enrolment.RenewalRequest{
		BootstrapURL: s.URL, TenantID: fixture.TenantID, MachineName: "corp-0.passthrough",
		CertificatePEM: certPEM, KeyPEM: keyPEM, Roots: s.Authority.Roots(),
		AllowURL: func(string) error { return nil },
		Due:      func(time.Duration) bool { return true },
	}
}

func TestRenewReturnsANewPairForTheSameConnector(t *testing.T) {
	service := fixture.NewRegistrationService(t)
	req := renewal(t, service)
	renewed, err := enrolment.Registrar{}.Renew(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	issued := renewed.Issued
	identity, err := enrolment.ParsePair(issued.CertificatePEM, issued.KeyPEM, fixture.TenantID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if identity != issued.Identity || identity.ConnectorID != connectorID || time.Until(identity.NotAfter) < 100*day {
		t.Errorf("renewed to %+v", identity)
	}
	if bytes.Equal(issued.KeyPEM, req.KeyPEM) {
		t.Error("the key was used again")
	}
	if renewed.RenewBefore != enrolment.DefaultRenewBefore {
		t.Errorf("the service wants %s", renewed.RenewBefore)
	}
	if calls := service.RenewalCalls(); calls != 2 {
		t.Errorf("%d calls, want a bootstrap and a renewal", calls)
	}
}

func TestRenewAsksBeforeItRenews(t *testing.T) {
	service := fixture.NewRegistrationService(t)
	service.RenewBefore(9 * day)
	req := renewal(t, service)
	var asked time.Duration
	req.Due = func(d time.Duration) bool { asked = d; return false }
	renewed, err := enrolment.Registrar{}.Renew(t.Context(), req)
	if err != nil || renewed.Issued != nil || renewed.RenewBefore != 9*day || asked != 9*day || len(service.Renewals()) != 0 {
		t.Errorf("%+v, %v, asked about %s, renewed %v; want no renewal", renewed, err, asked, service.Renewals())
	}
}

func TestRenewSaysWhatWentWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		change      func(*testing.T, *fixture.RegistrationService, *enrolment.RenewalRequest)
		wantReason  string
		wantMessage string
	}{
		"nothing listens": {
			func(t *testing.T, _ *fixture.RegistrationService, req *enrolment.RenewalRequest) {
				t.Helper()
				req.BootstrapURL = "https://" + closedPort(t)
			},
			v1alpha1.ReasonServiceUnreachable, "the bootstrap service at 127.0.0.1",
		},
		"the bootstrap service is not trusted": {
			func(t *testing.T, _ *fixture.RegistrationService, req *enrolment.RenewalRequest) {
				t.Helper()
				req.Roots = fixture.NewAuthority(t, "Another CA").Roots()
			},
			v1alpha1.ReasonTLSVerificationFailed, "the certificate of the bootstrap service",
		},
		"the connector is unknown": {
			func(t *testing.T, _ *fixture.RegistrationService, req *enrolment.RenewalRequest) {
				t.Helper()
				req.CertificatePEM, req.KeyPEM = fixture.NewAuthority(t, "Another CA").Pair(t, fixture.TenantID, connectorID, time.Now().Add(10*day))
			},
			v1alpha1.ReasonRegistrationRefused, "the service may not know this connector any more",
		},
		"the renewal service is elsewhere": {
			func(_ *testing.T, _ *fixture.RegistrationService, req *enrolment.RenewalRequest) {
				req.AllowURL = func(url string) error { return fmt.Errorf("%s is elsewhere", url) }
			},
			v1alpha1.ReasonServiceAnswerInvalid, "must not be called: https://127.0.0.1",
		},
		"the bootstrap breaks off": {
			func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.RenewalRequest) {
				s.FailCalls(func(int) fixture.Fault { return fixture.AnswerBroken })
			},
			v1alpha1.ReasonServiceAnswerInvalid, "answered the bootstrap with something that is not a result",
		},
		"the renewal breaks off": {
			func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.RenewalRequest) {
				s.FailCalls(func(n int) fixture.Fault {
					if n == 2 {
						return fixture.AnswerBroken
					}
					return fixture.NoFault
				})
			},
			v1alpha1.ReasonServiceAnswerInvalid, "answered the renewal with something that is not a result",
		},
		"the renewal service is out of order": {
			func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.RenewalRequest) {
				s.FailCalls(func(n int) fixture.Fault {
					if n == 2 {
						return fixture.RequestLost
					}
					return fixture.NoFault
				})
			},
			v1alpha1.ReasonServiceUnreachable, "the renewal service at 127.0.0.1",
		},
		"the new certificate lasts no longer": {
			func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.RenewalRequest) { s.Lifetime(9 * day) },
			v1alpha1.ReasonServiceAnswerInvalid, "no later than the one there is",
		},
	} {
		t.Run(name, func(t *testing.T) {
			service := fixture.NewRegistrationService(t)
			req := renewal(t, service)
			tc.change(t, service, &req)
			renewed, err := enrolment.Registrar{}.Renew(t.Context(), req)
			var refused *enrolment.Error
			if !errors.As(err, &refused) || renewed.Issued != nil {
				t.Fatalf("got %+v, %v; want an *Error", renewed, err)
			}
			if refused.Reason != tc.wantReason || !strings.Contains(refused.Message, tc.wantMessage) || !refused.Retry {
				t.Errorf("got %s: %s (retry %t); want %s: ...%s...", refused.Reason, refused.Message, refused.Retry, tc.wantReason, tc.wantMessage)
			}
			if text := fmt.Sprintf("%v %+v %#v %s", req, req, req, refused.Message); strings.Contains(text, "PRIVATE KEY") {
				t.Error("the key can be printed")
			}
		})
	}
}
