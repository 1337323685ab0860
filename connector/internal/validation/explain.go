// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"strconv"
	"strings"
)

// Explain returns a readable page about a reason or a sign-in error, ending in
// a new line. It takes what administrators find in logs and on error pages, in
// any case: a code in decimal (1328, -2146892994) or hexadecimal (0x530,
// 0x8009033E), a symbol with or without ERROR_ (INVALID_LOGON_HOURS), a text
// reason (EncryptionDataNotFound), or AADSTS80004 or 80004. The error for
// anything else says what is accepted.
func Explain(arg string) (string, error) {
	name := strings.TrimSpace(arg)
	for _, row := range rows {
		if sameSymbol(name, row.Symbol) {
			return explainRow(row), nil
		}
	}
	if digits, ok := cutPrefixFold(name, "AADSTS"); ok {
		if number, err := strconv.Atoi(digits); err == nil {
			if e, ok := LookupAADSTS(number); ok {
				return explainAADSTS(e), nil
			}
		}
		return "", unknown(arg)
	}
	number, err := strconv.ParseInt(name, 0, 64)
	if err != nil || number > 1<<32-1 || number < -1<<31 {
		return "", unknown(arg)
	}
	// Tools print an HRESULT signed or unsigned; both are the same 32 bits.
	if row, ok := Lookup(Code(int32(uint32(number)))); ok {
		return explainRow(row), nil
	}
	if e, ok := LookupAADSTS(int(number)); ok {
		return explainAADSTS(e), nil
	}
	return "", unknown(arg)
}

func unknown(arg string) error {
	return fmt.Errorf("%.64q is not a known reason: give a code (1328 or 0x530), a symbol (INVALID_LOGON_HOURS), "+
		"%s, or a sign-in error (AADSTS80004 or 80004); an unknown code counts as an infrastructure fault", arg, EncryptionDataNotFound)
}

func sameSymbol(name, symbol string) bool {
	bare, _ := cutPrefixFold(name, "ERROR_")
	return strings.EqualFold(bare, symbol)
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func explainRow(row Row) string {
	var b strings.Builder
	if row.Text != "" {
		fmt.Fprintf(&b, "%s\n", row.Text)
	} else {
		fmt.Fprintf(&b, "%s (0x%X) %s\n", row.Code, uint32(row.Code), row.Symbol) //nolint:gosec // the bits of an HRESULT are meant
	}
	field(&b, "Meaning", row.Meaning)
	field(&b, "Class", row.Class.String())
	if e, ok := LookupAADSTS(row.AADSTS); ok {
		note := ""
		if !row.AADSTSDocumented {
			note = " (inferred, not documented by the service)"
		}
		field(&b, "User sees", fmt.Sprintf("AADSTS%d %s%s", e.Number, e.Name, note))
	}
	field(&b, "What to do", row.Action)
	return b.String()
}

func explainAADSTS(e AADSTS) string {
	var b strings.Builder
	fmt.Fprintf(&b, "AADSTS%d %s\n", e.Number, e.Name)
	field(&b, "Meaning", e.Meaning)
	field(&b, "What to do", e.Action)
	for i, row := range e.Reasons() {
		label := ""
		if i == 0 {
			label = "Caused by"
		}
		text := row.Name() + " " + row.Symbol
		if row.Text != "" {
			text = row.Text
		}
		field(&b, label, text)
	}
	return b.String()
}

func field(b *strings.Builder, label, text string) {
	fmt.Fprintf(b, "  %-11s %s\n", label, text)
}
