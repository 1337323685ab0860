// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atomicdir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustWrite(t *testing.T, dir string, payload Payload) bool {
	t.Helper()
	changed, err := Write(dir, payload)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// files reads what a user of the volume sees.
func files(t *testing.T, dir string, names ...string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		seen[name] = string(data)
	}
	return seen
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..20") {
			found = append(found, "..<time>")
			continue
		}
		found = append(found, entry.Name())
	}
	return found
}

func TestWriteReplacesAddsAndRemovesFilesAndKeepsOneGeneration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	mustWrite(t, dir, Payload{"a": {Data: []byte("1"), Mode: 0o644}, "gone": {Mode: 0o644}})
	if !mustWrite(t, dir, Payload{"a": {Data: []byte("2"), Mode: 0o644}, "identity/tls.key": {Data: []byte("k"), Mode: 0o600}}) {
		t.Error("a change was not reported")
	}
	if diff := cmp.Diff([]string{"..<time>", "..data", "a", "identity"}, names(t, dir)); diff != "" {
		t.Errorf("directory (-want +got):\n%s", diff)
	}
	want := map[string]string{"a": "2", "identity/tls.key": "k"}
	if diff := cmp.Diff(want, files(t, dir, "a", "identity/tls.key")); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "identity/tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
}

func TestWriteChangesNothingForTheSamePayload(t *testing.T) {
	dir := t.TempDir()
	payload := Payload{"d/a": {Data: []byte("1"), Mode: 0o644}}
	mustWrite(t, dir, payload)
	before, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil {
		t.Fatal(err)
	}
	if mustWrite(t, dir, payload) {
		t.Error("a change was reported")
	}
	after, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Error("the data directory was replaced")
	}
}

func TestWriteReplacesEverythingForAnotherMode(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, Payload{"a": {Mode: 0o644}})
	if !mustWrite(t, dir, Payload{"a": {Mode: 0o600}}) {
		t.Error("no change was reported")
	}
}

func TestWriteFinishesWhatACrashLeftHalfDone(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, Payload{"a": {Data: []byte("1"), Mode: 0o644}})
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, newDataLink)); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, dir, Payload{"a": {Data: []byte("1"), Mode: 0o644}})
	mustWrite(t, dir, Payload{"a": {Data: []byte("2"), Mode: 0o644}})
	if diff := cmp.Diff(map[string]string{"a": "2"}, files(t, dir, "a")); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestWriteLeavesAnOpenFileItsOldContent(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, Payload{"a": {Data: []byte("old"), Mode: 0o644}})
	open, err := os.Open(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	mustWrite(t, dir, Payload{"a": {Data: []byte("new"), Mode: 0o644}})
	buffer := make([]byte, 8)
	n, err := open.Read(buffer)
	if err != nil || string(buffer[:n]) != "old" {
		t.Errorf("read %q, %v; want the old content", buffer[:n], err)
	}
}

func TestWriteRefusesNamesThatLeaveTheVolume(t *testing.T) {
	for _, name := range []string{"../x", "/x", "..data", "a/../../x"} {
		if _, err := Write(t.TempDir(), Payload{name: {}}); err == nil {
			t.Errorf("no error for %q", name)
		}
	}
}
