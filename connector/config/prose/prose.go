// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package prose makes text that others wrote fit to be repeated in a status, a
// condition or a log: the service, connectors, the API server and parsers all have
// something to say, and some of it is long, has several lines or holds control
// characters.
package prose

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ellipsis ends a text that was cut.
const ellipsis = "..."

// Line returns text as one printable line of at most limit bytes. Lines are
// joined by semicolons, runs of space become one space, what cannot be printed
// is left out (no control characters, no marks that reverse or hide text), and a
// text that is too long is cut and ends in three dots. limit must be at least 3.
func Line(text string, limit int) string {
	// More than this is cut away in any case; the rest need not be looked at.
	text = text[:min(len(text), 4*limit)]
	var parts []string
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(strings.Map(printable, line)), " ")
		if line != "" {
			parts = append(parts, line)
		}
	}
	joined := strings.Join(parts, "; ")
	if len(joined) <= limit {
		return joined
	}
	cut := limit - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(joined[cut]) {
		cut--
	}
	return joined[:cut] + ellipsis
}

func printable(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case r == utf8.RuneError, !unicode.IsPrint(r):
		return -1
	default:
		return r
	}
}
