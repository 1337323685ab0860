// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary double as the connector, so that the scripts
// drive the program as users do: arguments, exit codes, what it prints.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"connector": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
