// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"encoding/json"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"PT30M":                        30 * time.Minute,
		"P1D":                          24 * time.Hour,
		"PT0S":                         0,
		"P1Y2M3DT4H5M6.5S":             (365+60+3)*24*time.Hour + 4*time.Hour + 5*time.Minute + 6500*time.Millisecond,
		"PT0.0000001S":                 100 * time.Nanosecond,
		"PT0.1234567899S":              123456789 * time.Nanosecond,
		"P10675199DT2H48M5.4775807S":   Infinite,
		"P106751DT23H47M16.854775807S": Infinite,
		"P106752D":                     Infinite,
		"P99999999999999999999D":       Infinite,
		"00:10:00":                     10 * time.Minute,
		"23:59:59":                     24*time.Hour - time.Second,
		"00:00:00":                     0,
		"02:00":                        2 * time.Hour,
		"1.00:00:00.5000000":           24*time.Hour + 500*time.Millisecond,
		"10675199.02:48:05.4775807":    Infinite,
		" \r\n00:00:03\t":              3 * time.Second,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "P", "PT", "P1DT", "1D", "PT1", "P1H", "PT1.5H", "-PT1S", "PT-1S", "-00:00:01", "24:00:00", "00:60:00",
		"00:00:60", "1:2:3:4", "5", "1.5", "00:00:00.", "infinite", "P1D ago", "００:10:00",
		"P00000000000000000000000000000000000000000000000000000000000000001D",
	} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

func TestFormatDurations(t *testing.T) {
	for d, want := range map[time.Duration]struct{ xsd, span string }{
		0:                          {"PT0S", "00:00:00"},
		30 * time.Minute:           {"PT30M", "00:30:00"},
		24 * time.Hour:             {"P1D", "1.00:00:00"},
		3 * time.Second:            {"PT3S", "00:00:03"},
		25*time.Hour + time.Second: {"P1DT1H1S", "1.01:00:01"},
		1500 * time.Millisecond:    {"PT1.5S", "00:00:01.5000000"},
		150 * time.Nanosecond:      {"PT0.0000001S", "00:00:00.0000001"},
		Infinite:                   {"P10675199DT2H48M5.4775807S", "10675199.02:48:05.4775807"},
		-time.Second:               {"PT0S", "00:00:00"},
	} {
		if got := FormatXSDDuration(d); got != want.xsd {
			t.Errorf("FormatXSDDuration(%v) = %q, want %q", d, got, want.xsd)
		}
		if got := FormatTimeSpan(d); got != want.span {
			t.Errorf("FormatTimeSpan(%v) = %q, want %q", d, got, want.span)
		}
	}
}

func TestTimeSpanInJSON(t *testing.T) {
	v := struct{ A, B TimeSpan }{B: TimeSpan(time.Second)}
	if err := json.Unmarshal([]byte(`{"A":"00:01:00","B":null}`), &v); err != nil {
		t.Fatal(err)
	}
	if v.A.Duration() != time.Minute || v.B.Duration() != time.Second {
		t.Errorf("got %v and %v", v.A, v.B)
	}
	out, err := json.Marshal(v)
	if err != nil || string(out) != `{"A":"00:01:00","B":"00:00:01"}` {
		t.Errorf("got %s, %v", out, err)
	}
	for _, in := range []string{`{"A":60}`, `{"A":"a minute"}`, `{"A":{}}`} {
		if err := json.Unmarshal([]byte(in), &v); err == nil {
			t.Errorf("%s is read", in)
		}
	}
}

// FuzzParseDuration checks that whatever parses is not negative and means the
// same, to the resolution of .NET, when it is written in either form.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"PT30M", "P1Y2M3DT4H5M6.5S", infiniteXSD, "00:10:00", "1.00:00:00.5000000", infiniteTimeSpan} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		want := d.Truncate(tick)
		if d == Infinite {
			want = d
		}
		for _, text := range []string{FormatXSDDuration(d), FormatTimeSpan(d)} {
			if got, err := ParseDuration(text); err != nil || got != want {
				t.Fatalf("%q is %v, written as %q is %v, %v", s, d, text, got, err)
			}
		}
	})
}
