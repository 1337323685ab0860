// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package walls holds the tests that keep the rooms of the repository apart:
// who may import whom, that every file carries its licence header, that every
// package says what it is for, and that no package is named after nothing.
//
// The compiler enforces the first wall (internal directories) and the linter
// the second (depguard); these tests see what both miss, dependencies of
// dependencies above all.
package walls
