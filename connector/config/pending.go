// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config is the configuration file and status document of a connector.
package config

import "errors"

var errPending = errors.New("being written")

// Load reads, parses (defaults applied), validates and resolves the file.
func Load(path string) (Config, error) { return Config{}, errPending }

// Parse decodes strictly, applies defaults, sets Digest and validates.
func Parse(data []byte) (Config, error) { return Config{}, errPending }

func (c Config) WithDefaults() Config      { return c }
func (c Config) Validate() error           { return errPending }
func (c Config) Marshal() ([]byte, error)  { return nil, errPending }
func (c Config) Resolve(dir string) Config { return c }

// Digest is the hex SHA-256 of the file's bytes.
func Digest(file []byte) string { return "" }

// AllowReturnHost: ServiceSuffixes, ports 443 and 10100-10120.
func (s Service) AllowReturnHost(host string, port int) error { return errPending }

// AllowRelayHost: RelaySuffixes.
func (s Service) AllowRelayHost(host string) error { return errPending }

// AllowServiceURL: https URL from the wire (renewal, bootstrap override) under ServiceSuffixes.
func (s Service) AllowServiceURL(raw string) error { return errPending }
