// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package servicetags_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
	"github.com/passthrough-dev/connector-operator/controllers/internal/servicetags"
)

// sample is a file as it is published, but for its length and its addresses.
func sample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "ServiceTags_Test.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func texts(blocks []netip.Prefix) string {
	var all []string
	for _, b := range blocks {
		all = append(all, b.String())
	}
	return strings.Join(all, " ")
}

func TestReadPutsBlocksTogether(t *testing.T) {
	for name, tc := range map[string]struct {
		tags []string
		want string
		each []int
	}{
		"one tag":                  {[]string{"Login"}, "192.0.2.0/25 198.51.100.7/32", []int{2}},
		"two that touch":           {[]string{"Login", "Bus"}, "192.0.2.0/24 198.51.100.7/32", []int{2, 1}},
		"in another order":         {[]string{"Bus", "Login"}, "192.0.2.0/24 198.51.100.7/32", []int{1, 2}},
		"one that holds another":   {[]string{"Bus", "Bus.North"}, "192.0.2.128/25", []int{1, 1}},
		"in other letters":         {[]string{"bus.NORTH"}, "192.0.2.160/27", []int{1}},
		"blocks with host bits":    {[]string{"Sloppy"}, "203.0.113.0/24", []int{1}},
		"halves, and one of these": {[]string{"Halves"}, "203.0.113.0/24", []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			for form, file := range map[string][]byte{"plain": sample(t), "gzip": fixture.Gzip(t, sample(t))} {
				got, err := servicetags.Read(file, tc.tags)
				if err != nil {
					t.Fatalf("%s: %v", form, err)
				}
				var each []int
				for _, tag := range got.Tags {
					each = append(each, tag.Blocks)
				}
				if diff := cmp.Diff(tc.want, texts(got.Blocks)) + cmp.Diff(tc.each, each); diff != "" {
					t.Errorf("%s (-want +got):\n%s", form, diff)
				}
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		file string
		tags []string
		want string
	}{
		"nothing":                 {"", []string{"A"}, "unexpected EOF"},
		"no JSON":                 {"<html>", []string{"A"}, "invalid character"},
		"another document":        {`["values"]`, []string{"A"}, `"[" stands where "{" should`},
		"no values":               {`{"cloud": "Public"}`, []string{"A"}, "it has no values"},
		"values twice":            {`{"values": [], "values": []}`, []string{"A"}, "values twice"},
		"values of another kind":  {`{"values": {}}`, []string{"A"}, `"{" stands where "[" should`},
		"a tag of another kind":   {`{"values": [1]}`, []string{"A"}, "cannot unmarshal"},
		"an end too early":        {`{"values": [{"name": "A"}]`, []string{"A"}, "unexpected EOF"},
		"something after the end": {`{"values": []} {}`, []string{"A"}, "something follows its end"},
		"a tag twice":             {one("A", "192.0.2.0/24") + one("a", "192.0.2.0/24"), []string{"A"}, "it has the tag A twice"},
		"a tag that is not there": {one("A", "192.0.2.0/24"), []string{"B"}, "it has no tag B: look its name up"},
		"a tag without addresses": {one("A", ""), []string{"A"}, "tag A has no IPv4 address"},
		"a tag of IPv6 alone":     {one("A", "2001:db8::/32"), []string{"A"}, "tag A has no IPv4 address"},
		"no block":                {one("A", "192.0.2.1"), []string{"A"}, `"192.0.2.1" is not a block of addresses`},
		"every address":           {one("A", "0.0.0.0/0"), []string{"A"}, "0.0.0.0/0 is more addresses than a cloud has"},
		"half of all":             {one("A", "128.0.0.0/1"), []string{"A"}, "more addresses than a cloud has"},
		"much in small pieces":    {one("A", "20.0.0.0/8") + one("B", "21.0.0.0/8"), []string{"A", "B"}, "together the tags hold 20.0.0.0/7"},
		"no tag asked for":        {one("A", "192.0.2.0/24"), nil, "no tag is asked for"},
		"broken gzip":             {"\x1f\x8bhello", []string{"A"}, "looks like gzip and is not"},
		"gzip that is cut off":    {string(fixture.Gzip(t, sample(t))[:200]), []string{"Login"}, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			file := tc.file
			if strings.HasPrefix(file, `{"name"`) {
				file = `{"values": [` + strings.ReplaceAll(file, "}}{", "}}, {") + "]}"
			}
			got, err := servicetags.Read([]byte(file), tc.tags)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, want an error with %q", got, err, tc.want)
			}
		})
	}
}

