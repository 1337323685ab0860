// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package datacontract

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what Parse accepts. The largest documents of the protocol are a few
// tens of kilobytes, ten levels deep and a few hundred elements long.
const (
	MaxBytes    = 1 << 20
	MaxDepth    = 32
	MaxElements = 16384
)

// Node is an element; one that is i:nil reads as an empty one. Methods may be
// called on a nil Node, which is an element that is not there.
type Node struct {
	Name     string // local name
	Children []*Node

	text []byte // all text directly inside, joined
}

// Parse reads a document whose root must have one of the local names. White space
// and a byte order mark before it are allowed, as the service allows them.
func Parse(data []byte, roots ...string) (*Node, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("XML document has %d bytes, more than the %d allowed", len(data), MaxBytes)
	}
	p := parser{dec: xml.NewDecoder(bytes.NewReader(bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF")), " \t\r\n")))}
	for {
		token, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			// The decoder repeats names of any length.
			return nil, fmt.Errorf("XML document is malformed: %.200s", err.Error())
		}
		if err := p.take(token); err != nil {
			return nil, err
		}
	}
	if p.root == nil {
		return nil, errors.New("XML document is empty")
	}
	if !slices.Contains(roots, p.root.Name) {
		return nil, fmt.Errorf("XML document is a %.64q, want %s", p.root.Name, strings.Join(roots, " or "))
	}
	return p.root, nil
}

// parser builds the tree with a stack of its own: nothing recurses over input.
type parser struct {
	dec      *xml.Decoder
	root     *Node
	open     []*Node
	elements int
}

func (p *parser) take(token xml.Token) error {
	switch token := token.(type) {
	case xml.StartElement:
		return p.start(token)
	case xml.EndElement:
		p.open = p.open[:len(p.open)-1]
	case xml.CharData:
		if len(p.open) > 0 {
			n := p.open[len(p.open)-1]
			n.text = append(n.text, token...)
		} else if len(bytes.TrimSpace(token)) > 0 {
			return errors.New("XML document has text outside its root element")
		}
	case xml.Directive:
		return errors.New("XML document has a document type declaration, which is not allowed")
	}
	return nil
}

func (p *parser) start(token xml.StartElement) error {
	p.elements++
	if p.elements > MaxElements {
		return fmt.Errorf("XML document has more than the %d elements allowed", MaxElements)
	}
	if len(p.open) >= MaxDepth {
		return fmt.Errorf("XML document is nested deeper than the %d levels allowed", MaxDepth)
	}
	n := &Node{Name: token.Name.Local}
	switch {
	case len(p.open) > 0:
		parent := p.open[len(p.open)-1]
		parent.Children = append(parent.Children, n)
	case p.root != nil:
		return errors.New("XML document has two root elements")
	default:
		p.root = n
	}
	p.open = append(p.open, n)
	return nil
}

// Child returns the first child of that local name, or nil.
func (n *Node) Child(name string) *Node {
	if n != nil {
		for _, c := range n.Children {
			if c.Name == name {
				return c
			}
		}
	}
	return nil
}

// All returns the children of that local name.
func (n *Node) All(name string) []*Node {
	if n == nil {
		return nil
	}
	var all []*Node
	for _, c := range n.Children {
		if c.Name == name {
			all = append(all, c)
		}
	}
	return all
}

// Text returns the text directly inside, without surrounding white space.
func (n *Node) Text() string {
	if n == nil {
		return ""
	}
	return string(bytes.TrimSpace(n.text))
}

// Value returns the text of a child; "" if there is no such child.
func (n *Node) Value(name string) string { return n.Child(name).Text() }

// Bytes returns the base64 of a child, decoded. The service wraps base64 with
// carriage returns and line feeds; white space inside is ignored.
func (n *Node) Bytes(name string) ([]byte, error) {
	text := strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, n.Value(name))
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("element %s is not base64: %w", name, err)
	}
	return b, nil
}

// Bool reads a child that holds an XML boolean into dst, which keeps its value
// if the child is absent, nil or empty.
func (n *Node) Bool(name string, dst *bool) error {
	switch v := n.Value(name); strings.ToLower(v) {
	case "":
	case "true", "1":
		*dst = true
	case "false", "0":
		*dst = false
	default:
		return fmt.Errorf("element %s holds %.48q, want true or false", name, v)
	}
	return nil
}

// Int reads a child that holds a number from min upwards into dst, which keeps
// its value if the child is absent, nil or empty.
func (n *Node) Int(name string, minimum int, dst *int) error {
	v := n.Value(name)
	if v == "" {
		return nil
	}
	i, err := strconv.ParseInt(v, 10, 32)
	if err != nil || int(i) < minimum {
		return fmt.Errorf("element %s holds %.48q, want a number from %d up", name, v, minimum)
	}
	*dst = int(i)
	return nil
}

// Float is Int for numbers with a fraction. Infinity and NaN are refused.
func (n *Node) Float(name string, minimum float64, dst *float64) error {
	v := n.Value(name)
	if v == "" {
		return nil
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= minimum && f <= 1e9) {
		return fmt.Errorf("element %s holds %.48q, want a number from %g up", name, v, minimum)
	}
	*dst = f
	return nil
}

// Copy reads a child's text into dst, which keeps its value if the child is
// absent. An empty element sets an empty text.
func (n *Node) Copy(name string, dst *string) {
	if n.Child(name) != nil {
		*dst = n.Value(name)
	}
}
