// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

// Defaults of LDAPOptions.
const (
	DefaultMaxConnections = 64
	DefaultIdleTimeout    = time.Minute
)

// LDAPOptions configures an LDAP validator.
type LDAPOptions struct {
	// Forests are the directories; at least one.
	Forests []Forest
	// MaxConnections bounds the connections to one server; 0 means
	// DefaultMaxConnections. A validation uses one connection by itself, so this
	// should not be less than the bound on validations.
	MaxConnections int
	// IdleTimeout is how long a connection without work is kept; 0 means
	// DefaultIdleTimeout. Domain controllers themselves give up after 15 minutes.
	IdleTimeout time.Duration
	// Dial makes connections; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolver finds domain controllers where a forest has Discovery; nil means
	// net.DefaultResolver.
	Resolver Resolver
	// Located, if set, is called when discovery finds other domain controllers than
	// before, or fails, or works again. It is called concurrently and must not block.
	Located func(domain string, hosts []string, err error)
}

// Forest is one directory: who it knows, and where it is.
type Forest struct {
	// Suffixes are the domain parts of the names that it knows. A suffix covers
	// its subdomains, unless another forest has a longer one that fits. One
	// forest may have none: it gets the names that no suffix fits.
	Suffixes []string
	// Servers are ldaps://host or ldaps://host:port (default 636), tried in order.
	// With StartTLS they are ldap://host or ldap://host:port (default 389).
	Servers []string
	// Discovery finds the servers in place of Servers; nil if they are listed.
	Discovery *Discovery
	// StartTLS has TLS begin on a connection to the port of plain LDAP, before
	// anything else is said on it. A server that does not take it is not used.
	StartTLS bool
	// CAFile is a PEM bundle that replaces the system's roots; empty: system.
	CAFile string
}

// LDAP is a Validator that binds to domain controllers with the user's name and
// password (a simple bind, over TLS only).
type LDAP struct {
	forests []*forest
}

// NewLDAP returns a validator. It reads the CA files and connects to nothing.
// The error names every fault in the options.
func NewLDAP(opts LDAPOptions) (*LDAP, error) {
	if opts.MaxConnections == 0 {
		opts.MaxConnections = DefaultMaxConnections
	}
	if opts.IdleTimeout == 0 {
		opts.IdleTimeout = DefaultIdleTimeout
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	if opts.Resolver == nil {
		opts.Resolver = net.DefaultResolver
	}
	if opts.Located == nil {
		opts.Located = func(string, []string, error) {}
	}
	var faults []error
	if len(opts.Forests) == 0 {
		faults = append(faults, errors.New("no forest is configured"))
	}
	l := &LDAP{}
	for i, f := range opts.Forests {
		built, err := newForest(f, opts)
		if err != nil {
			faults = append(faults, fmt.Errorf("forest %d: %w", i, err))
			continue
		}
		l.forests = append(l.forests, built)
	}
	faults = append(faults, checkSuffixes(opts.Forests)...)
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("configure LDAP validation: %w", err)
	}
	return l, nil
}

// Close closes the idle connections, and those in use when they come back. The
// validator must not be used afterwards.
func (l *LDAP) Close() {
	for _, f := range l.forests {
		f.close()
	}
}

// ProbeSuffixes returns one name suffix for each forest, for [Prove].
func (l *LDAP) ProbeSuffixes() []string {
	suffixes := make([]string, 0, len(l.forests))
	for _, f := range l.forests {
		suffixes = append(suffixes, f.probeSuffix())
	}
	return suffixes
}

// Validate binds as upn to a server of the forest that the name's suffix
// belongs to. domain is not used: the domain controllers of a forest find the
// account by its user principal name.
//
// Codes of its own: 1326 for an empty password, 87 for a name that cannot be a
// user principal name, 1355 for a suffix of no forest (none of these reach a
// server); 1311 when no server could be reached, 1722 when all were busy, 1359
// for TLS failures and answers that are neither yes nor no, 1726 when a server
// got the bind and did not answer, 1450 when no connection became free.
func (l *LDAP) Validate(ctx context.Context, upn, _ string, password *secret.Buffer) Result {
	suffix, err := checkName(upn)
	if err != nil {
		return Refused(InvalidParameter, err)
	}
	if err := checkPassword(password); err != nil {
		return Refused(LogonFailure, err)
	}
	f := l.route(suffix)
	if f == nil {
		return Refused(NoSuchDomain, fmt.Errorf("no forest is configured for names under %q", suffix))
	}
	return f.validate(ctx, upn, password)
}
