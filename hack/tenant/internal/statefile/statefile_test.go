// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package statefile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/statefile"
)

func TestStateSurvivesAndStaysPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "state.json")
	var got map[string]int
	if found, err := statefile.ReadJSON(path, &got); found || err != nil {
		t.Fatalf("reading what is not there: %v, %v", found, err)
	}
	for n := range 2 {
		if err := statefile.WriteJSON(path, map[string]int{"n": n}); err != nil {
			t.Fatal(err)
		}
		if found, err := statefile.ReadJSON(path, &got); !found || err != nil || got["n"] != n {
			t.Errorf("read %v, %v, %v; want n = %d", got, found, err, n)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, want 0600", info.Mode())
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v; want the file alone", entries, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := statefile.ReadJSON(path, &got); err == nil {
		t.Error("a damaged file was read without an error")
	}
}
