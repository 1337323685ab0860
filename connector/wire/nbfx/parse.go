// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package nbfx

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Record types of [MC-NBFX] that are not text.
const (
	recordEndElement         = 0x01
	recordComment            = 0x02
	recordArray              = 0x03
	recordFirstAttribute     = 0x04
	recordXMLNSShort         = 0x08 // default, inline
	recordXMLNS              = 0x09 // prefix, inline
	recordXMLNSShortDict     = 0x0A
	recordXMLNSDict          = 0x0B
	recordAttributePrefixDic = 0x0C // one letter, dictionary name
	recordAttributePrefix    = 0x26 // one letter, inline name
	recordElementShort       = 0x40
	recordElementPrefixDict  = 0x44
	recordElementPrefix      = 0x5E
	recordLastElement        = 0x77
	recordFirstText          = 0x80
)

// parser builds the tree with an explicit stack, so that hostile nesting costs
// an error and not the goroutine's stack.
type parser struct {
	reader
	table *Table
	stack []*Element
	root  *Element
	nodes int
	text  int  // bytes of all values so far, see maxText
	open  bool // the innermost element may still get attributes
}

// maxText bounds the text of a whole document. Without it, a small document
// that names one long dictionary string thousands of times would grow into
// hundreds of megabytes when its values are joined.
const maxText = 4 * MaxDocument

// Parse reads one document and returns its root element. table holds the
// session strings, or is nil outside a session. The tree does not refer to doc.
func Parse(doc []byte, table *Table) (*Element, error) {
	if len(doc) > MaxDocument {
		return nil, fmt.Errorf("a document of %d bytes is larger than %d", len(doc), MaxDocument)
	}
	p := &parser{reader: reader{rest: doc}, table: table}
	for len(p.rest) > 0 {
		if err := p.record(); err != nil {
			return nil, fmt.Errorf("reading binary XML at offset %d: %w", len(doc)-len(p.rest), err)
		}
	}
	if p.root == nil {
		return nil, errors.New("reading binary XML: the document holds no element")
	}
	if len(p.stack) > 0 {
		return nil, fmt.Errorf("reading binary XML: element %.64q is not closed", p.stack[len(p.stack)-1].Name)
	}
	return p.root, nil
}

// count bounds the number of nodes of a document.
func (p *parser) count() error {
	p.nodes++
	if p.text > maxText {
		return fmt.Errorf("more than %d bytes of text", maxText)
	}
	if p.nodes > MaxNodes {
		return fmt.Errorf("more than %d elements, attributes and texts", MaxNodes)
	}
	return nil
}

func (p *parser) record() error {
	t, err := p.byte()
	if err != nil {
		return err
	}
	if err := p.count(); err != nil {
		return err
	}
	switch {
	case t == recordEndElement:
		return p.close()
	case t == recordComment:
		p.open = false
		_, err := p.string()
		return err
	case t == recordArray:
		return p.array()
	case t >= recordFirstAttribute && t < recordElementShort:
		return p.attribute(t)
	case t >= recordElementShort && t <= recordLastElement:
		return p.element(t)
	case t >= recordFirstText:
		return p.content(t)
	default:
		return fmt.Errorf("record type %#02x is unknown", t)
	}
}

func (p *parser) top() (*Element, error) {
	if len(p.stack) == 0 {
		return nil, errors.New("content outside the root element")
	}
	return p.stack[len(p.stack)-1], nil
}

func (p *parser) push(e *Element) error {
	if len(p.stack) >= MaxDepth {
		return fmt.Errorf("elements nest deeper than %d", MaxDepth)
	}
	if len(p.stack) > 0 {
		parent := p.stack[len(p.stack)-1]
		parent.Children = append(parent.Children, e)
	} else if p.root == nil {
		p.root = e
	} else {
		return errors.New("a second root element")
	}
	p.stack = append(p.stack, e)
	p.open = true
	return nil
}

func (p *parser) close() error {
	if len(p.stack) == 0 {
		return errors.New("an element is closed that was not opened")
	}
	p.stack = p.stack[:len(p.stack)-1]
	p.open = false
	return nil
}

func (p *parser) dictionary() (string, error) {
	id, err := p.number()
	if err != nil {
		return "", err
	}
	return p.table.lookup(id)
}

// name reads a prefix and a local name as the low bits of a record type of
// elements and attributes say.
func (p *parser) name(prefixed, dict bool) (prefix, name string, err error) {
	if prefixed {
		if prefix, err = p.string(); err != nil {
			return "", "", err
		}
	}
	if dict {
		name, err = p.dictionary()
	} else {
		name, err = p.string()
	}
	return prefix, name, err
}

func (p *parser) element(t byte) error {
	e := &Element{}
	var err error
	switch {
	case t >= recordElementPrefix:
		e.Prefix = string(rune('a' + t - recordElementPrefix))
		e.Name, err = p.string()
	case t >= recordElementPrefixDict:
		e.Prefix = string(rune('a' + t - recordElementPrefixDict))
		e.Name, err = p.dictionary()
	default:
		e.Prefix, e.Name, err = p.name(t&1 != 0, t&2 != 0)
	}
	if err != nil {
		return err
	}
	return p.push(e)
}

