// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"sync"
	"time"
)

const (
	// foreignFor is for how long a key identifier counts after a request named it.
	foreignFor = 24 * time.Hour
	// maxForeign bounds the identifiers: a tenant has 40 connectors with a few
	// certificates each.
	maxForeign = 1024
	// maxIdentifier is above what an identifier of the service has: a GUID, an
	// underscore and a thumbprint.
	maxIdentifier = 128
)

// foreign remembers for which other connectors requests were encrypted lately.
// Whoever can register a connector in the tenant receives every password; a
// connector that nobody knows of shows here (protocol section 11). Its methods
// may be called concurrently.
type foreign struct {
	mu    sync.Mutex
	named map[string]time.Time // key identifier, lower case, to when it was last named
}

// note takes the identifiers of one request, and returns the connectors among
// them that were not known.
func (f *foreign) note(identifiers []string, now time.Time) (strangers []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.connectors(now)
	if f.named == nil {
		f.named = map[string]time.Time{}
	}
	for _, id := range identifiers {
		if len(id) > maxIdentifier {
			continue
		}
		id = strings.ToLower(id)
		if _, ok := f.named[id]; !ok && len(f.named) >= maxForeign {
			continue
		}
		f.named[id] = now
		if c := connectorOf(id); !known[c] {
			known[c] = true
			strangers = append(strangers, c)
		}
	}
	return strangers
}

// count returns how many connectors and certificates were named lately.
func (f *foreign) count(now time.Time) (connectors, certificates int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	connectors = len(f.connectors(now))
	return connectors, len(f.named)
}

// connectors forgets what is old and returns the connectors of the rest.
func (f *foreign) connectors(now time.Time) map[string]bool {
	all := map[string]bool{}
	for id, at := range f.named {
		if now.Sub(at) > foreignFor {
			delete(f.named, id)
			continue
		}
		all[connectorOf(id)] = true
	}
	return all
}

// connectorOf is the part of a key identifier before the thumbprint.
func connectorOf(identifier string) string {
	if i := strings.LastIndexByte(identifier, '_'); i >= 0 {
		return identifier[:i]
	}
	return identifier
}
