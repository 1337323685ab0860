// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package prose_test

import (
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/connector/config/prose"
)

func TestLine(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"short text stays":                      {"refused", 20, "refused"},
		"lines become one":                      {"a\n\n  b\r\nc\n", 20, "a; b; c"},
		"space is folded":                       {"  a \t b  ", 20, "a b"},
		"control characters and escapes go":     {"a\x1b[31mb\x00c", 20, "a[31mbc"},
		"what is not UTF-8 goes":                {"a\xffb", 20, "ab"},
		"long text is cut":                      {"0123456789abc", 10, "0123456..."},
		"text of just the limit is not cut":     {"0123456789", 10, "0123456789"},
		"a character is not cut in two":         {"12345\u00e9\u00e9\u00e9\u00e9", 9, "12345..."},
		"nothing stays nothing":                 {"", 10, ""},
		"what is far beyond is not looked at":   {strings.Repeat("\n", 1000) + "x", 10, ""},
		"other letters stay":                    {"\u00fcn\u00efc\u00f6d\u00e9", 20, "\u00fcn\u00efc\u00f6d\u00e9"},
		"direction marks that hide text vanish": {"a\u202eb", 10, "ab"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := prose.Line(tc.text, tc.limit); got != tc.want {
				t.Errorf("Line(%q, %d) = %q, want %q", tc.text, tc.limit, got, tc.want)
			}
		})
	}
}
