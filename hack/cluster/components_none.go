// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !kubernetes

package main

// components is empty without the tag "kubernetes": building Kubernetes takes
// minutes, which `go test ./...` and `go vet ./...` of this module need not.
var components = map[string]func() int{}