// one is a tag of a file.
func one(name, block string) string {
	if block != "" {
		block = `"` + block + `"`
	}
	return fmt.Sprintf(`{"name": %q, "properties": {"addressPrefixes": [%s]}}`, name, block)
}

// TestReadStopsAtItsBound unpacks a file that is a thousand times larger than it
// looks.
func TestReadStopsAtItsBound(t *testing.T) {
	for name, between := range map[string]byte{"of white space": ' ', "of one string": 'x'} {
		t.Run(name, func(t *testing.T) {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			if _, err := w.Write([]byte(`{"cloud": "`)); err != nil {
				t.Fatal(err)
			}
			for range 17 {
				if _, err := w.Write(bytes.Repeat([]byte{between}, 1<<20)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.Write([]byte(`", "values": []}`)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if packed.Len() > 100<<10 {
				t.Fatalf("it is packed into %d bytes", packed.Len())
			}
			if _, err := servicetags.Read(packed.Bytes(), []string{"A"}); err == nil || err.Error() != "it has more than 16 MiB" {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestReadTakesFilesAsLargeAsThePublishedOne reads four megabytes, of which what
// is asked for is a small part.
func TestReadTakesFilesAsLargeAsThePublishedOne(t *testing.T) {
	tags := map[string][]string{"AzureActiveDirectory": fixture.Scattered(0, 200), "ServiceBus.WestEurope": fixture.Scattered(10, 23)}
	for i := range 1010 {
		tags[fmt.Sprintf("Other%d.Region", i)] = fixture.Scattered(20, 240)
	}
	file := fixture.ServiceTags(t, 376, tags)
	if len(file) < 4<<20 {
		t.Fatalf("the file has %d bytes only", len(file))
	}
	got, err := servicetags.Read(fixture.Gzip(t, file), []string{"AzureActiveDirectory", "ServiceBus.WestEurope"})
	if err != nil || len(got.Blocks) != 223 {
		t.Errorf("%d blocks, %v", len(got.Blocks), err)
	}
}

// FuzzRead holds that whatever a file says, what comes of it is a sorted list of
// IPv4 blocks that do not touch, none of them wider than a cloud is.
func FuzzRead(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "ServiceTags_Test.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, "Login")
	f.Add([]byte(`{"values": [`+one("A", "192.0.2.0/24")+`]}`), "A")
	f.Add([]byte(`{"values": [`+one("A", "0.0.0.0/8")+"]}"), "a")
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), "A")
	f.Fuzz(func(t *testing.T, file []byte, tag string) {
		got, err := servicetags.Read(file, []string{tag})
		if err != nil {
			return
		}
		if len(got.Blocks) == 0 || len(got.Tags) != 1 {
			t.Fatalf("got %+v without an error", got)
		}
		for i, block := range got.Blocks {
			if !block.Addr().Is4() || block != block.Masked() || block.Bits() < 8 {
				t.Errorf("block %s", block)
			}
			if i > 0 && (!got.Blocks[i-1].Addr().Less(block.Addr()) || got.Blocks[i-1].Overlaps(block)) {
				t.Errorf("%s stands before %s", got.Blocks[i-1], block)
			}
		}
		if bytes.HasPrefix(file, []byte("\x1f\x8b")) {
			return
		}
		again, err := servicetags.Read(fixture.Gzip(t, file), []string{tag})
		if err != nil || !slices.Equal(got.Blocks, again.Blocks) {
			t.Errorf("compressed: %v, %v", again, err)
		}
	})
}
