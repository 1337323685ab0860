// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

const day = 24 * time.Hour

func TestSchedule(t *testing.T) {
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		lifetime, renewBefore time.Duration
		// Bounds: the renewal is spread over a tenth of the window.
		earliest, latest time.Duration // before the end
		emergency        time.Duration // before the end
	}{
		"a certificate of the service":               {180 * day, 30 * day, 30 * day, 27 * day, 7 * day},
		"clipped by the service":                     {40 * day, 30 * day, 20 * day, 18 * day, 5 * day},
		"an hour":                                    {180 * day, time.Hour, time.Hour, 54 * time.Minute, 15 * time.Minute},
		"more than the certificate's life":           {60 * day, 150 * day, 30 * day, 27 * day, 7 * day},
		"a test's certificate, of a minute and half": {90 * time.Second, 30 * day, 45 * time.Second, 40 * time.Second, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 50 {
				end := issued.Add(tc.lifetime)
				s := enrolment.ScheduleOf(trust.Identity{Thumbprint: fmt.Sprint(i), NotBefore: issued, NotAfter: end}, tc.renewBefore)
				if s.RenewAfter.Before(end.Add(-tc.earliest-time.Second)) || s.RenewAfter.After(end.Add(-tc.latest)) {
					t.Errorf("renewed %s before the end, want %s to %s", end.Sub(s.RenewAfter), tc.latest, tc.earliest)
				}
				if got := end.Sub(s.EmergencyAfter); got != tc.emergency {
					t.Errorf("urgent %s before the end, want %s", got, tc.emergency)
				}
			}
		})
	}
}

func TestPhasesFollowEachOther(t *testing.T) {
	end := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	s := enrolment.ScheduleOf(trust.Identity{Thumbprint: "AB", NotBefore: end.Add(-180 * day), NotAfter: end}, 30*day)
	just := -time.Nanosecond
	for _, tc := range []struct {
		at   time.Time
		want enrolment.Phase
		next time.Time
	}{
		{end.Add(-180 * day), enrolment.Fresh, s.RenewAfter},
		{s.RenewAfter.Add(just), enrolment.Fresh, s.RenewAfter},
		{s.RenewAfter, enrolment.Due, s.EmergencyAfter},
		{s.EmergencyAfter.Add(just), enrolment.Due, s.EmergencyAfter},
		{s.EmergencyAfter, enrolment.Emergency, end},
		{end.Add(just), enrolment.Emergency, end},
		{end, enrolment.Expired, time.Time{}},
		{end.Add(day), enrolment.Expired, time.Time{}},
	} {
		if got := s.Phase(tc.at); got != tc.want {
			t.Errorf("at %s the phase is %d, want %d", tc.at, got, tc.want)
		}
		if got := s.Next(tc.at); !got.Equal(tc.next) {
			t.Errorf("at %s the next change is %s, want %s", tc.at, got, tc.next)
		}
	}
}

// TestJitterIsDrawnOncePerCertificate: the same certificate gives the same
// time, and different ones spread over the whole part that is for it.
func TestJitterIsDrawnOncePerCertificate(t *testing.T) {
	end := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	at := func(i int) time.Time {
		return enrolment.ScheduleOf(trust.Identity{Thumbprint: fmt.Sprint(i), NotBefore: end.Add(-180 * day), NotAfter: end}, 30*day).RenewAfter
	}
	var thirds [3]int
	for i := range 300 {
		if !at(i).Equal(at(i)) {
			t.Fatal("the time differs from one call to the next")
		}
		thirds[min(int(at(i).Sub(end.Add(-30*day))/day), 2)]++
	}
	for i, n := range thirds {
		if n < 60 || n > 140 {
			t.Errorf("%d of 300 renewals are on day %d of three; want about a hundred", n, i+1)
		}
	}
}
