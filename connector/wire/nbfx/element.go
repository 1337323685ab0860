// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package nbfx

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

// Element is a node of a parsed document. Namespaces are kept as declared but
// not resolved: this protocol's readers go by local names.
type Element struct {
	Prefix, Name string
	Attributes   []Attribute
	Namespaces   []Namespace
	Children     []*Element
	// Values are the text records directly inside the element, in order.
	Values []Value
}

// Attribute is one attribute of an element.
type Attribute struct {
	Prefix, Name string
	Value        Value
}

// Namespace is one xmlns declaration of an element; Prefix is empty for the
// default namespace.
type Namespace struct{ Prefix, URI string }

// Value is the content of a text record: exactly one of a string, a number, a
// boolean, bytes or an identifier, as the sender chose.
type Value struct {
	kind   valueKind
	text   string
	number int64
	bytes  []byte
	id     guid.GUID
}

type valueKind uint8

const (
	kindText valueKind = iota
	kindNumber
	kindBool
	kindBytes
	kindUniqueID
	kindGUID
)

// String returns the text form that the record stands for in XML.
func (v Value) String() string {
	switch v.kind {
	case kindNumber:
		return strconv.FormatInt(v.number, 10)
	case kindBool:
		return strconv.FormatBool(v.number != 0)
	case kindBytes:
		return base64.StdEncoding.EncodeToString(v.bytes)
	case kindUniqueID:
		return "urn:uuid:" + v.id.String()
	case kindGUID:
		return v.id.String()
	default:
		return v.text
	}
}

// Child returns the first child with a local name, or nil. It may be called on
// a nil element, so that lookups chain.
func (e *Element) Child(name string) *Element {
	if e == nil {
		return nil
	}
	for _, c := range e.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Attribute returns the text of the first attribute with a local name.
func (e *Element) Attribute(name string) (string, bool) {
	if e == nil {
		return "", false
	}
	for _, a := range e.Attributes {
		if a.Name == name {
			return a.Value.String(), true
		}
	}
	return "", false
}

// Text returns the element's text without surrounding white space; a nil
// element has none.
func (e *Element) Text() string {
	switch {
	case e == nil || len(e.Values) == 0:
		return ""
	case len(e.Values) == 1:
		return strings.TrimSpace(e.Values[0].String())
	}
	var b strings.Builder
	for _, v := range e.Values {
		b.WriteString(v.String())
	}
	return strings.TrimSpace(b.String())
}

// Bytes returns the element's binary content: its byte records joined, or its
// text decoded as base64.
func (e *Element) Bytes() ([]byte, error) {
	if e == nil {
		return nil, nil
	}
	var b []byte
	for _, v := range e.Values {
		if v.kind != kindBytes {
			text := strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "").Replace(e.Text())
			decoded, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, fmt.Errorf("element %.64q holds text that is not base64", e.Name)
			}
			return decoded, nil
		}
		b = append(b, v.bytes...)
	}
	return b, nil
}

// Int returns the element's content as an integer; a missing (nil) element or
// one without text is 0.
func (e *Element) Int() (int64, error) {
	if e == nil {
		return 0, nil
	}
	if len(e.Values) == 1 && e.Values[0].kind == kindNumber {
		return e.Values[0].number, nil
	}
	text := e.Text()
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("element %.64q holds %.32q, which is not an integer", e.Name, text)
	}
	return n, nil
}

// Bool returns the element's content as a boolean; a missing element is false.
func (e *Element) Bool() (bool, error) {
	switch text := e.Text(); text {
	case "true", "1":
		return true, nil
	case "false", "0", "":
		return false, nil
	default:
		return false, fmt.Errorf("element %.64q holds %.32q, which is not a boolean", e.Name, text)
	}
}
