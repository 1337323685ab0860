// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mounts lets a process find its volumes without a mount namespace.
//
// A container's paths exist only inside the container. A process of the host
// must be told where the volume really is, so every mount path that occurs in
// its arguments and variables is replaced by the directory on the host. Paths
// inside files are out of reach: a program has to resolve those relative to
// the file.
package mounts

import (
	"path"
	"slices"
	"strings"
)

// Mapping says that the container's path is really the host's.
type Mapping struct {
	// Container is an absolute path, of Linux (/etc/x) or Windows (C:\x).
	Container string
	// Host is an absolute path on this machine.
	Host string
}

// Rewriter replaces container paths by host paths.
type Rewriter struct{ mappings []Mapping }

// NewRewriter prefers the longest container path where several match.
func NewRewriter(mappings []Mapping) *Rewriter {
	sorted := make([]Mapping, 0, len(mappings))
	for _, mapping := range mappings {
		if !isWindows(mapping.Container) {
			mapping.Container = path.Clean(mapping.Container)
		}
		sorted = append(sorted, mapping)
	}
	slices.SortStableFunc(sorted, func(a, b Mapping) int { return len(b.Container) - len(a.Container) })
	return &Rewriter{mappings: sorted}
}

// Rewrite replaces every whole occurrence in text. /etc/app does not occur in
// /etc/application nor in /opt/etc/app, but does in --config=/etc/app/a.json
// and in a list such as /a:/etc/app.
func (r *Rewriter) Rewrite(text string) string {
	var rewritten strings.Builder
	for i := 0; i < len(text); {
		mapping, found := r.at(text, i)
		if !found {
			rewritten.WriteByte(text[i])
			i++
			continue
		}
		rewritten.WriteString(mapping.Host)
		i += len(mapping.Container)
		if isWindows(mapping.Container) {
			// The rest of the path needs this machine's separators.
			end := i
			for end < len(text) && inPath(text[end]) {
				end++
			}
			rewritten.WriteString(strings.ReplaceAll(text[i:end], `\`, "/"))
			i = end
		}
	}
	return rewritten.String()
}

// RewriteAll rewrites each text.
func (r *Rewriter) RewriteAll(texts []string) []string {
	rewritten := make([]string, 0, len(texts))
	for _, text := range texts {
		rewritten = append(rewritten, r.Rewrite(text))
	}
	return rewritten
}

// at returns the mapping whose path starts at text[i], if one does.
func (r *Rewriter) at(text string, i int) (Mapping, bool) {
	if i > 0 && inPath(text[i-1]) {
		return Mapping{}, false
	}
	for _, mapping := range r.mappings {
		if mapping.Container == "/" || !hasPath(text[i:], mapping.Container) {
			continue
		}
		return mapping, true
	}
	return Mapping{}, false
}

// hasPath says whether text starts with the path and the path ends there.
func hasPath(text, prefix string) bool {
	if len(text) < len(prefix) {
		return false
	}
	matches := text[:len(prefix)] == prefix
	if isWindows(prefix) { // drive letters and names have no case there
		matches = strings.EqualFold(text[:len(prefix)], prefix)
	}
	if !matches {
		return false
	}
	return len(text) == len(prefix) || text[len(prefix)] == '/' || text[len(prefix)] == '\\' || !inPath(text[len(prefix)])
}

func isWindows(path string) bool {
	return len(path) >= 2 && path[1] == ':' || strings.Contains(path, `\`)
}

// inPath says whether the byte can be part of a path's name or a separator.
// What separates paths in lists and flags, such as = : , and quotes, cannot.
func inPath(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b >= 0x80 || strings.IndexByte(`._-+~@%/\`, b) >= 0
}
