// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"
	"sync/atomic"
)

// rotating is a transport whose connections can be given up: requests that are
// under way keep theirs, later ones make new ones.
type rotating struct {
	current atomic.Pointer[http.Transport]
}

// RoundTrip implements http.RoundTripper.
func (r *rotating) RoundTrip(request *http.Request) (*http.Response, error) {
	return r.current.Load().RoundTrip(request)
}

// CloseIdleConnections makes the method of that name of http.Client work.
func (r *rotating) CloseIdleConnections() { r.current.Load().CloseIdleConnections() }

// renew gives up the connections that were made with an earlier certificate. An
// idle one would be kept for minutes, a busy one for as long as it is busy, while
// the service stops to accept that certificate.
func (c *clients) renew() {
	next := c.rotating.current.Load().Clone()
	c.rotating.current.Swap(next).CloseIdleConnections()
	c.proxy.CloseIdleConnections() // its connections carry one request each
}
