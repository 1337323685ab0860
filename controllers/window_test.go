// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

func TestWindowAt(t *testing.T) {
	window := func(start string, minutes int32, zone string, days ...v1alpha1.Weekday) *v1alpha1.MaintenanceWindow {
		return &v1alpha1.MaintenanceWindow{Start: start, DurationMinutes: new(minutes), TimeZone: zone, Days: days}
	}
	// In Amsterdam the clock jumped from 02:00 to 03:00 on 29 March 2026, and fell
	// from 03:00 to 02:00 on 25 October 2026, both at 01:00 UTC. On Lord Howe Island
	// it moves by half an hour: from 02:00 to 02:30 on 4 October 2026, at 15:30 UTC
	// of the day before.
	for name, tc := range map[string]struct {
		window   *v1alpha1.MaintenanceWindow
		now      string // UTC
		wantOpen bool
		wantNext string // UTC; empty if never
	}{
		"no window is always open":                  {nil, "2026-11-25T12:00:00Z", true, ""},
		"before":                                    {window("02:30", 60, "UTC"), "2026-11-25T02:29:59Z", false, "2026-11-25T02:30:00Z"},
		"the first moment":                          {window("02:30", 60, "UTC"), "2026-11-25T02:30:00Z", true, "2026-11-25T03:30:00Z"},
		"the last moment":                           {window("02:30", 60, "UTC"), "2026-11-25T03:29:59Z", true, "2026-11-25T03:30:00Z"},
		"after":                                     {window("02:30", 60, "UTC"), "2026-11-25T03:30:00Z", false, "2026-11-26T02:30:00Z"},
		"without a zone":                            {window("02:30", 60, ""), "2026-11-25T02:30:00Z", true, "2026-11-25T03:30:00Z"},
		"a zone that is behind":                     {window("22:00", 60, "America/New_York"), "2026-11-25T03:30:00Z", true, "2026-11-25T04:00:00Z"},
		"a zone that is ahead":                      {window("01:00", 60, "Pacific/Kiritimati"), "2026-11-24T11:30:00Z", true, "2026-11-24T12:00:00Z"},
		"across midnight":                           {window("23:00", 120, "UTC"), "2026-11-25T00:59:59Z", true, "2026-11-25T01:00:00Z"},
		"only on Saturdays, on a Wednesday":         {window("02:30", 60, "UTC", "Saturday"), "2026-11-25T02:45:00Z", false, "2026-11-28T02:30:00Z"},
		"only on Saturdays, just after":             {window("02:30", 60, "UTC", "Saturday"), "2026-11-28T03:30:00Z", false, "2026-12-05T02:30:00Z"},
		"the day is that on which it opens":         {window("23:00", 120, "UTC", "Saturday"), "2026-11-29T00:30:00Z", true, "2026-11-29T01:00:00Z"},
		"the day is that of the zone":               {window("01:00", 60, "Asia/Tokyo", "Sunday"), "2026-11-28T16:30:00Z", true, "2026-11-28T17:00:00Z"},
		"a whole day, every day, has no end nearby": {window("00:00", 1440, "UTC"), "2026-11-25T12:00:00Z", true, "2026-12-04T00:00:00Z"},
		"summer: the start moves in UTC":            {window("02:30", 60, "Europe/Amsterdam"), "2026-07-01T00:30:00Z", true, "2026-07-01T01:30:00Z"},
		"winter: the start moves in UTC":            {window("02:30", 60, "Europe/Amsterdam"), "2026-12-01T00:30:00Z", false, "2026-12-01T01:30:00Z"},
		"a start that is jumped over, before":       {window("02:30", 60, "Europe/Amsterdam"), "2026-03-29T00:59:59Z", false, "2026-03-29T01:00:00Z"},
		"a start that is jumped over, at the jump":  {window("02:30", 60, "Europe/Amsterdam"), "2026-03-29T01:00:00Z", true, "2026-03-29T02:00:00Z"},
		"a start that is jumped over, after":        {window("02:30", 60, "Europe/Amsterdam"), "2026-03-29T02:00:00Z", false, "2026-03-30T00:30:00Z"},
		"a jump within the window takes no time":    {window("01:30", 60, "Europe/Amsterdam"), "2026-03-29T01:29:59Z", true, "2026-03-29T01:30:00Z"},
		"a start that comes twice, the first":       {window("02:30", 60, "Europe/Amsterdam"), "2026-10-25T00:30:00Z", true, "2026-10-25T01:30:00Z"},
		"a start that comes twice, the second":      {window("02:30", 30, "Europe/Amsterdam"), "2026-10-25T01:30:00Z", false, "2026-10-26T01:30:00Z"},
		"a jump of half an hour":                    {window("02:15", 60, "Australia/Lord_Howe"), "2026-10-03T15:30:00Z", true, "2026-10-03T16:30:00Z"},
		"a fall of half an hour, the first":         {window("01:45", 10, "Australia/Lord_Howe"), "2026-04-04T14:50:00Z", true, "2026-04-04T14:55:00Z"},
		"a fall of half an hour, the second":        {window("01:45", 10, "Australia/Lord_Howe"), "2026-04-04T15:20:00Z", false, "2026-04-05T15:15:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, tc.now)
			if err != nil {
				t.Fatal(err)
			}
			got := windowAt(tc.window, now)
			next := ""
			if !got.next.IsZero() {
				next = got.next.UTC().Format(time.RFC3339)
			}
			if got.problem != nil || got.open != tc.wantOpen || next != tc.wantNext {
				t.Errorf("open %t, next %s, problem %v; want %t, %s", got.open, next, got.problem, tc.wantOpen, tc.wantNext)
			}
		})
	}
}

func TestWindowsThatCannotBeUnderstoodAreClosed(t *testing.T) {
	for name, w := range map[string]*v1alpha1.MaintenanceWindow{
		"a zone that does not exist": {Start: "02:30", DurationMinutes: ptr.To[int32](60), TimeZone: "Europe/Atlantis"},
		"a start that is no time":    {Start: "25:99", DurationMinutes: ptr.To[int32](60), TimeZone: "UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := windowAt(w, testNow); got.open || got.problem == nil {
				t.Errorf("got %+v, want a closed window and a problem", got)
			}
		})
	}
}
