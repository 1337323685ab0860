// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package datacontract

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWriterPutsPrefixesAndNamespacesWhereItIsTold(t *testing.T) {
	var w Writer
	w.Element("Root", func() {
		w.Text("A", "one")
		w.Nil("B", XMLNS("a", "urn:a"))
		w.Element("C", func() {
			w.Bool("a:Flag", true)
			w.Int("a:Number", -7)
		}, Type("a:Kind"), XMLNS("", "urn:c"), XMLNS("a", "urn:a"))
		w.Element("D", func() {})
		w.Text("E", "")
	}, XMLNS("", "urn:root"), XMLNS("i", SchemaInstance))
	want := `<Root xmlns="urn:root" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><A>one</A><B i:nil="true" xmlns:a="urn:a"/>` +
		`<C i:type="a:Kind" xmlns="urn:c" xmlns:a="urn:a"><a:Flag>true</a:Flag><a:Number>-7</a:Number></C><D/><E/></Root>`
	if got := string(w.Bytes()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTextSurvivesWritingAndReading(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"plain":                {"hello", "hello"},
		"markup":               {`<a href="x">&amp;</a>]]>`, `<a href="x">&amp;</a>]]>`},
		"line ends":            {"a\r\nb\rc\nd\te", "a\r\nb\rc\nd\te"},
		"beyond ASCII":         {"Zürich 東京 🔑", "Zürich 東京 🔑"},
		"what XML cannot hold": {"a\x00b\x1Bc\uFFFEd", "a\uFFFDb\uFFFDc\uFFFDd"},
		"not UTF-8":            {"a\xFFb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			var w Writer
			w.Element("R", func() { w.Text("T", tc.in) }, XMLNS("i", tc.in))
			n, err := Parse(w.Bytes(), "R")
			if err != nil {
				t.Fatal(err)
			}
			if got := n.Value("T"); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"nothing":                    {"", "empty"},
		"only a comment":             {"<!-- a -->", "empty"},
		"another root":               {"<X/>", `is a "X", want R`},
		"a document type":            {`<!DOCTYPE R [<!ENTITY e "x">]><R>&e;</R>`, "document type"},
		"a document type later":      {`<R><!DOCTYPE x></R>`, "document type"},
		"an undeclared entity":       {"<R>&e;</R>", "malformed"},
		"two roots":                  {"<R/><R/>", "two root"},
		"text after the root":        {"<R/>x", "outside"},
		"an open element":            {"<R><A></R>", "malformed"},
		"an end too many":            {"<R/></R>", "malformed"},
		"a cut-off document":         {"<R><A>", "malformed"},
		"another character encoding": {`<?xml version="1.0" encoding="utf-16"?><R/>`, "malformed"},
		"bytes that are not UTF-8":   {"<R>\xFF</R>", "malformed"},
		"too many bytes":             {"<R>" + strings.Repeat(" ", MaxBytes) + "</R>", "bytes"},
		"too deep a nest":            {strings.Repeat("<R>", MaxDepth+1) + strings.Repeat("</R>", MaxDepth+1), "deeper"},
		"too many elements":          {"<R>" + strings.Repeat("<A/>", MaxElements) + "</R>", "elements"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.in), "R")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestParseToleratesWhatTheServiceTolerates(t *testing.T) {
	for name, in := range map[string]string{
		"white space before the declaration": "\r\n \t<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<R><A>1</A></R>\n",
		"a byte order mark":                  "\xEF\xBB\xBF<R><A>1</A></R>",
		"any prefix":                         `<x:R xmlns:x="urn:x"><y:A xmlns:y="urn:y">1</y:A></x:R>`,
		"unknown elements and comments":      `<R><!-- c --><Z><A>2</A></Z><A><!-- c -->1</A><A>3</A></R>`,
		"the deepest allowed nest":           "<R><A>1</A>" + strings.Repeat("<Z>", MaxDepth-1) + strings.Repeat("</Z>", MaxDepth-1) + "</R>",
	} {
		t.Run(name, func(t *testing.T) {
			n, err := Parse([]byte(in), "Q", "R")
			if err != nil {
				t.Fatal(err)
			}
			if got := n.Value("A"); got != "1" {
				t.Errorf("A = %q", got)
			}
		})
	}
}

func TestTypedChildren(t *testing.T) {
	n, err := Parse([]byte("<R xmlns:i=\""+SchemaInstance+"\"><B> TRUE </B><I> 42 </I><F>1.5</F><D>QUJD&#xD;\n REVG</D><N i:nil=\"true\"/><E/><Bad>maybe</Bad></R>"), "R")
	if err != nil {
		t.Fatal(err)
	}
	b, i, f, s := false, 7, 0.5, "kept"
	for _, err := range []error{
		n.Bool("B", &b), n.Int("I", 0, &i), n.Float("F", 0, &f),
		n.Bool("N", &b), n.Int("E", 0, &i), n.Float("Missing", 0, &f),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	n.Copy("Missing", &s)
	data, err := n.Bytes("D")
	if got := fmt.Sprintf("%v %v %v %v %s %v", b, i, f, s, data, err); got != "true 42 1.5 kept ABCDEF <nil>" {
		t.Errorf("got %s", got)
	}
	n.Copy("E", &s)
	if s != "" {
		t.Errorf("an empty element left %q", s)
	}
	if data, err := n.Bytes("Missing"); err != nil || len(data) > 0 {
		t.Errorf("a missing element: %q, %v", data, err)
	}
	if _, err := n.Bytes("F"); err == nil {
		t.Error("1.5 was read as base64")
	}
	for name, err := range map[string]error{
		"a boolean":                n.Bool("Bad", &b),
		"a number":                 n.Int("Bad", 0, &i),
		"a number below the least": n.Int("I", 43, &i),
		"a fraction":               n.Float("Bad", 0, &f),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if i != 42 {
		t.Errorf("an error changed the value to %d", i)
	}
	var absent *Node
	if absent.Child("x") != nil || absent.All("x") != nil || absent.Value("x") != "" {
		t.Error("an absent node has content")
	}
}

// FuzzParse checks that whatever parses can be read through every accessor and
// that text written again is read the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte("<R><A>1</A></R>"))
	f.Add([]byte(`<R xmlns:i="` + SchemaInstance + `"><A i:nil="true"/><B>&#xD;&lt;</B></R>`))
	f.Add([]byte(`<!DOCTYPE R [<!ENTITY e "x">]><R>&e;</R>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Parse(data, "R")
		if err != nil {
			return
		}
		for _, c := range n.Children {
			text := n.Value(c.Name)
			if !utf8.ValidString(text) {
				t.Fatalf("text %q is not UTF-8", text)
			}
			var w Writer
			w.Element("R", func() { w.Text("T", text) })
			again, err := Parse(w.Bytes(), "R")
			if err != nil {
				t.Fatalf("%q does not parse: %v", w.Bytes(), err)
			}
			if got := again.Value("T"); got != text {
				t.Fatalf("text %q was read as %q", text, got)
			}
		}
	})
}
