// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"crypto/tls"
)

// Controller is one server of an LDAP validator, for whoever wants to know
// whether it could be asked.
type Controller struct{ server *server }

// Controllers returns the servers of all forests, in the order in which they would
// be asked, and an error for each forest whose servers could not be found. The
// caller sets a deadline on ctx.
func (l *LDAP) Controllers(ctx context.Context) ([]Controller, []error) {
	var all []Controller
	var faults []error
	for _, f := range l.forests {
		servers, err := f.known(ctx)
		if len(servers) == 0 && err != nil {
			faults = append(faults, err)
		}
		for _, s := range servers {
			all = append(all, Controller{s})
		}
	}
	return all, faults
}

// Address is host:port.
func (c Controller) Address() string { return c.server.address }

// Greet connects as a validation would, up to the end of the TLS handshake, and
// hangs up. It binds as nobody, so no account's counter moves. The caller sets a
// deadline on ctx.
func (c Controller) Greet(ctx context.Context) (tls.ConnectionState, error) {
	conn, err := c.server.connect(ctx)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.close()
	return conn.secured.ConnectionState(), nil
}
