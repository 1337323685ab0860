// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestClocksAreCompared(t *testing.T) {
	server := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		asked, answered time.Duration // by the clock here, from the server's time on
		result          Result
		found           string
	}{
		"within the answer":          {-time.Second, 2 * time.Second, OK, "within 1s"},
		"within the second":          {500 * time.Millisecond, 600 * time.Millisecond, OK, "within 1s"},
		"a slow answer is no skew":   {-10 * time.Minute, 0, OK, "within 1s"},
		"a little ahead":             {40 * time.Second, 41 * time.Second, OK, "within 39s"},
		"ahead":                      {2 * time.Minute, 2*time.Minute + time.Second, Warn, "1m59s ahead of the service"},
		"behind":                     {-2*time.Minute - time.Second, -2 * time.Minute, Warn, "2m0s behind the service"},
		"far ahead":                  {time.Hour, time.Hour, Fail, "59m59s ahead of"},
		"far behind":                 {-time.Hour, -time.Hour, Fail, "1h0m0s behind"},
		"five minutes, just":         {5*time.Minute + time.Second, 6 * time.Minute, Fail, "5m0s ahead of"},
		"five minutes, just not yet": {5 * time.Minute, 6 * time.Minute, Warn, "4m59s ahead of"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Skew(server, server.Add(tc.asked), server.Add(tc.answered), "the service")
			if got.Result != tc.result || !strings.Contains(got.Found, tc.found) {
				t.Errorf("%s: %s; want %s: …%s…", got.Result, got.Found, tc.result, tc.found)
			}
			if (got.Result == OK) != (got.Action == "") {
				t.Errorf("%s with the action %q", got.Result, got.Action)
			}
		})
	}
}

func TestACertificateOfAnotherTimeIsASignOfAWrongClock(t *testing.T) {
	certificate := &x509.Certificate{NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0)}
	expired := fmt.Errorf("dialling: %w", x509.CertificateInvalidError{Cert: certificate, Reason: x509.Expired})
	got, ok := SkewFromCertificate(expired, time.Unix(3e9, 0))
	if !ok || got.Result != Fail || !strings.Contains(got.Found, "valid from 2001-09-09T01:46:40Z to 2033-05-18T03:33:20Z, and it is 2065-01-24T05:20:00Z here") {
		t.Errorf("%t, %+v", ok, got)
	}
	for _, err := range []error{nil, errors.New("refused"), x509.CertificateInvalidError{Cert: certificate, Reason: x509.TooManyIntermediates}} {
		if got, ok := SkewFromCertificate(err, time.Now()); ok {
			t.Errorf("%v: %+v", err, got)
		}
	}
}
