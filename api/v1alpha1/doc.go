// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the API of the operator: the kind PassthroughConnector of
// the group identity.passthrough.dev.
//
// One PassthroughConnector describes the connectors of one tenant in one
// namespace: how many there are, which cloud they belong to, how they check a
// password, and how their pods look. Its status says which of them are
// registered and ready, until when their certificates last, and, if something
// is wrong, what to do about it.
//
// The package holds values only. Condition types and reasons are part of the
// API and are documented in conditions.go. Programs that write the kind by
// server-side apply find typed configurations in the applyconfiguration
// directory.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package=applyconfiguration
// +groupName=identity.passthrough.dev
package v1alpha1
