// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package datacontract

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// SchemaInstance is the namespace of i:type and i:nil.
const SchemaInstance = "http://www.w3.org/2001/XMLSchema-instance"

// Attr is one attribute or namespace declaration, written in the given order.
type Attr struct{ Name, Value string }

// XMLNS declares a namespace; the empty prefix declares the default one.
func XMLNS(prefix, namespace string) Attr {
	if prefix == "" {
		return Attr{"xmlns", namespace}
	}
	return Attr{"xmlns:" + prefix, namespace}
}

// Type is i:type.
func Type(name string) Attr { return Attr{"i:type", name} }

// Writer builds one document. Names are written as given: they are constants of
// the caller. The zero value is ready for use.
type Writer struct{ b bytes.Buffer }

// Bytes returns the document.
func (w *Writer) Bytes() []byte { return w.b.Bytes() }

// Element writes an element whose content is what inside writes; nil or nothing
// makes it empty.
func (w *Writer) Element(name string, inside func(), attrs ...Attr) {
	w.open(name, attrs)
	w.b.WriteByte('>')
	start := w.b.Len()
	if inside != nil {
		inside()
	}
	if w.b.Len() == start {
		w.b.Truncate(start - 1)
		w.b.WriteString("/>")
		return
	}
	w.b.WriteString("</" + name + ">")
}

// Text writes an element that holds text.
func (w *Writer) Text(name, value string, attrs ...Attr) {
	w.Element(name, func() { w.escape(value, false) }, attrs...)
}

// Bool writes an element that holds true or false.
func (w *Writer) Bool(name string, value bool) { w.Text(name, strconv.FormatBool(value)) }

// Int writes an element that holds a decimal number.
func (w *Writer) Int(name string, value int64) { w.Text(name, strconv.FormatInt(value, 10)) }

// Nil writes an empty element marked i:nil.
func (w *Writer) Nil(name string, attrs ...Attr) {
	w.Element(name, nil, append([]Attr{{"i:nil", "true"}}, attrs...)...)
}

func (w *Writer) open(name string, attrs []Attr) {
	w.b.WriteString("<" + name)
	for _, a := range attrs {
		w.b.WriteString(" " + a.Name + `="`)
		w.escape(a.Value, true)
		w.b.WriteByte('"')
	}
}

// escape writes text. A carriage return would be lost by any reader's line-end
// handling if it were written as it is. Characters that XML cannot hold become
// the replacement character, so that a document always parses.
func (w *Writer) escape(s string, quoted bool) {
	for _, r := range s { // invalid UTF-8 yields RuneError, which is that character
		switch {
		case r == '&':
			w.b.WriteString("&amp;")
		case r == '<':
			w.b.WriteString("&lt;")
		case r == '>':
			w.b.WriteString("&gt;")
		case r == '"' && quoted:
			w.b.WriteString("&quot;")
		case r == '\r':
			w.b.WriteString("&#xD;")
		case r < ' ' && r != '\t' && r != '\n', r == 0xFFFE, r == 0xFFFF:
			w.b.WriteRune(utf8.RuneError)
		default:
			w.b.WriteRune(r)
		}
	}
}
