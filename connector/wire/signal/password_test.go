// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUnwrapPassword(t *testing.T) {
	for name, tc := range map[string]struct{ plaintext, want string }{
		"the transcript's":           {`{"Password":"P@ssw0rd"}`, `P@ssw0rd`},
		"escapes":                    {`{"Password":"a\"b\\c\/d\b\f\n\r\t"}`, "a\"b\\c/d\b\f\n\r\t"},
		"hexadecimal escapes":        {`{"Password":"\u00e4\u20AC\u0041"}`, "ä€A"},
		"a surrogate pair":           {`{"Password":"\ud83d\ude00!"}`, "😀!"},
		"UTF-8 as it is":             {`{"Password":"pässwörd😀"}`, "pässwörd😀"},
		"empty":                      {`{"Password":""}`, ""},
		"white space":                {" {\r\n\t\"Password\" : \"x\" } ", "x"},
		"other members":              {`{"a":1,"b":[{"c":"}"},null,-1.5e3],"Password":"x","d":{"e":true}}`, "x"},
		"a name that needs decoding": {`{"\u0050assword":"x"}`, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			plaintext := []byte(tc.plaintext)
			got, err := UnwrapPassword(plaintext)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("password %q, want %q", got, tc.want)
			}
			clear(plaintext)
			if len(bytes.Trim(got, "\x00")) != 0 {
				t.Error("the password is a copy: wiping the plaintext did not wipe it")
			}
		})
	}
}

func TestUnwrapPasswordRefuses(t *testing.T) {
	for name, plaintext := range map[string]string{
		"nothing":                  ``,
		"no object":                `"canary"`,
		"no password":              `{"Other":"canary"}`,
		"two passwords":            `{"Password":"canary","Password":"canary"}`,
		"a number":                 `{"Password":1}`,
		"not closed":               `{"Password":"canary`,
		"something behind it":      `{"Password":"canary"}x`,
		"an unknown escape":        `{"Password":"canary\x"}`,
		"half a surrogate pair":    `{"Password":"canary\ud83d"}`,
		"two first halves":         `{"Password":"canary\ud83d\ud83d"}`,
		"too few digits":           `{"Password":"canary\u12"}`,
		"a control character":      "{\"Password\":\"canary\n\"}",
		"invalid UTF-8":            "{\"Password\":\"canary\xff\"}",
		"deep nesting":             `{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"Password":"canary"}`,
		"a missing comma":          `{"Password":"canary" "a":1}`,
		"a comma that is too much": `{,"Password":"canary"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := UnwrapPassword([]byte(plaintext))
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestWrapPasswordIsUnwrapped(t *testing.T) {
	for _, password := range []string{"P@ssw0rd", `quote " backslash \ slash /`, "tab\tnewline\n\x00\x1f", "ünïcödé 😀", ""} {
		plaintext := WrapPassword(nil, []byte(password))
		var other struct{ Password string }
		if err := json.Unmarshal(plaintext, &other); err != nil || other.Password != password {
			t.Errorf("encoding/json reads %q as %q, %v", password, other.Password, err)
		}
		if got, err := UnwrapPassword(plaintext); err != nil || string(got) != password {
			t.Errorf("%q became %q, %v", password, got, err)
		}
	}
	if got := string(WrapPassword(nil, []byte("P@ssw0rd"))); got != `{"Password":"P@ssw0rd"}` {
		t.Errorf("the transcript's plaintext is written as %s", got)
	}
}

// FuzzUnwrapPassword compares with encoding/json, which accepts more but must
// not read anything else.
func FuzzUnwrapPassword(f *testing.F) {
	for _, s := range []string{`{"Password":"P@ssw0rd"}`, `{"a":[1,{"b":"c"}],"Password":"\ud83d\ude00\/"}`, `{"Password":"x","Password":"y"}`, `{"Password":"\u0000"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, plaintext []byte) {
		original := bytes.Clone(plaintext)
		got, err := UnwrapPassword(plaintext)
		if err != nil {
			return
		}
		if !utf8.Valid(got) {
			t.Fatal("a password that is not UTF-8")
		}
		var other map[string]json.RawMessage
		if json.Unmarshal(original, &other) != nil {
			return // skipped members are not checked
		}
		var want string
		if json.Unmarshal(other["Password"], &want) != nil || want != string(got) {
			t.Errorf("password %q, encoding/json reads %q", got, want)
		}
	})
}

func BenchmarkUnwrapPassword(b *testing.B) {
	original := []byte(`{"Password":"a rather \"long\" password with \u00e4"}`)
	buffer := make([]byte, len(original))
	b.ReportAllocs()
	for b.Loop() {
		copy(buffer, original)
		if _, err := UnwrapPassword(buffer); err != nil {
			b.Fatal(err)
		}
	}
}
