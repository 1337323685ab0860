// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package desired says how the objects of a PassthroughConnector have to look.
//
// Every function is pure: it takes the specification and a few facts and returns
// an object, without a client, a clock or randomness. Objects that are applied
// are apply configurations, so that they hold what the operator decides and
// nothing that a server would default; the identity Secret, which is created
// once and never touched again, is a plain object.
//
// One connector is a ConfigMap, an identity Secret and a Deployment with one
// replica, all of them named after the PassthroughConnector and the index. The
// connectors share a ServiceAccount without any permission and a headless
// Service for those who collect metrics. Names are functions of the name and
// the index alone; the API bounds the name so that all of them stay valid.
//
// Builders take the specification as the API server defaulted it.
package desired
