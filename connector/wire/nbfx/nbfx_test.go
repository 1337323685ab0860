// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package nbfx

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

// element wraps text records in <e>…</e>.
func element(records ...byte) []byte {
	return append(append([]byte{0x40, 1, 'e'}, records...), 0x01)
}

func TestTextRecords(t *testing.T) {
	id := []byte{0x3F, 0x2E, 0x1D, 0x0C, 0x5B, 0x4A, 0x7D, 0x4C, 0x8E, 0x9F, 0xA0, 0xB1, 0xC2, 0xD3, 0xE4, 0xF5}
	for name, tc := range map[string]struct {
		records []byte
		want    string
	}{
		"zero":                  {[]byte{0x80}, "0"},
		"one":                   {[]byte{0x82}, "1"},
		"false":                 {[]byte{0x84}, "false"},
		"true":                  {[]byte{0x86}, "true"},
		"int8":                  {[]byte{0x88, 0xFF}, "-1"},
		"int16":                 {[]byte{0x8A, 0x74, 0x27}, "10100"},
		"int32":                 {[]byte{0x8C, 0x00, 0x00, 0x00, 0x80}, "-2147483648"},
		"int64":                 {[]byte{0x8E, 1, 0, 0, 0, 1, 0, 0, 0}, "4294967297"},
		"float":                 {[]byte{0x90, 0, 0, 0xC0, 0x3F}, "1.5"},
		"infinite double":       {[]byte{0x92, 0, 0, 0, 0, 0, 0, 0xF0, 0xFF}, "-INF"},
		"decimal":               {append([]byte{0x94}, make([]byte, 16)...), "decimal:" + strings.Repeat("0", 32)},
		"UTC date and time":     {[]byte{0x96, 0x00, 0x40, 0x31, 0x3C, 0xF7, 0x29, 0xDD, 0x48}, "2025-01-01T00:00:00Z"},
		"chars8":                {[]byte{0x98, 2, 'h', 'i'}, "hi"},
		"chars16":               {[]byte{0x9A, 2, 0, 'h', 'i'}, "hi"},
		"chars32":               {[]byte{0x9C, 2, 0, 0, 0, 'h', 'i'}, "hi"},
		"bytes8":                {[]byte{0x9E, 3, 1, 2, 3}, "AQID"},
		"bytes16":               {[]byte{0xA0, 1, 0, 0xFF}, "/w=="},
		"list":                  {[]byte{0xA4, 0x82, 0x98, 1, 'x', 0xA6}, "1 x"},
		"empty":                 {[]byte{0xA8}, ""},
		"static dictionary":     {[]byte{0xAA, 0x14}, "http://www.w3.org/2005/08/addressing/anonymous"},
		"unique id":             {append([]byte{0xAC}, id...), "urn:uuid:0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"},
		"time span":             {[]byte{0xAE, 0x80, 0x96, 0x98, 0, 0, 0, 0, 0}, "PT1.0000000S"},
		"negative time span":    {[]byte{0xAE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, "-PT0.0000001S"},
		"guid":                  {append([]byte{0xB0}, id...), "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"},
		"unsigned":              {[]byte{0xB2, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, "18446744073709551615"},
		"boolean":               {[]byte{0xB4, 1}, "true"},
		"UTF-16":                {[]byte{0xB6, 4, 'h', 0, 0xE4, 0}, "hä"},
		"qualified name":        {[]byte{0xBC, 18, 0x02}, "s:Envelope"},
		"several records":       {[]byte{0x98, 1, 'a', 0x98, 1, 'b'}, "ab"},
		"surrounding space":     {[]byte{0x98, 4, ' ', 'a', '\n', ' '}, "a"},
		"comment between":       {[]byte{0x02, 1, '!', 0x98, 1, 'a'}, "a"},
		"text after a child":    {[]byte{0x40, 1, 'c', 0x01, 0x98, 1, 'a'}, "a"},
		"a twin closes a child": {[]byte{0x40, 1, 'c', 0x99, 1, 'x', 0x98, 1, 'a'}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Parse(element(tc.records...), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Text(); got != tc.want {
				t.Errorf("text %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNamesAttributesAndNamespaces(t *testing.T) {
	var table Table
	for _, s := range []string{"first", "second"} {
		if err := table.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	doc := []byte{
		0x43, 2, 'p', 'q', 0x02, // <pq:Envelope
		0x08, 1, 'd', 0x09, 1, 'x', 1, 'y', 0x0A, 0x04, 0x0B, 1, 'r', 0x03, // four declarations
		0x04, 1, 'a', 0x82, 0x05, 2, 'p', 'q', 1, 'b', 0x98, 1, 'v', // a="1" pq:b="v"
		0x06, 0x01, 0xA8, 0x07, 2, 'p', 'q', 0x03, 0xA8, // first="" pq:second=""
		0x1E, 0x00, 0x82, 0x27, 1, 'z', 0xA8, // s:mustUnderstand="1" b:z=""
		0x41, 2, 'p', 'q', 1, 'c', 0x01, 0x42, 0x01, 0x01, 0x45, 0x03, 0x01, 0x5F, 1, 'i', 0x01, // children
		0x01,
	}
	got, err := Parse(doc, &table)
	if err != nil {
		t.Fatal(err)
	}
	if got.Prefix != "pq" || got.Name != "Envelope" {
		t.Errorf("root %s:%s", got.Prefix, got.Name)
	}
	wantNS := []Namespace{{"", "d"}, {"x", "y"}, {"", "http://www.w3.org/2003/05/soap-envelope"}, {"r", "second"}}
	if diff := cmp.Diff(wantNS, got.Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	var attrs, children []string
	for _, a := range got.Attributes {
		attrs = append(attrs, a.Prefix+":"+a.Name+"="+a.Value.String())
	}
	for _, c := range got.Children {
		children = append(children, c.Prefix+":"+c.Name)
	}
	if diff := cmp.Diff([]string{":a=1", "pq:b=v", ":first=", "pq:second=", "s:mustUnderstand=1", "b:z="}, attrs); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"pq:c", ":first", "b:second", "b:i"}, children); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
}

func TestArrays(t *testing.T) {
	// <e><n a="1">256</n><n a="1">-2</n><m/></e>
	doc := element(0x03, 0x40, 1, 'n', 0x04, 1, 'a', 0x82, 0x01, 0x8B, 2, 0x00, 0x01, 0xFE, 0xFF, 0x40, 1, 'm', 0x01)
	e, err := Parse(doc, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range e.Children {
		a, _ := c.Attribute("a")
		got = append(got, c.Name+a+c.Text())
	}
	if diff := cmp.Diff([]string{"n1256", "n1-2", "m"}, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	deep := bytes.Repeat([]byte{0x40, 1, 'e'}, MaxDepth+1)
	many := append(append([]byte{0x40, 1, 'e'}, bytes.Repeat([]byte{0x80}, MaxNodes)...), 0x01)
	var table Table
	if err := table.Add(strings.Repeat("x", MaxTableBytes)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		doc  []byte
		want string
	}{
		"nothing":                        {nil, "no element"},
		"too large":                      {make([]byte, MaxDocument+1), "larger than"},
		"too deep":                       {deep, "deeper than"},
		"too many nodes":                 {many, "more than"},
		"one long string very often":     {append(append([]byte{0x40, 1, 'e'}, bytes.Repeat([]byte{0xAA, 1}, 100)...), 0x01), "bytes of text"},
		"an element that is not closed":  {[]byte{0x40, 1, 'e'}, "not closed"},
		"an end without an element":      {[]byte{0x01}, "not opened"},
		"two roots":                      {append(element(), element()...), "second root"},
		"text outside the root":          {[]byte{0x98, 1, 'x'}, "outside"},
		"an attribute outside the root":  {[]byte{0x04, 1, 'x', 0x82}, "outside"},
		"an attribute after content":     {element(0x82, 0x04, 1, 'a', 0x82), "after the content"},
		"an attribute without a value":   {element(0x04, 1, 'a', 0x01), "not the value"},
		"an attribute that closes":       {element(0x04, 1, 'a', 0x83), "not the value"},
		"an unknown record":              {element(0x7F), "unknown"},
		"an unknown text record":         {element(0xFE), "unknown"},
		"a static id that is not there":  {element(0xAA, 0xFE, 0x7F), "static dictionary"},
		"a session id that is not there": {element(0xAA, 0x03), "session string table"},
		"a string longer than the rest":  {element(0x98, 200, 'x'), ErrTruncated.Error()},
		"a string of four gigabytes":     {element(0x9C, 0xFF, 0xFF, 0xFF, 0xFF), "longer than"},
		"invalid UTF-8":                  {element(0x98, 1, 0xFF), "UTF-8"},
		"half a UTF-16 unit":             {element(0xB6, 1, 'x'), "odd"},
		"a list in a list":               {element(0xA4, 0xA4), "inside a list"},
		"a list that is not closed":      {[]byte{0x40, 1, 'e', 0xA4, 0x82}, ErrTruncated.Error()},
		"an array of strings":            {element(0x03, 0x40, 1, 'n', 0x01, 0x99, 1), "arrays hold"},
		"an array of a billion":          {element(0x03, 0x40, 1, 'n', 0x01, 0xB5, 0x80, 0x94, 0xEB, 0xDC, 0x03), ErrTruncated.Error()},
		"an array as the root":           {[]byte{0x03, 0x40, 1, 'n', 0x01, 0xB5, 1, 1}, "root"},
		"an array of nothing":            {element(0x03, 0x82), "array's element"},
		"a number of six bytes":          {[]byte{0x40, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}, "31 bits"},
		"a qualified name with a digit":  {element(0xBC, 26, 0x02), "letter"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(tc.doc, &table); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestElementAccessors(t *testing.T) {
	var none *Element
	if none.Child("x").Child("y").Text() != "" {
		t.Error("a missing element has text")
	}
	if n, err := none.Int(); n != 0 || err != nil {
		t.Errorf("Int of a missing element = %d, %v", n, err)
	}
	text := func(s string) *Element { return &Element{Name: "e", Values: []Value{{text: s}}} }
	if b, err := text("AQ\r\n ID").Bytes(); err != nil || !bytes.Equal(b, []byte{1, 2, 3}) {
		t.Errorf("Bytes of wrapped base64 = %v, %v", b, err)
	}
	if _, err := text("?").Bytes(); err == nil {
		t.Error("Bytes accepted what is not base64")
	}
	if n, err := text("-42").Int(); n != -42 || err != nil {
		t.Errorf("Int = %d, %v", n, err)
	}
	if _, err := text("4x").Int(); err == nil {
		t.Error("Int accepted 4x")
	}
	if b, err := text("1").Bool(); !b || err != nil {
		t.Errorf("Bool = %v, %v", b, err)
	}
	if _, err := text("yes").Bool(); err == nil {
		t.Error("Bool accepted yes")
	}
}

func TestWriterChoosesTheSmallestRecords(t *testing.T) {
	var w Writer
	w.Start("", Literal("e"))
	for _, n := range []int64{0, 1, 2, -1, 127, 128, -129, 32768, math.MaxInt32, math.MaxInt32 + 1, math.MinInt64} {
		w.Int(n)
	}
	w.Bool(true)
	w.Text(Literal(""))
	w.Text(Literal(strings.Repeat("x", 255)))
	w.Text(Literal(strings.Repeat("x", 256)))
	w.Base64(make([]byte, 5))
	w.Base64(nil)
	w.UniqueID(guid.GUID{})
	w.End()
	e, err := Parse(w.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range e.Values {
		s := v.String()
		got = append(got, s[:min(len(s), 20)])
	}
	want := []string{
		"0", "1", "2", "-1", "127", "128", "-129", "32768", "2147483647", "2147483648", "-9223372036854775808",
		"true", "", strings.Repeat("x", 20), strings.Repeat("x", 20), "AAAA", "AAA=", "", "urn:uuid:00000000-00",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if !bytes.Equal(w.Bytes()[:9], []byte{0x40, 1, 'e', 0x80, 0x82, 0x88, 2, 0x88, 0xFF}) {
		t.Errorf("beginning % X", w.Bytes()[:9])
	}
}

func TestEndAfterAnAttributeIsARecordOfItsOwn(t *testing.T) {
	var w Writer
	w.Start("", Literal("e"))
	w.Attribute("", Literal("a"))
	w.Int(1)
	w.AttributeEnd()
	w.End()
	if want := []byte{0x40, 1, 'e', 0x04, 1, 'a', 0x82, 0x01}; !bytes.Equal(w.Bytes(), want) {
		t.Errorf("document % X, want % X", w.Bytes(), want)
	}
}

func TestSessionStringsAreSentOnce(t *testing.T) {
	var in Interner
	var table Table
	write := func() []byte {
		w := Writer{Session: &in}
		w.Start("", Session("one"))
		w.Namespace("", Session("two"))
		w.Text(Session("one"))
		w.End()
		return w.Bytes()
	}
	first := write()
	if err := table.AddEncoded(in.Flush()); err != nil || table.Len() != 2 {
		t.Fatalf("the table has %d strings, %v", table.Len(), err)
	}
	second := write()
	if rest := in.Flush(); len(rest) != 0 {
		t.Errorf("known strings were sent again: % X", rest)
	}
	for _, doc := range [][]byte{first, second} {
		e, err := Parse(doc, &table)
		if err != nil || e.Name != "one" || e.Text() != "one" || e.Namespaces[0].URI != "two" {
			t.Errorf("Parse = %+v, %v", e, err)
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	var table Table
	for range MaxTableCount {
		if err := table.Add(""); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Add(""); !errors.Is(err, ErrTableFull) {
		t.Errorf("error = %v, want ErrTableFull", err)
	}
	var large Table
	if err := large.AddEncoded([]byte{1, 'x', 5, 'y'}); err == nil {
		t.Error("a string cut short was accepted")
	}
}

func TestStaticPanicsOnAMistake(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a string that is not in the static dictionary was accepted")
		}
	}()
	Static("no such entry")
}

func TestStaticDictionary(t *testing.T) {
	if len(staticDictionary) != 487 {
		t.Errorf("%d entries, want 487", len(staticDictionary))
	}
	for id, want := range map[int]string{0x00: "mustUnderstand", 0x0A2: "", 0x290: "AckRequested", 0x372: "http://www.w3.org/2001/XMLSchema-instance", 0x3CC: "detail"} {
		if got := staticDictionary[id/2]; got != want {
			t.Errorf("entry %#x is %q, want %q", id, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{}, element(0x98, 1, 'x'))
	f.Add([]byte{3, 'o', 'n', 'e'}, []byte{0x42, 0x01, 0x0A, 0x01, 0x14, 0x2D, 0xAA, 0x01, 0xA4, 0x82, 0xAA, 0x01, 0xA6, 0x01})
	f.Add([]byte{}, element(0x03, 0x40, 1, 'n', 0x04, 1, 'a', 0x82, 0x01, 0x8B, 2, 0x00, 0x01, 0xFE, 0xFF))
	f.Add([]byte{}, element(0x96, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x3F, 0x92, 1, 2, 3, 4, 5, 6, 7, 8, 0xBC, 1, 2))
	f.Fuzz(func(t *testing.T, strings, doc []byte) {
		var table Table
		if table.AddEncoded(strings) != nil {
			return
		}
		root, err := Parse(doc, &table)
		if err != nil {
			return
		}
		size := 0
		var walk func(*Element)
		walk = func(e *Element) {
			size += len(e.Text())
			_, _ = e.Bytes()
			_, _ = e.Int()
			for _, c := range e.Children {
				walk(c)
			}
		}
		walk(root)
		if size > 4*maxText {
			t.Errorf("%d bytes of text from a document of %d", size, len(doc))
		}
	})
}
