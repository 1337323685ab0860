// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vectors holds the worked transcript of the protocol (section 12):
// exact bytes, all identifiers synthetic, against which the codecs are tested
// in both directions. Only tests import it.
package vectors

import (
	"embed"
	"encoding/hex"
	"strings"
)

//go:embed testdata
var files embed.FS

// Names of the transcript that appear in several of its messages.
const (
	Tenant    = "6f5e4d3c-2b1a-4908-8716-253443526170"
	Connector = "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"
	Group     = "9a8b7c6d-5e4f-4a3b-9c2d-1e0f1a2b3c4d"
	// Address of the reliable endpoint, as via and To carry it.
	Address  = "sb://his-nam1-test1.servicebus.windows.net/" + Tenant + "_" + Group + "_reliable"
	Instance = "g1-test-sn1-001-sb.servicebus.windows.net"
	Proxy    = "proxy-1-pta-test.connector.his.msappproxy.net"
)

// Bytes returns a vector by its name, for instance "accept". It panics if
// there is none: names are constants of tests.
func Bytes(name string) []byte {
	var digits strings.Builder
	for line := range strings.Lines(Text(name + ".hex")) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.Join(strings.Fields(line), ""))
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		panic("vectors: " + name + ": " + err.Error())
	}
	return b
}

// Text returns a file of the transcript as text, without the last line's end.
func Text(file string) string {
	data, err := files.ReadFile("testdata/" + file)
	if err != nil {
		panic("vectors: " + err.Error())
	}
	return strings.TrimRight(string(data), "\n")
}
