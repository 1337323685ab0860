// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command program stands for the project's programs in tests of images: it builds
// quickly, and tells what it finds where it runs.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

var version = "dev"

func main() {
	// From the place where Go itself looks.
	bundle, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	roots := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		roots++
	}
	err = os.WriteFile("/operator", nil, 0o600)
	fmt.Printf("version %s, user %d:%d, enough roots %t, can write %t, %s\n", version, os.Getuid(), os.Getgid(), roots > 80, err == nil, types.OCILayer)
}
