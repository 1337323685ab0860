// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package trust is how a connector gets and keeps its identity: the documents
// of registration and certificate renewal, the certificate request, and the
// certificate itself (protocol sections 2 and 3).
//
// The client side registers once, with an administrator's token:
//
//	csr, err := trust.NewCSR(key)
//	body, err := trust.RegistrationRequest{CSR: csr, Token: token, ...}.Marshal()
//	// POST body to <registration URL> + trust.RegistrationPath, Content-Type trust.ContentType
//	result, err := trust.ParseResult(answer)
//	identity, err := trust.ParseIdentity(certificate)
//
// and later renews over mutual TLS with the certificate it has, by a
// [RenewalRequest] over a new key to the endpoint that bootstrap named +
// [RenewalPath]; the answer has the same meaning.
//
// The cloud side reads those requests, checks the certificate request with
// [ParseCSR], and issues with [IssueCertificate] exactly the certificate the
// real service issues.
//
// Writers produce the service's own element order, prefixes and namespaces,
// since its serializer is order-sensitive. Readers look at local names only
// and ignore what they do not know, because the namespaces of some answers are
// not public. Nothing here opens a connection.
package trust
