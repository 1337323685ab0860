// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package environ computes what a container's process is given: the variables
// of its environment, and its command line with $(NAME) references replaced.
package environ

import "strings"

// Expand replaces $(NAME) by the variable's value. $$ stands for one $, so
// that $$(NAME) is the text $(NAME); a reference to an unknown variable and
// any other use of $ stay as they are.
func Expand(text string, variables map[string]string) string {
	var expanded strings.Builder
	for {
		start := strings.IndexByte(text, '$')
		if start < 0 || start == len(text)-1 {
			expanded.WriteString(text)
			return expanded.String()
		}
		expanded.WriteString(text[:start])
		text = text[start:]
		name, rest, closed := strings.Cut(text[2:], ")")
		value, known := variables[name]
		switch {
		case text[1] == '$':
			expanded.WriteByte('$')
			text = text[2:]
		case text[1] == '(' && closed && known:
			expanded.WriteString(value)
			text = rest
		case text[1] == '(' && closed:
			expanded.WriteString(text[:len(name)+3])
			text = rest
		default:
			expanded.WriteByte('$')
			text = text[1:]
		}
	}
}

// ExpandAll expands each text.
func ExpandAll(texts []string, variables map[string]string) []string {
	expanded := make([]string, 0, len(texts))
	for _, text := range texts {
		expanded = append(expanded, Expand(text, variables))
	}
	return expanded
}
