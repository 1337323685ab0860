// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"time"
	_ "time/tzdata" // the operator's image has no time zone database

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// windowState is how a maintenance window stands at a moment.
type windowState struct {
	open bool
	// next is when it opens or closes next; zero if it never does.
	next time.Time
	// problem says why the window cannot be understood. It counts as closed.
	problem error
}

// windowAt computes how a window stands; none is always open. The start is taken
// on the clock of the window's zone: where the clock jumps over it, the window
// opens at the jump, and where it comes twice, the first time. The window then stays open for its
// duration in elapsed time, across midnight and changes of the clock.
func windowAt(w *v1alpha1.MaintenanceWindow, now time.Time) windowState {
	if w == nil {
		return windowState{open: true}
	}
	zone := w.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return windowState{problem: fmt.Errorf("the time zone %q of spec.rollout.maintenanceWindow is not known: use a name of the IANA database, such as Europe/Amsterdam", zone)}
	}
	start, err := time.Parse("15:04", w.Start)
	if err != nil {
		return windowState{problem: fmt.Errorf("the start %q of spec.rollout.maintenanceWindow is not a time of day: write it as 02:30", w.Start)}
	}
	duration := time.Duration(orDefault(w.DurationMinutes, 60)) * time.Minute
	year, month, day := now.In(location).Date()
	state := windowState{}
	// Two days back, since a window may last a day and the zone may be ahead; eight
	// ahead, since the next one may be a week away.
	for offset := -2; offset <= 8; offset++ {
		date := time.Date(year, month, day+offset, 12, 0, 0, 0, location) // noon exists on every day
		if !opensOn(w.Days, date.Weekday()) {
			continue
		}
		opens := opening(date, start.Hour(), start.Minute())
		closes := opens.Add(duration)
		switch {
		case !now.Before(closes):
		case !now.Before(opens):
			state.open = true
			if closes.After(state.next) {
				state.next = closes
			}
		case state.open:
			if !opens.After(state.next) { // the next window begins before this one ends
				state.next = closes
			}
		case state.next.IsZero():
			state.next = opens
		}
	}
	return state
}

// opening is the moment at which the clock shows a time on a date, the first one
// if it shows it twice; if it never does, the moment of the jump.
func opening(date time.Time, hour, minute int) time.Time {
	at := time.Date(date.Year(), date.Month(), date.Day(), hour, minute, 0, 0, date.Location())
	begins, ends := at.ZoneBounds()
	if at.Hour() != hour || at.Minute() != minute {
		// time.Date is on one of the sides of the jump and does not say which.
		if begins.IsZero() || (!ends.IsZero() && ends.Sub(at) < at.Sub(begins)) {
			return ends
		}
		return begins
	}
	if begins.IsZero() {
		return at
	}
	_, offset := at.Zone()
	_, before := begins.Add(-time.Second).Zone()
	if earlier := at.Add(-time.Duration(before-offset) * time.Second); before > offset && earlier.Before(begins) {
		return earlier // the clock was set back, and showed the time before that, too
	}
	return at
}

func opensOn(days []v1alpha1.Weekday, day time.Weekday) bool {
	for _, d := range days {
		if string(d) == day.String() {
			return true
		}
	}
	return len(days) == 0
}