func (p *parser) attribute(t byte) error {
	e, err := p.top()
	if err != nil {
		return err
	}
	if !p.open {
		return errors.New("an attribute after the content of its element")
	}
	if t >= recordXMLNSShort && t <= recordXMLNSDict {
		prefix, uri, err := p.name(t&1 != 0, t&2 != 0)
		if err != nil {
			return err
		}
		e.Namespaces = append(e.Namespaces, Namespace{Prefix: prefix, URI: uri})
		return nil
	}
	var a Attribute
	switch {
	case t >= recordAttributePrefix:
		a.Prefix = string(rune('a' + t - recordAttributePrefix))
		a.Name, err = p.string()
	case t >= recordAttributePrefixDic:
		a.Prefix = string(rune('a' + t - recordAttributePrefixDic))
		a.Name, err = p.dictionary()
	default:
		a.Prefix, a.Name, err = p.name(t&1 != 0, t&2 != 0)
	}
	if err != nil {
		return err
	}
	t, err = p.byte()
	if err != nil {
		return err
	}
	if t < recordFirstText || t&1 != 0 {
		return fmt.Errorf("record type %#02x is not the value of an attribute", t)
	}
	values, err := p.values(t)
	if err != nil {
		return err
	}
	// A list is written as its items with spaces between them.
	a.Value = join(values)
	e.Attributes = append(e.Attributes, a)
	return nil
}

// content reads a text record into the innermost element; odd types close it.
func (p *parser) content(t byte) error {
	e, err := p.top()
	if err != nil {
		return err
	}
	p.open = false
	values, err := p.values(t &^ 1)
	if err != nil {
		return err
	}
	e.Values = append(e.Values, values...)
	if t&1 != 0 {
		return p.close()
	}
	return nil
}

// values reads the text record t, a list being several values.
func (p *parser) values(t byte) ([]Value, error) {
	if t != textStartList {
		v, err := p.value(t)
		return []Value{v}, err
	}
	var list []Value
	for {
		t, err := p.byte()
		if err != nil {
			return nil, err
		}
		if t == textEndList {
			return []Value{join(list)}, nil
		}
		if t < recordFirstText || t&1 != 0 || t == textStartList {
			return nil, fmt.Errorf("record type %#02x inside a list", t)
		}
		if err := p.count(); err != nil {
			return nil, err
		}
		v, err := p.value(t)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

func join(values []Value) Value {
	if len(values) == 1 {
		return values[0]
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return Value{text: strings.Join(texts, " ")}
}

// array reads an element that is repeated, with a value of a fixed width each
// time.
func (p *parser) array() error {
	t, err := p.byte()
	if err != nil {
		return err
	}
	if t < recordElementShort || t > recordLastElement {
		return fmt.Errorf("record type %#02x in place of an array's element", t)
	}
	if err := p.element(t); err != nil {
		return err
	}
	first := p.stack[len(p.stack)-1]
	if len(p.stack) < 2 {
		return errors.New("an array as the root element")
	}
	for {
		end, err := p.byte()
		if err != nil {
			return err
		}
		if end == recordEndElement {
			break
		}
		if end < recordFirstAttribute || end >= recordElementShort {
			return fmt.Errorf("record type %#02x inside an array's element", end)
		}
		if err := p.attribute(end); err != nil {
			return err
		}
	}
	if err := p.close(); err != nil {
		return err
	}
	return p.items(first)
}

// items reads the values of an array whose first element has been read.
func (p *parser) items(first *Element) error {
	t, err := p.byte()
	if err != nil {
		return err
	}
	if !arrayType(t) {
		return fmt.Errorf("record type %#02x is not a type that arrays hold", t)
	}
	n, err := p.number()
	if err != nil {
		return err
	}
	parent := p.stack[len(p.stack)-1]
	parent.Children = parent.Children[:len(parent.Children)-1]
	for range n {
		if err := p.count(); err != nil {
			return err
		}
		v, err := p.value(t &^ 1)
		if err != nil {
			return err
		}
		item := *first
		item.Values = []Value{v}
		parent.Children = append(parent.Children, &item)
	}
	return nil
}

func formatFloat(v float64, bits int) Value {
	switch {
	case math.IsInf(v, 1):
		return Value{text: "INF"}
	case math.IsInf(v, -1):
		return Value{text: "-INF"}
	}
	return Value{text: strconv.FormatFloat(v, 'g', -1, bits)}
}

// ticksPerSecond: .NET counts time in units of 100 ns.
const ticksPerSecond = int64(time.Second / 100)

// formatDateTime writes a .NET DateTime: ticks since year 1 in the low 62
// bits, the kind (1 is UTC) in the high two.
func formatDateTime(raw uint64) Value {
	ticks := int64(raw & (1<<62 - 1))
	const unixEpoch = 62135596800 // seconds from year 1 to 1970
	at := time.Unix(ticks/ticksPerSecond-unixEpoch, ticks%ticksPerSecond*100).UTC()
	layout := "2006-01-02T15:04:05.9999999"
	if raw>>62 == 1 {
		layout += "Z"
	}
	return Value{text: at.Format(layout)}
}

// formatTimeSpan writes ticks as an xsd:duration in seconds.
func formatTimeSpan(ticks int64) Value {
	sign := ""
	magnitude := uint64(ticks) //nolint:gosec // two's complement; negated below
	if ticks < 0 {
		sign, magnitude = "-", -magnitude
	}
	return Value{text: fmt.Sprintf("%sPT%d.%07dS", sign, magnitude/uint64(ticksPerSecond), magnitude%uint64(ticksPerSecond))}
}
