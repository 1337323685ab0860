// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// MaxBytes is the size of the largest file that is read.
const MaxBytes = 256 << 10

// Load reads the file, parses it, and makes its file names absolute. The error
// names every fault of the file at once. Unlike Parse it refuses what the system
// that it runs on cannot do.
func Load(path string) (Config, error) {
	f, err := open(path)
	if err != nil {
		return Config{}, fmt.Errorf("opening the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, fmt.Errorf("configuration file %s: %w", path, err)
	}
	if c.Validation.Method == MethodLogonUser && runtime.GOOS != "windows" {
		return Config{}, fmt.Errorf("configuration file %s: validation.method: is %q, which needs Windows; run the connector there, or write %q", path, MethodLogonUser, MethodLDAP)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("finding the directory of configuration file %s: %w", path, err)
	}
	return c.Resolve(dir), nil
}

// A folder that a kubelet is swapping is whole again within these.
const (
	openAttempts = 10
	openPause    = 100 * time.Millisecond
)

// open opens a file. On Windows a kubelet that replaces a folder's contents takes
// the old away before it puts the new there: a file that is not there is looked
// for again for a second.
func open(path string) (f *os.File, err error) {
	for range openAttempts {
		if f, err = os.Open(path); !errors.Is(err, os.ErrNotExist) {
			return f, err
		}
		time.Sleep(openPause)
	}
	return nil, err
}

// Parse reads the file's bytes, fills in the defaults, sets Digest and
// validates. It is strict: a field it does not know, or anything behind the
// document, is an error.
func Parse(data []byte) (Config, error) {
	if len(data) > MaxBytes {
		return Config{}, fmt.Errorf("it has more than the %d bytes allowed", MaxBytes)
	}
	// Editors on Windows put a byte order mark in front.
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF"))))
	dec.DisallowUnknownFields()
	var c Config
	if err := dec.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("it is not a configuration: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("it is not a configuration: there is something behind the JSON document; remove it")
	}
	c = c.WithDefaults()
	c.Digest = Digest(data)
	return c, c.Validate()
}

// Marshal returns the file for the configuration, indented, the same bytes for
// the same values.
func (c Config) Marshal() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration: %w", err)
	}
	return append(data, '\n'), nil
}

// Digest names the bytes of a configuration file: their SHA-256 in hex.
func Digest(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// WithDefaults returns the configuration with what it leaves out filled in.
func (c Config) WithDefaults() Config {
	orInt := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	if c.Service.Transport == "" {
		c.Service.Transport = TransportWebSocket
	}
	orInt(&c.Validation.TimeoutSeconds, DefaultTimeoutSeconds)
	orInt(&c.Validation.MaxConcurrent, DefaultMaxConcurrent)
	orInt(&c.Health.Port, DefaultHealthPort)
	return c
}

// Resolve returns the configuration with file names relative to dir made
// absolute. The original is left as it was.
func (c Config) Resolve(dir string) Config {
	absolute := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	c.Identity.CertificateFile = absolute(c.Identity.CertificateFile)
	c.Identity.KeyFile = absolute(c.Identity.KeyFile)
	c.Service.CAFile = absolute(c.Service.CAFile)
	if c.Validation.LDAP != nil {
		ldap := LDAP{Forests: slices.Clone(c.Validation.LDAP.Forests)}
		for i := range ldap.Forests {
			ldap.Forests[i].CAFile = absolute(ldap.Forests[i].CAFile)
		}
		c.Validation.LDAP = &ldap
	}
	return c
}
