// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of texts that others wrote, in bytes.
const (
	maxState   = 64
	maxMessage = 1024
)

// line makes text that others wrote fit for logs and status: one line, printable
// characters only (no control characters, no marks that reverse or hide text), at
// most limit bytes.
func line(text string, limit int) string {
	// More than this is cut away in any case; the rest need not be looked at.
	text = text[:min(len(text), 4*limit)]
	text = strings.Join(strings.Fields(strings.Map(printable, text)), " ")
	if len(text) <= limit {
		return text
	}
	const ellipsis = "..."
	cut := limit - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + ellipsis
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
