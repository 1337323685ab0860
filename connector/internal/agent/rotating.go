// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/tls"
	"net/http"
	"sync/atomic"
)

// rotating is a transport whose connections and TLS sessions can be given up:
// requests that are under way keep their connection, later ones make new ones.
type rotating struct {
	settings *tls.Config // that each transport begins with
	current  atomic.Pointer[http.Transport]
}

// use makes a transport the one that later requests take, with sessions of its own.
// It returns the one before, nil if there was none.
func (r *rotating) use(next *http.Transport) (before *http.Transport) {
	next.TLSClientConfig = newSessions().resuming(r.settings)
	return r.current.Swap(next)
}

// RoundTrip implements http.RoundTripper.
func (r *rotating) RoundTrip(request *http.Request) (*http.Response, error) {
	return r.current.Load().RoundTrip(request)
}

// CloseIdleConnections makes the method of that name of http.Client work.
func (r *rotating) CloseIdleConnections() { r.current.Load().CloseIdleConnections() }

// renew gives up the connections that were made with an earlier certificate, and
// the sessions, which would go on showing it. An idle connection would be kept for
// minutes, a busy one for as long as it is busy, while the service stops to accept
// that certificate.
func (c *clients) renew() {
	for _, r := range c.rotating {
		r.use(r.current.Load().Clone()).CloseIdleConnections()
	}
}
