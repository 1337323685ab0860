// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package nbfx

import (
	"encoding/binary"
	"math"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

// String is a name or a text together with the way it is written: through the
// static dictionary, through the session's table, or in full.
type String struct {
	text string
	way  stringWay
	id   uint32
}

type stringWay uint8

const (
	literal stringWay = iota
	static
	session
)

var staticIDs = func() map[string]uint32 {
	ids := make(map[string]uint32, len(staticDictionary))
	for k, s := range staticDictionary {
		ids[s] = uint32(2 * k)
	}
	return ids
}()

// Static is a string of the static dictionary. It panics if s is not in it:
// call it with constants, from package variables.
func Static(s string) String {
	id, ok := staticIDs[s]
	if !ok {
		panic("nbfx: not in the static dictionary: " + s)
	}
	return String{text: s, way: static, id: id}
}

// Session is a string of the session's table; it is sent the first time it is
// used on a connection. It may be written only by a Writer with an Interner.
func Session(s string) String { return String{text: s, way: session} }

// Literal is a string that is written in full each time.
func Literal(s string) String { return String{text: s} }

// Writer builds one document. Methods are called in document order; it does
// not check that the result is well formed. The zero value writes documents
// outside a session.
type Writer struct {
	// Session gives session strings their identifiers; nil outside a session.
	Session *Interner

	buf      []byte
	lastText int // offset of the last text record, if nothing followed it, plus 1
}

// Bytes returns the document.
func (w *Writer) Bytes() []byte { return w.buf }

func (w *Writer) record(t byte) {
	w.buf = append(w.buf, t)
	w.lastText = 0
}

func (w *Writer) dictID(s String) (uint32, bool) {
	switch s.way {
	case static:
		return s.id, true
	case session:
		return w.Session.id(s.text), true
	default:
		return 0, false
	}
}

// named writes a record that has a prefix and a name. types are the record
// types for: no prefix inline, prefix inline, no prefix dictionary, prefix
// dictionary, first one-letter inline, first one-letter dictionary (0: none).
func (w *Writer) named(prefix string, name String, types [6]byte) {
	id, dict := w.dictID(name)
	letter := len(prefix) == 1 && prefix[0] >= 'a' && prefix[0] <= 'z' && types[4] != 0
	row := 0
	if dict {
		row = 1
	}
	switch {
	case letter:
		w.record(types[4+row] + prefix[0] - 'a')
	case prefix == "":
		w.record(types[2*row])
	default:
		w.record(types[2*row+1])
		w.buf = appendString(w.buf, prefix)
	}
	if dict {
		w.buf = AppendMultiByteInt31(w.buf, id)
	} else {
		w.buf = appendString(w.buf, name.text)
	}
}

// Start opens an element.
func (w *Writer) Start(prefix string, name String) {
	w.named(prefix, name, [6]byte{0x40, 0x41, 0x42, 0x43, recordElementPrefix, recordElementPrefixDict})
}

// End closes the innermost element. A text record just before it is turned
// into its odd twin, as .NET does.
func (w *Writer) End() {
	if w.lastText > 0 {
		w.buf[w.lastText-1] |= 1
		w.lastText = 0
		return
	}
	w.record(recordEndElement)
}

// Namespace declares a prefix, or the default namespace.
func (w *Writer) Namespace(prefix string, uri String) {
	w.named(prefix, uri, [6]byte{recordXMLNSShort, recordXMLNS, recordXMLNSShortDict, recordXMLNSDict, 0, 0})
}

// Attribute starts an attribute; exactly one text call must follow.
func (w *Writer) Attribute(prefix string, name String) {
	w.named(prefix, name, [6]byte{0x04, 0x05, 0x06, 0x07, recordAttributePrefix, recordAttributePrefixDic})
}

// AttributeEnd follows the text of an attribute: that text must not be turned
// into its odd twin by an End.
func (w *Writer) AttributeEnd() { w.lastText = 0 }

func (w *Writer) text(t byte) {
	w.record(t)
	w.lastText = len(w.buf)
}

// Text writes a string.
func (w *Writer) Text(s String) {
	id, dict := w.dictID(s)
	switch {
	case dict:
		w.text(textDictionary)
		w.buf = AppendMultiByteInt31(w.buf, id)
	case s.text == "":
		w.text(textEmpty)
	default:
		w.sized(textChars8, len(s.text))
		w.buf = append(w.buf, s.text...)
	}
}

// sized writes the record type of a family that fits a length, and the length.
func (w *Writer) sized(family byte, n int) {
	switch {
	case n <= math.MaxUint8:
		w.text(family)
		w.buf = append(w.buf, byte(n)) //nolint:gosec // the case says that it fits
	case n <= math.MaxUint16:
		w.text(family + 2)
		w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(n))
	default:
		w.text(family + 4)
		w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(n)) //nolint:gosec // documents are at most MaxDocument bytes
	}
}

// Int writes a number in the smallest record that holds it.
func (w *Writer) Int(n int64) {
	switch {
	case n == 0 || n == 1:
		w.text(textZero + 2*byte(n))
	case n >= math.MinInt8 && n <= math.MaxInt8:
		w.text(textInt8)
		w.buf = append(w.buf, byte(n)) //nolint:gosec // two's complement is what is written
	case n >= math.MinInt16 && n <= math.MaxInt16:
		w.text(textInt16)
		w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(n)) //nolint:gosec // as above
	case n >= math.MinInt32 && n <= math.MaxInt32:
		w.text(textInt32)
		w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(n)) //nolint:gosec // as above
	default:
		w.text(textInt64)
		w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(n)) //nolint:gosec // as above
	}
}

// Bool writes a boolean.
func (w *Writer) Bool(b bool) {
	if b {
		w.text(textTrue)
	} else {
		w.text(textFalse)
	}
}

// UniqueID writes an identifier whose text form is urn:uuid:….
func (w *Writer) UniqueID(id guid.GUID) {
	w.text(textUniqueID)
	raw := id.DotNet()
	w.buf = append(w.buf, raw[:]...)
}

// Base64 writes bytes. .NET cuts them so that all records but the last hold a
// multiple of three bytes, which is why one or two bytes may follow alone.
func (w *Writer) Base64(b []byte) {
	whole := len(b) - len(b)%3
	if whole > 0 {
		w.sized(textBytes8, whole)
		w.buf = append(w.buf, b[:whole]...)
	}
	if whole < len(b) || len(b) == 0 {
		w.sized(textBytes8, len(b)-whole)
		w.buf = append(w.buf, b[whole:]...)
	}
}

func appendString(b []byte, s string) []byte {
	b = AppendMultiByteInt31(b, uint32(len(s))) //nolint:gosec // documents are at most MaxDocument bytes
	return append(b, s...)
}
