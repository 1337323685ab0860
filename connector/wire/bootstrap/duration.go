// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Infinite is what the service's greatest TimeSpan (29,000 years) and anything
// longer than a time.Duration can hold (292 years) are read as. Test for it
// before adding to it.
const Infinite = time.Duration(math.MaxInt64)

// What .NET writes for its greatest TimeSpan.
const (
	infiniteXSD      = "P10675199DT2H48M5.4775807S"
	infiniteTimeSpan = "10675199.02:48:05.4775807"
)

const (
	day  = 24 * time.Hour
	tick = 100 * time.Nanosecond // the resolution of .NET's TimeSpan
)

// A year and a month are 365 and 30 days, as .NET reads them.
var (
	xsdPattern  = regexp.MustCompile(`^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)
	spanPattern = regexp.MustCompile(`^(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d{1,9})?))?$`)
)

// ParseDuration reads an XML schema duration (PT30M) or the text of a .NET
// TimeSpan (1.00:10:00). What does not fit becomes [Infinite]; negative spans,
// which the service does not use, are errors.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if len(s) <= 64 {
		if m := xsdPattern.FindStringSubmatch(s); m != nil && strings.IndexFunc(s, isDigit) > 0 && !strings.HasSuffix(s, "T") {
			return sum(m[1:], 365*day, 30*day, day, time.Hour, time.Minute, time.Second), nil
		}
		if m := spanPattern.FindStringSubmatch(s); m != nil && below(m[2], 24) && below(m[3], 60) && below(m[4], 60) {
			return sum(m[1:], day, time.Hour, time.Minute, time.Second), nil
		}
	}
	return 0, fmt.Errorf("duration %.64q is neither an XML schema duration such as PT30M nor a TimeSpan such as 00:30:00", s)
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

func below(number string, limit float64) bool {
	if number == "" {
		return true
	}
	f, err := strconv.ParseFloat(number, 64)
	return err == nil && f < limit
}

// sum adds numbers, each in its unit, saturating at Infinite. Only the last may
// have a fraction, of a second.
func sum(numbers []string, units ...time.Duration) time.Duration {
	var total time.Duration
	for i, unit := range units {
		whole, fraction, _ := strings.Cut(numbers[i], ".")
		total = saturate(total, multiply(whole, unit))
		if fraction != "" { // what is below nanoseconds is dropped
			total = saturate(total, multiply((fraction + "00000000")[:9], time.Nanosecond))
		}
	}
	return total
}

func multiply(number string, unit time.Duration) time.Duration {
	if number == "" {
		return 0
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > int64(Infinite/unit) { // the pattern leaves only "too great" as an error
		return Infinite
	}
	return time.Duration(n) * unit
}

func saturate(a, b time.Duration) time.Duration {
	if a > Infinite-b {
		return Infinite
	}
	return a + b
}

// FormatXSDDuration writes an XML schema duration as .NET does: P1D, PT30M,
// PT0S. It keeps 100 ns.
func FormatXSDDuration(d time.Duration) string {
	if d == Infinite {
		return infiniteXSD
	}
	days, hours, minutes, seconds, ticks := split(d)
	var b strings.Builder
	b.WriteByte('P')
	if days > 0 {
		fmt.Fprintf(&b, "%dD", days)
	}
	if hours+minutes+seconds+ticks > 0 || days == 0 {
		b.WriteByte('T')
	}
	if hours > 0 {
		fmt.Fprintf(&b, "%dH", hours)
	}
	if minutes > 0 {
		fmt.Fprintf(&b, "%dM", minutes)
	}
	switch {
	case ticks > 0:
		b.WriteString(strings.TrimRight(fmt.Sprintf("%d.%07d", seconds, ticks), "0") + "S")
	case seconds > 0 || days+hours+minutes == 0:
		fmt.Fprintf(&b, "%dS", seconds)
	}
	return b.String()
}

// FormatTimeSpan writes the text of a .NET TimeSpan: 00:10:00, 1.00:00:00.5000000.
func FormatTimeSpan(d time.Duration) string {
	if d == Infinite {
		return infiniteTimeSpan
	}
	days, hours, minutes, seconds, ticks := split(d)
	var b strings.Builder
	if days > 0 {
		fmt.Fprintf(&b, "%d.", days)
	}
	fmt.Fprintf(&b, "%02d:%02d:%02d", hours, minutes, seconds)
	if ticks > 0 {
		fmt.Fprintf(&b, ".%07d", ticks)
	}
	return b.String()
}

// split takes a span apart. Negative ones, which the protocol does not have,
// are written as none.
func split(d time.Duration) (days, hours, minutes, seconds, ticks int64) {
	d = max(d, 0)
	return int64(d / day), int64(d / time.Hour % 24), int64(d / time.Minute % 60),
		int64(d / time.Second % 60), int64(d % time.Second / tick)
}

// TimeSpan is a time.Duration that is the text of a .NET TimeSpan in JSON.
type TimeSpan time.Duration

// Duration returns the span as package time has it.
func (t TimeSpan) Duration() time.Duration { return time.Duration(t) }

// String prints the span as package time does.
func (t TimeSpan) String() string { return time.Duration(t).String() }

// MarshalJSON writes the text of a TimeSpan.
func (t TimeSpan) MarshalJSON() ([]byte, error) {
	return json.Marshal(FormatTimeSpan(time.Duration(t)))
}

// UnmarshalJSON reads the text of a TimeSpan; null leaves the value alone.
func (t *TimeSpan) UnmarshalJSON(data []byte) error {
	var s *string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("a TimeSpan is text such as \"00:10:00\": %w", err)
	}
	if s == nil {
		return nil
	}
	d, err := ParseDuration(*s)
	if err == nil {
		*t = TimeSpan(d)
	}
	return err
}
