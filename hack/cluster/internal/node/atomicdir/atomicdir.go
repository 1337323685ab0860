// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package atomicdir writes a set of files so that readers see all of the old
// set or all of the new one, never a mixture: the way the kubelet publishes
// secrets, config maps and projected volumes.
//
// The files live in a directory with a fresh name; the link ..data points to
// it; each file's name is a link into ..data. Replacing ..data by a rename
// switches every file at once:
//
//	config.json -> ..data/config.json
//	..data      -> ..2026_11_23_14_00_00.123456789
//	..2026_11_23_14_00_00.123456789/config.json
package atomicdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
	// stamp names data directories for people; MkdirTemp makes them unique.
	stamp = "..2006_01_02_15_04_05."
)

// File is the content and mode of one file.
type File struct {
	Data []byte
	Mode fs.FileMode
}

// Payload maps relative, slash-separated paths to files.
type Payload map[string]File

// Write makes dir hold exactly the payload, and says whether anything had to
// change. The directory is made if it does not exist. One writer per directory.
func Write(dir string, payload Payload) (changed bool, err error) {
	for name := range payload {
		if !filepath.IsLocal(name) || strings.HasPrefix(name, "..") {
			return false, fmt.Errorf("the file name %q leaves the volume or is reserved", name)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("making the volume's directory: %w", err)
	}
	previous, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("reading the volume's data link: %w", err)
	}
	if previous != "" && same(filepath.Join(dir, previous), payload) {
		// A crash may have come between the swap and the links.
		return false, link(dir, payload)
	}
	fresh, err := writeFresh(dir, payload)
	if err != nil {
		return false, err
	}
	if err := swap(dir, fresh); err != nil {
		_ = os.RemoveAll(filepath.Join(dir, fresh))
		return false, err
	}
	if err := link(dir, payload); err != nil {
		return true, err
	}
	return true, removeOld(dir, fresh)
}

func writeFresh(dir string, payload Payload) (string, error) {
	root, err := os.MkdirTemp(dir, time.Now().UTC().Format(stamp))
	if err != nil {
		return "", fmt.Errorf("making the volume's data directory: %w", err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return "", fmt.Errorf("opening the volume's data directory: %w", err)
	}
	for name, file := range payload {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("making a directory of the volume: %w", err)
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			return "", fmt.Errorf("writing a file of the volume: %w", err)
		}
		if err := os.Chmod(path, file.Mode.Perm()); err != nil { // beside the umask
			return "", fmt.Errorf("setting the mode of a file of the volume: %w", err)
		}
	}
	return filepath.Base(root), nil
}

func swap(dir, fresh string) error {
	temporary := filepath.Join(dir, newDataLink)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a left-over link of the volume: %w", err)
	}
	if err := os.Symlink(fresh, temporary); err != nil {
		return fmt.Errorf("linking the volume's data: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, dataLink)); err != nil {
		return fmt.Errorf("switching the volume's data: %w", err)
	}
	return nil
}

// link makes the names users see match the payload's first path elements.
func link(dir string, payload Payload) error {
	wanted := map[string]bool{}
	for name := range payload {
		first, _, _ := strings.Cut(filepath.ToSlash(name), "/")
		wanted[first] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing the volume: %w", err)
	}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case strings.HasPrefix(name, ".."):
		case wanted[name]:
			delete(wanted, name)
		default:
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("removing a file that left the volume: %w", err)
			}
		}
	}
	for name := range wanted {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("linking a file of the volume: %w", err)
		}
	}
	return nil
}

func removeOld(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing the volume: %w", err)
	}
	for _, entry := range entries {
		if name := entry.Name(); entry.IsDir() && strings.HasPrefix(name, "..") && name != keep {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("removing the volume's previous data: %w", err)
			}
		}
	}
	return nil
}

// same compares the directory with the payload: names, contents and modes.
func same(root string, payload Payload) bool {
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file, wanted := payload[filepath.ToSlash(name)]
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !wanted || info.Mode().Perm() != file.Mode.Perm() || !bytes.Equal(data, file.Data) {
			return fs.SkipAll
		}
		seen++
		return nil
	})
	return err == nil && seen == len(payload)
}
