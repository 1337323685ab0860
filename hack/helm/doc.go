// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package helm pins Helm, and tests the chart with it: this module's go.mod says
// which Helm renders the chart in its tests, as a library, and which build.sh
// builds as a program for the demo and the end-to-end tests. They are the same.
//
// It is a module of its own so that Helm's dependencies reach neither what ships
// nor the versions of the other tools.
package helm
