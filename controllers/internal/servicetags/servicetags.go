// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package servicetags

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"go4.org/netipx"
)

const (
	// MaxSize is how many bytes of JSON are read of a file. What is published has
	// between four and five million.
	MaxSize = 16 << 20

	// minBits is the length of the widest block that is believed, before and after
	// blocks are put together: no cloud has a 256th of all addresses in one piece.
	minBits = 8
)

// Ranges are the addresses of some tags.
type Ranges struct {
	// Blocks are IPv4, sorted, and as few as can be.
	Blocks []netip.Prefix
	// Tags are the tags that were asked for, in that order.
	Tags []Tag
}

// Tag is one tag of a file.
type Tag struct {
	Name string // as the file spells it
	// Blocks is how many IPv4 blocks the tag has by itself.
	Blocks int
}

// Read finds the addresses of tags in a file of the format of
// ServiceTags_Public.json, as it is or compressed with gzip. Tags are found
// whatever the case of their letters; addresses of IPv6 are left out. The error
// says what is wrong with the file, or which tag it does not have.
func Read(file []byte, tags []string) (Ranges, error) {
	content, err := open(file)
	if err != nil {
		return Ranges{}, err
	}
	f := finder{wanted: map[string]int{}, found: make([]*found, len(tags))}
	for i, name := range tags {
		f.wanted[strings.ToLower(name)] = i
	}
	d := json.NewDecoder(content)
	if err := f.file(d); err != nil {
		if content.left < 0 {
			return Ranges{}, fmt.Errorf("it has more than %d MiB", MaxSize>>20)
		}
		return Ranges{}, fmt.Errorf("it is not a file of service tags: %w", err)
	}
	return f.ranges(tags)
}

// open undoes compression and bounds what comes of it.
func open(file []byte) (*bounded, error) {
	content := bytes.NewReader(file)
	if !bytes.HasPrefix(file, []byte("\x1f\x8b")) { // RFC 1952
		return &bounded{content, MaxSize}, nil
	}
	unpacked, err := gzip.NewReader(content)
	if err != nil {
		return nil, fmt.Errorf("it looks like gzip and is not: %w", err)
	}
	return &bounded{unpacked, MaxSize}, nil
}

// bounded fails where io.LimitedReader would end, so that a file that is cut off
// is not taken for a whole one. left is below zero then.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errors.New("it is too large")
	}
	return n, err
}

// finder picks tags out of a file.
type finder struct {
	wanted map[string]int // by name in small letters
	found  []*found       // by the tag's place among those wanted
}

// found is a tag that was looked for.
type found struct {
	name   string
	blocks *netipx.IPSet
}

// file reads the whole file, one tag at a time.
func (f *finder) file(d *json.Decoder) error {
	if err := delimiter(d, '{'); err != nil {
		return err
	}
	seen := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if key != "values" {
			var other json.RawMessage
			if err := d.Decode(&other); err != nil {
				return err
			}
			continue
		}
		if seen {
			return errors.New("it has values twice")
		}
		seen = true
		if err := f.values(d); err != nil {
			return err
		}
	}
	if err := delimiter(d, '}'); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	if !seen {
		return errors.New("it has no values")
	}
	return nil
}

func (f *finder) values(d *json.Decoder) error {
	if err := delimiter(d, '['); err != nil {
		return err
	}
	for d.More() {
		var value struct {
			Name       string `json:"name"`
			Properties struct {
				AddressPrefixes []string `json:"addressPrefixes"`
			} `json:"properties"`
		}
		if err := d.Decode(&value); err != nil {
			return err
		}
		i, ok := f.wanted[strings.ToLower(value.Name)]
		if !ok {
			continue
		}
		if f.found[i] != nil {
			return fmt.Errorf("it has the tag %s twice", f.found[i].name)
		}
		blocks, err := aggregate(value.Properties.AddressPrefixes)
		if err != nil {
			return fmt.Errorf("tag %.64q: %w", value.Name, err)
		}
		f.found[i] = &found{value.Name, blocks}
	}
	return delimiter(d, ']')
}

// delimiter reads one of the four.
func delimiter(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%.32q stands where %q should", fmt.Sprint(got), want.String())
	}
	return nil
}

// aggregate puts the IPv4 blocks of a tag together.
func aggregate(texts []string) (*netipx.IPSet, error) {
	var set netipx.IPSetBuilder
	for _, text := range texts {
		block, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%.64q is not a block of addresses", text)
		}
		if !block.Addr().Is4() {
			continue
		}
		if block.Bits() < minBits {
			return nil, fmt.Errorf("%s is more addresses than a cloud has", block)
		}
		set.AddPrefix(block.Masked())
	}
	return set.IPSet()
}

// ranges puts the tags that were found together.
func (f *finder) ranges(tags []string) (Ranges, error) {
	var (
		all netipx.IPSetBuilder
		out Ranges
	)
	for i, tag := range tags {
		got := f.found[f.wanted[strings.ToLower(tags[i])]]
		if got == nil {
			return Ranges{}, fmt.Errorf("it has no tag %s: look its name up in the file, or take one that is there", tag)
		}
		blocks := got.blocks.Prefixes()
		if len(blocks) == 0 {
			return Ranges{}, fmt.Errorf("tag %s has no IPv4 address", got.name)
		}
		all.AddSet(got.blocks)
		out.Tags = append(out.Tags, Tag{got.name, len(blocks)})
	}
	set, err := all.IPSet()
	if err != nil {
		return Ranges{}, fmt.Errorf("putting addresses together: %w", err)
	}
	out.Blocks = set.Prefixes()
	if len(out.Blocks) == 0 {
		return Ranges{}, errors.New("no tag is asked for")
	}
	for _, block := range out.Blocks {
		if block.Bits() < minBits {
			return Ranges{}, fmt.Errorf("together the tags hold %s, which is more addresses than a cloud has", block)
		}
	}
	return out, nil
}
