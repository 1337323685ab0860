// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// errPlaintext is the one error of UnwrapPassword: which part of the plaintext
// is wrong must not be told, it could tell something of the password.
var errPlaintext = errors.New("the decrypted plaintext is not a JSON object with a password")

// WrapPassword appends the plaintext that is encrypted for a connector:
// {"Password":"…"} with JSON escapes. The cloud's half of UnwrapPassword; the
// caller wipes both buffers.
func WrapPassword(dst, password []byte) []byte {
	dst = append(dst, `{"Password":"`...)
	const hex = "0123456789abcdef"
	for _, c := range password {
		switch {
		case c == '"' || c == '\\' || c == '/':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, `"}`...)
}

// UnwrapPassword returns the password in a decrypted plaintext, UTF-8 and
// without its JSON escapes. It works in place: the result is part of
// plaintext, no copy is made, and wiping plaintext wipes the password. Other
// members of the object are ignored; a missing or second password is an error.
func UnwrapPassword(plaintext []byte) ([]byte, error) {
	s := scanner{b: plaintext}
	if !s.take('{') {
		return nil, errPlaintext
	}
	var password []byte
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return nil, errPlaintext
		}
		name, ok := s.string()
		if !ok || !s.take(':') {
			return nil, errPlaintext
		}
		if !bytes.Equal(name, []byte("Password")) {
			if !s.skip(0) {
				return nil, errPlaintext
			}
			continue
		}
		value, ok := s.string()
		if !ok || password != nil {
			return nil, errPlaintext
		}
		password = value
	}
	s.space()
	if password == nil || s.at != len(s.b) || !utf8.Valid(password) {
		return nil, errPlaintext
	}
	return password, nil
}

// scanner walks over a JSON document in place. It exists because encoding/json
// would copy the password into strings that cannot be wiped.
type scanner struct {
	b  []byte
	at int
}

func (s *scanner) space() {
	for s.at < len(s.b) && (s.b[s.at] == ' ' || s.b[s.at] == '\t' || s.b[s.at] == '\r' || s.b[s.at] == '\n') {
		s.at++
	}
}

// take skips white space and then c, if c is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.b) && s.b[s.at] == c {
		s.at++
		return true
	}
	return false
}

// string reads a string and removes its escapes in place: what it writes is
// never longer than what it has read. The result is never nil if ok.
func (s *scanner) string() (value []byte, ok bool) {
	if !s.take('"') {
		return nil, false
	}
	start, end := s.at, s.at
	for s.at < len(s.b) {
		c := s.b[s.at]
		s.at++
		switch {
		case c == '"':
			return s.b[start:end:end], true
		case c < 0x20:
			return nil, false
		case c != '\\':
			s.b[end] = c
			end++
		default:
			n, ok := s.escape(s.b[end:])
			if !ok {
				return nil, false
			}
			end += n
		}
	}
	return nil, false
}

// escape reads what follows a backslash and writes what it stands for to dst.
func (s *scanner) escape(dst []byte) (n int, ok bool) {
	if s.at >= len(s.b) {
		return 0, false
	}
	c := s.b[s.at]
	s.at++
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, ok := s.rune()
		if !ok {
			return 0, false
		}
		return utf8.EncodeRune(dst, r), true
	default:
		return 0, false
	}
	dst[0] = c
	return 1, true
}

// rune reads four hexadecimal digits, and a second escape if they are the first
// half of a surrogate pair. A lone half is refused: it stands for no character.
func (s *scanner) rune() (rune, bool) {
	r, ok := s.unit()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	if s.at+1 >= len(s.b) || s.b[s.at] != '\\' || s.b[s.at+1] != 'u' {
		return 0, false
	}
	s.at += 2
	low, ok := s.unit()
	if !ok {
		return 0, false
	}
	r = utf16.DecodeRune(r, low)
	return r, r != utf8.RuneError
}

func (s *scanner) unit() (rune, bool) {
	if len(s.b)-s.at < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s.b[s.at : s.at+4] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c - 'a' + 10)
		case c >= 'A' && c <= 'F':
			r |= rune(c - 'A' + 10)
		default:
			return 0, false
		}
	}
	s.at += 4
	return r, true
}

// maxSkipDepth bounds the nesting of members that are skipped.
const maxSkipDepth = 8

// skip reads a value of any kind and drops it. Numbers and words are not
// checked: what they mean does not matter.
func (s *scanner) skip(depth int) bool {
	s.space()
	if s.at >= len(s.b) || depth > maxSkipDepth {
		return false
	}
	switch s.b[s.at] {
	case '"':
		_, ok := s.string()
		return ok
	case '{', '[':
		return s.skipList(depth)
	}
	start := s.at
	for s.at < len(s.b) && bytes.IndexByte([]byte("+-.0123456789Eaeflnrstu"), s.b[s.at]) >= 0 {
		s.at++
	}
	return s.at > start
}

func (s *scanner) skipList(depth int) bool {
	object := s.b[s.at] == '{'
	s.at++
	end := byte(']')
	if object {
		end = '}'
	}
	for first := true; !s.take(end); first = false {
		if !first && !s.take(',') {
			return false
		}
		if object {
			if _, ok := s.string(); !ok || !s.take(':') {
				return false
			}
		}
		if !s.skip(depth + 1) {
			return false
		}
	}
	return true
}
