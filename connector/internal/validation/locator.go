// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Discovery finds the domain controllers of a forest by DNS, in the records that
// they register themselves ([MS-ADTS] 6.3.2.3).
type Discovery struct {
	// Domain is the DNS name of a domain whose domain controllers are asked. They
	// find users of the whole forest.
	Domain string
	// Site is the Active Directory site whose domain controllers are asked first;
	// empty: all are equal.
	Site string
}

// Resolver looks service records up. *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

const (
	// lookAgain is after how long DNS is asked again, sooner by up to a fifth as
	// jitter.
	lookAgain = 5 * time.Minute
	// lookSoon is the same after a lookup that failed, or when no domain controller
	// that is known answers.
	lookSoon = 10 * time.Second
	// lookupDeadline bounds one lookup.
	lookupDeadline = 5 * time.Second
	// maxLocated bounds the domain controllers that are used: each has a share of a
	// validation's time if those before it do not answer.
	maxLocated = 16
)

// locator keeps a list of servers that DNS names. Nothing of it runs by itself:
// who asks for the list starts a lookup when one is due.
type locator struct {
	Discovery

	resolver Resolver
	open     func(host string) *server // makes a server
	notify   func(hosts []string, err error)

	mu      sync.Mutex // protects what follows
	servers []*server
	err     error // of the last lookup
	due     time.Time
	looking chan struct{} // closed when the lookup that runs has ended; nil: none runs
	closed  bool

	life    context.Context // of lookups
	end     context.CancelFunc
	lookups sync.WaitGroup
}

func newLocator(f Forest, roots *x509.CertPool, opts LDAPOptions) *locator {
	port := portLDAPS
	if f.StartTLS {
		port = portLDAP
	}
	at := Discovery{Domain: canonicalSuffix(f.Discovery.Domain), Site: f.Discovery.Site}
	life, end := context.WithCancel(context.Background())
	return &locator{
		life: life, end: end,
		Discovery: at,
		resolver:  opts.Resolver,
		open:      func(host string) *server { return newServer(host, port, roots, f.StartTLS, opts) },
		notify:    func(hosts []string, err error) { opts.Located(at.Domain, hosts, err) },
	}
}

// check finds what cannot be looked up.
func (d *Discovery) check() (faults []error) {
	if !dnsName.MatchString(canonicalSuffix(d.Domain)) {
		faults = append(faults, fmt.Errorf("discovery: %q is not the DNS name of a domain, such as corp.contoso.example", d.Domain))
	}
	if d.Site != "" && !siteName.MatchString(d.Site) {
		faults = append(faults, fmt.Errorf("discovery: %q is not the name of a site: it is one label of letters, digits and hyphens, at most 63", d.Site))
	}
	return faults
}

var (
	dnsName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$`)
	siteName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
)

// list returns the servers, in the order in which to ask them. It waits only while
// none is known and a lookup runs.
func (l *locator) list(ctx context.Context) ([]*server, error) {
	l.mu.Lock()
	if !l.closed && l.looking == nil && !time.Now().Before(l.due) {
		looking := make(chan struct{})
		l.looking = looking
		l.lookups.Go(func() { l.look(looking) })
	}
	servers, err, looking := l.servers, l.err, l.looking
	l.mu.Unlock()
	if len(servers) > 0 || looking == nil {
		return servers, err
	}
	select {
	case <-looking:
	case <-ctx.Done():
		return nil, fmt.Errorf("looking for domain controllers: %w", context.Cause(ctx))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.servers, l.err
}

// hurry has the next call of list look again, since no server has answered.
func (l *locator) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if soon := time.Now().Add(lookSoon); soon.Before(l.due) {
		l.due = soon
	}
}

// look asks DNS once. What was known stays in use if DNS does not answer.
func (l *locator) look(done chan struct{}) {
	ctx, cancel := context.WithTimeout(l.life, lookupDeadline)
	defer cancel()
	hosts, err := l.hosts(ctx)

	l.mu.Lock()
	changed := err != nil || l.err != nil
	l.err = err
	pause := lookAgain
	if err != nil {
		pause = lookSoon
	} else {
		changed = l.use(hosts) || changed
	}
	l.due = time.Now().Add(pause - rand.N(pause/5)) //nolint:gosec // jitter needs no secrecy
	l.looking = nil
	close(done)
	l.mu.Unlock()
	if changed {
		l.notify(hosts, err)
	}
}

// use replaces the list, and keeps the servers that are still named: they have
// connections. It reports whether others are named now. The caller holds mu.
func (l *locator) use(hosts []string) (changed bool) {
	known := map[string]*server{}
	for _, s := range l.servers {
		known[s.tls.ServerName] = s
	}
	servers := make([]*server, 0, len(hosts))
	for _, host := range hosts {
		s := known[host]
		if s == nil {
			s, changed = l.open(host), true
		}
		delete(known, host)
		if l.closed {
			s.close()
		}
		servers = append(servers, s)
	}
	for _, s := range known {
		s.close()
		changed = true
	}
	l.servers = servers
	return changed
}

// hosts asks for the domain controllers of the site and of the domain. One of the
// two answers is enough: what failed is told all the same.
func (l *locator) hosts(ctx context.Context) ([]string, error) {
	var hosts []string
	var faults []error
	for _, place := range l.places() {
		_, records, err := l.resolver.LookupSRV(ctx, "ldap", "tcp", place)
		if err != nil {
			faults = append(faults, fmt.Errorf("look up domain controllers: %w", err))
			continue
		}
		for _, record := range records { // sorted by priority, shuffled by weight
			host := strings.ToLower(strings.TrimSuffix(record.Target, "."))
			if !l.within(host) {
				faults = append(faults, fmt.Errorf("DNS names %q as a domain controller, which is not under %s: it is not asked", host, l.Domain))
				continue
			}
			if !slices.Contains(hosts, host) && len(hosts) < maxLocated {
				hosts = append(hosts, host)
			}
		}
	}
	if len(hosts) > 0 {
		return hosts, nil
	}
	if len(faults) == 0 {
		faults = append(faults, fmt.Errorf("DNS names no domain controller of %s", l.Domain))
	}
	return nil, errors.Join(faults...)
}

// places are the names to look up, the nearest first. The last dot keeps the
// resolver from trying its search domains.
func (l *locator) places() []string {
	all := "dc._msdcs." + l.Domain + "."
	if l.Site == "" {
		return []string{all}
	}
	return []string{l.Site + "._sites." + all, all}
}

// within reports whether a host is in the domain. DNS is not authenticated: a name
// from it must not lead to a server elsewhere, for which any authority that is
// trusted may have issued a certificate.
func (l *locator) within(host string) bool {
	return strings.HasSuffix(host, "."+l.Domain) && len(host) <= 253
}

func (l *locator) close() {
	l.mu.Lock()
	l.closed = true
	for _, s := range l.servers {
		s.close()
	}
	l.mu.Unlock()
	l.end()
	l.lookups.Wait()
}
