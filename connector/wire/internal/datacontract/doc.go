// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package datacontract reads and writes XML as .NET's DataContractSerializer
// does, for the documents of registration, renewal and bootstrap.
//
// encoding/xml cannot choose prefixes or the place of namespace declarations,
// and the service's serializer is particular about both, so [Writer] builds a
// document by hand: elements in the order of the calls, names with the prefixes
// they are given, every text escaped. The bytes depend on nothing else.
//
// Reading is the opposite: [Parse] makes a small tree in which names are local
// names and everything else about namespaces is gone. It bounds size, depth and
// number of elements, and refuses document type declarations, the source of
// entity attacks.
package datacontract
