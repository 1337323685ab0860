// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config is what the operator and the connector agree on: the file that
// the operator writes and the connector reads, and the status document that the
// connector serves and the operator reads. Both sides use these types, and both
// validate, so that neither can mean something the other does not.
//
// The operator builds a [Config], calls Validate, and writes Marshal's bytes; it
// compares their [Digest] with Status.ConfigDigest to see whether a connector
// has picked them up. The connector calls [Load].
//
// The package also holds what is known of each cloud before anything was asked
// of it ([CloudEndpoints]), and decides which hosts named on the wire may be
// dialled (the Allow methods of [Service]): signals are not signed, so a host
// that a signal names is believed only if it lies under a configured suffix.
package config
