// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/internal/datacontract"
)

const (
	documentNS  = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.SignalerDataModel"
	dataModelNS = "http://schemas.datacontract.org/2004/07/Microsoft.ApplicationProxy.Common.BootstrapDataModel"
	arraysNS    = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
)

// A document is a list of fields in the order of the wire, made once for both
// directions: each binds an element's name to a Go value that it writes from or
// reads into. Reading leaves the value alone if the element is absent.
type (
	field struct {
		name string // with the prefix it is written with
		element
	}
	element interface {
		write(w *datacontract.Writer, name string)
		read(parent *datacontract.Node, name string) error
	}
)

func writeFields(w *datacontract.Writer, fields []field) {
	for _, f := range fields {
		f.write(w, f.name)
	}
}

// readFields reads every field up to the first that is wrong. Reporting more
// would let a document choose the length of the error.
func readFields(n *datacontract.Node, fields []field) error {
	for _, f := range fields {
		if err := f.read(n, localName(f.name)); err != nil {
			return err
		}
	}
	return nil
}

func localName(name string) string {
	if _, local, found := strings.Cut(name, ":"); found {
		return local
	}
	return name
}

func marshal(root string, fields []field) []byte {
	var w datacontract.Writer
	w.Element(root, func() { writeFields(&w, fields) },
		datacontract.XMLNS("", documentNS), datacontract.XMLNS("i", datacontract.SchemaInstance))
	return w.Bytes()
}

// text is a string; nilText one that is i:nil if it is empty.
type (
	text    struct{ v *string }
	nilText struct{ text }
)

func (e text) write(w *datacontract.Writer, name string) { w.Text(name, *e.v) }

func (e text) read(parent *datacontract.Node, name string) error {
	parent.Copy(name, e.v)
	return nil
}

func (e nilText) write(w *datacontract.Writer, name string) {
	if *e.v == "" {
		w.Nil(name)
		return
	}
	e.text.write(w, name)
}

// boolean is true or false.
type boolean struct{ v *bool }

func (e boolean) write(w *datacontract.Writer, name string) { w.Bool(name, *e.v) }

func (e boolean) read(parent *datacontract.Node, name string) error { return parent.Bool(name, e.v) }

// number is an integer and real a number with a fraction, neither below minimum.
type (
	number struct {
		v       *int
		minimum int
	}
	real struct{ v *float64 }
)

func (e number) write(w *datacontract.Writer, name string) { w.Int(name, int64(*e.v)) }

func (e number) read(parent *datacontract.Node, name string) error {
	return parent.Int(name, e.minimum, e.v)
}

func (e real) write(w *datacontract.Writer, name string) {
	w.Text(name, strconv.FormatFloat(*e.v, 'f', -1, 64))
}

func (e real) read(parent *datacontract.Node, name string) error { return parent.Float(name, 0, e.v) }

// count is a span written as a whole number of units, not below minimum; span
// is one written as an XML schema duration.
type (
	count struct {
		v       *time.Duration
		unit    time.Duration
		minimum int64
	}
	span struct{ v *time.Duration }
)

func (e count) write(w *datacontract.Writer, name string) { w.Int(name, int64(*e.v/e.unit)) }

func (e count) read(parent *datacontract.Node, name string) error {
	value := parent.Value(name)
	if value == "" {
		return nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < e.minimum {
		return fmt.Errorf("element %s holds %.48q, want a number from %d up", name, value, e.minimum)
	}
	*e.v = multiply(value, e.unit)
	return nil
}

func (e span) write(w *datacontract.Writer, name string) { w.Text(name, FormatXSDDuration(*e.v)) }

func (e span) read(parent *datacontract.Node, name string) error {
	return readDuration(parent, name, e.v)
}

func readDuration(parent *datacontract.Node, name string, dst *time.Duration) error {
	value := parent.Value(name)
	if value == "" {
		return nil
	}
	d, err := ParseDuration(value)
	if err != nil {
		return fmt.Errorf("element %s: %w", name, err)
	}
	*dst = d
	return nil
}

// instant is a point in time, with the seven digits that .NET writes.
type instant struct{ v *time.Time }

func (e instant) write(w *datacontract.Writer, name string) {
	w.Text(name, e.v.UTC().Format("2006-01-02T15:04:05.0000000Z"))
}

func (e instant) read(parent *datacontract.Node, name string) error {
	value := parent.Value(name)
	if value == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		// .NET leaves the zone away from times whose zone it was not told.
		if t, err = time.Parse("2006-01-02T15:04:05.999999999", value); err != nil {
			return fmt.Errorf("element %s holds %.48q, want a time such as 2026-01-02T15:04:05.0000000Z", name, value)
		}
	}
	*e.v = t.UTC()
	return nil
}

// blank is always written empty, or nil, and never read: what it may hold is of
// no use to a connector.
type blank struct {
	nil   bool
	attrs []datacontract.Attr
}

func (e blank) write(w *datacontract.Writer, name string) {
	if e.nil {
		w.Nil(name, e.attrs...)
		return
	}
	w.Element(name, nil, e.attrs...)
}

func (e blank) read(*datacontract.Node, string) error { return nil }

// group is an element of elements.
type group struct {
	attrs  []datacontract.Attr
	fields []field
}

func (e group) write(w *datacontract.Writer, name string) {
	w.Element(name, func() { writeFields(w, e.fields) }, e.attrs...)
}

func (e group) read(parent *datacontract.Node, name string) error {
	return readFields(parent.Child(name), e.fields)
}

// unless is an element that is left out where the condition holds.
type unless struct {
	omitted bool
	element
}

func (e unless) write(w *datacontract.Writer, name string) {
	if !e.omitted {
		e.element.write(w, name)
	}
}

// list is an element of like elements, at most maxItems.
type list[T any] struct {
	v      *[]T
	attrs  []datacontract.Attr
	item   string
	typed  []datacontract.Attr // of each item
	fields func(*T) []field
}

// maxItems bounds every list; the longest known one has eight items.
const maxItems = 256

func (e list[T]) write(w *datacontract.Writer, name string) {
	w.Element(name, func() {
		for i := range *e.v {
			w.Element(e.item, func() { writeFields(w, e.fields(&(*e.v)[i])) }, e.typed...)
		}
	}, e.attrs...)
}

func (e list[T]) read(parent *datacontract.Node, name string) error {
	if parent.Child(name) == nil {
		return nil
	}
	*e.v = nil
	items := parent.Child(name).All(localName(e.item))
	if len(items) > maxItems {
		return fmt.Errorf("element %s holds %d items, more than the %d allowed", name, len(items), maxItems)
	}
	for _, n := range items {
		var item T
		if err := readFields(n, e.fields(&item)); err != nil {
			return err
		}
		*e.v = append(*e.v, item)
	}
	return nil
}
