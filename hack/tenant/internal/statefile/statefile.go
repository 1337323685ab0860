// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package statefile keeps the tenant's state in files of one directory, so that
// a restarted tenant is the same tenant: a file is written whole or not at all,
// and only its owner may read it.
package statefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write replaces a file: the content goes to a temporary file beside it, to
// disk, and then takes its place.
func Write(path string, content []byte) error {
	if err := write(path, content); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func write(path string, content []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return f.Close()
}

// WriteJSON replaces a file by a JSON document.
func WriteJSON(path string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return Write(path, append(content, '\n'))
}

// ReadJSON reads a JSON document. It reports false, and no error, if there is
// no such file.
func ReadJSON(path string, v any) (bool, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the tenant's state: %w", err)
	}
	if err := json.Unmarshal(content, v); err != nil {
		return false, fmt.Errorf("reading the tenant's state in %s: %w", path, err)
	}
	return true, nil
}
