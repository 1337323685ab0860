// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cloud composes the tenant: it opens the state, wires the services to
// each other, listens, and stops in order.
//
// Three listeners are opened on a loopback address: TLS for every service host,
// told apart by name, or one for each documented port; the CONNECT proxy that
// leads there; pages and API.
//
//	tenant, err := cloud.Start(cloud.Options{Dir: dir, TenantID: id, Log: log})
//	... tenant.Ready() says where ...
//	err = tenant.Stop(ctx)
package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/admission"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/authority"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/bootstrapping"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/connectproxy"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/consent"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/keyring"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registration"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registry"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/relaying"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/statefile"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/token"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/web"
)

// Ready says where a tenant is served, for those who use it.
type Ready struct {
	TLS string `json:"tls"` // of port 443
	// Ports are the addresses of all documented ports, if those are served.
	Ports           map[string]string `json:"ports,omitempty"`
	Proxy           string            `json:"proxy"`
	Web             string            `json:"web"`
	CAFile          string            `json:"caFile"`
	TenantID        string            `json:"tenantID"`
	RegistrationURL string            `json:"registrationURL"`
	LoginURL        string            `json:"loginURL"`
	BootstrapURL    string            `json:"bootstrapURL"`
	// Admin is the administrator who signs in by device code, with the password in
	// AdminPasswordFile.
	Admin             string `json:"admin"`
	AdminPasswordFile string `json:"adminPasswordFile"`
}

// Tenant is a running tenant.
type Tenant struct {
	opts  Options
	hosts hosts
	ready Ready

	authority     *authority.Authority
	registry      *registry.Registry
	tokens        *token.Mint
	consent       *consent.Authority
	keys          *keyring.Ring
	tally         *tally.Tally
	relay         *relaying.Relay
	signIns       *signin.Service
	registration  *registration.Service
	bootstrapping *bootstrapping.Service
	proxy         *connectproxy.Proxy

	// servers in the order in which they stop.
	servers []*http.Server
	// taking are the listeners that are no HTTP server's.
	taking  []net.Listener
	serving sync.WaitGroup
	failed  chan error
}

// state is what a tenant remembers of itself.
type state struct {
	TenantID string `json:"tenantID"`
	// GroupID is that of the connector group; it is part of relay paths.
	GroupID string `json:"groupID"`
	// Ports of the last start.
	Ports struct {
		TLS   int `json:"tls"`
		Proxy int `json:"proxy"`
		Web   int `json:"web"`
	} `json:"ports"`
}

// Start opens the state and serves. Call Stop when done.
func Start(opts Options) (*Tenant, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding the directory for the tenant's state: %w", err)
	}
	opts.Dir, opts.TenantID = dir, strings.ToLower(opts.TenantID)
	t := &Tenant{opts: opts, hosts: hostsOf(opts.TenantID, opts.ServiceDomain, opts.RelayDomain, opts.Namespaces), tally: tally.New(), failed: make(chan error, 64)}
	s, err := t.open()
	if err != nil {
		return nil, err
	}
	if err := t.wire(s.GroupID); err != nil {
		return nil, err
	}
	if err := t.listen(s); err != nil {
		return nil, errors.Join(err, t.Stop(context.Background()))
	}
	return t, nil
}

// Ready says where the tenant is served.
func (t *Tenant) Ready() Ready { return t.ready }

// Failed yields an error if a listener stops by itself.
func (t *Tenant) Failed() <-chan error { return t.failed }

// open reads or makes everything that survives a restart.
func (t *Tenant) open() (*state, error) {
	file := filepath.Join(t.opts.Dir, "tenant.json")
	var s state
	found, err := statefile.ReadJSON(file, &s)
	if err != nil {
		return nil, err
	}
	if found && s.TenantID != t.opts.TenantID {
		return nil, fmt.Errorf("%s holds the state of tenant %s, not of %s: use another --dir", t.opts.Dir, s.TenantID, t.opts.TenantID)
	}
	if !found {
		s.TenantID, s.GroupID = t.opts.TenantID, guid.New().String()
		if err := statefile.WriteJSON(file, s); err != nil {
			return nil, err
		}
	}
	if t.authority, err = authority.Open(t.opts.Dir, t.opts.ServiceDomain); err != nil {
		return nil, err
	}
	if t.registry, err = registry.Open(filepath.Join(t.opts.Dir, "agents"), 3*t.opts.BootstrapInterval); err != nil {
		return nil, err
	}
	if t.tokens, err = token.Open(t.opts.Dir, t.opts.TenantID, t.opts.ServiceDomain); err != nil {
		return nil, err
	}
	t.consent, err = consent.Open(t.opts.Dir, t.tokens, t.opts.Log.WithName("consent"))
	return &s, err
}

// wire makes the services and introduces them to each other.
func (t *Tenant) wire(group string) error {
	tenant, err := guid.Parse(t.opts.TenantID)
	if err != nil {
		return err
	}
	path := t.opts.TenantID + "_" + group
	var endpoints []bootstrapping.Endpoint
	var paths []keyring.Path
	// First all plain ones, then all reliable ones, as the service does.
	for _, kind := range t.opts.kinds() {
		path := path + kind.suffix
		for _, namespace := range t.hosts.namespaces {
			endpoints = append(endpoints, bootstrapping.Endpoint{Namespace: namespace, Domain: t.opts.RelayDomain, Path: path, Reliable: kind.reliable})
			paths = append(paths, keyring.Path{Host: namespace + "." + t.opts.RelayDomain, Path: path})
		}
	}
	if t.keys, err = keyring.Open(t.opts.Dir, paths, t.registry); err != nil {
		return err
	}
	desk := admission.Desk{Authority: t.authority, Agents: t.registry}
	named := func(name string) logr.Logger { return t.opts.Log.WithName(name) }
	t.relay = relaying.New(relaying.Options{
		Authorizer: t.keys, Instances: t.hosts.instances, TokenGrace: t.opts.TokenGrace, Tally: t.tally, Log: named("relay"),
	})
	t.signIns = signin.New(signin.Options{
		TenantID: t.opts.TenantID, ProxyHost: t.hosts.proxy, Relay: t.relay, Agents: t.registry, Admitter: desk,
		AcceptTimeout: t.opts.AcceptTimeout, ResponseTimeout: t.opts.ResponseTimeout, SessionIdle: t.opts.SessionIdle, Delivery: t.opts.Delivery,
		ReturnPorts: t.opts.Ports.returnPorts(), Tally: t.tally, Log: named("signin"),
	})
	t.registration = &registration.Service{
		Tenant: tenant, Lifetime: t.opts.CertificateLifetime, Tokens: t.tokens, Issuer: t.authority, Agents: t.registry,
		Admitter: desk, Tally: t.tally, Log: named("registration"),
	}
	t.bootstrapping = &bootstrapping.Service{
		Admitter: desk, Agents: t.registry, Keys: t.keys, Endpoints: endpoints, Interval: t.opts.BootstrapInterval,
		ResponseTimeout: t.opts.ResponseTimeout, RenewalEndpoint: "https://" + t.opts.Ports.authority(t.hosts.renewal, portRenewal) + renewalPrefix,
		RootName: authority.RootName, Tally: t.tally, Log: named("bootstrap"),
	}
	return nil
}

// listen opens the three listeners and remembers their ports.
func (t *Tenant) listen(s *state) error {
	certificate, err := t.authority.ServerCertificate(t.hosts.certificateNames(), t.revocationLists())
	if err != nil {
		return err
	}
	target, err := t.listenTLS(s, certificate)
	if err != nil {
		return err
	}
	proxy, err := t.bind(t.opts.Listen, s.Ports.Proxy)
	if err != nil {
		return err
	}
	defer closeUnless(&err, proxy)
	var pages net.Listener
	if t.opts.Web != "" {
		pages, err = listenTCP(t.opts.Web)
	} else {
		pages, err = t.bind(t.opts.pages(), s.Ports.Web)
	}
	if err != nil {
		return err
	}
	defer closeUnless(&err, pages)
	s.Ports.Proxy, s.Ports.Web = port(proxy), port(pages)
	if err = statefile.WriteJSON(filepath.Join(t.opts.Dir, "tenant.json"), s); err != nil {
		return err
	}

	t.proxy = &connectproxy.Proxy{
		Domains: []string{t.opts.ServiceDomain, t.opts.RelayDomain}, Target: target,
		Tally: t.tally, Log: t.opts.Log.WithName("proxy"),
	}
	site := &web.Site{
		SignIns: t.signIns, Agents: t.registry, Listeners: t.relay, Tokens: t.tokens, Consent: t.consent, Bootstraps: t.bootstrapping, Keys: t.keys, Certificates: t.registration,
		Tally: t.tally, Log: t.opts.Log.WithName("web"),
	}
	t.consent.DecideAt("http://" + pages.Addr().String() + web.ConsentPath)
	t.serve("web", pages, site.Handler())
	// Who signs in is to be answered first, before agents lose the service.
	slices.Reverse(t.servers)
	t.serve("proxy", proxy, t.proxy)
	t.ready = Ready{
		TLS: t.ready.TLS, Ports: t.ready.Ports, Proxy: "http://" + proxy.Addr().String(), Web: "http://" + pages.Addr().String(),
		CAFile: t.authority.RootFile(), TenantID: t.opts.TenantID,
		RegistrationURL: "https://" + t.opts.Ports.authority(t.hosts.registration, portRegistration),
		BootstrapURL:    "https://" + t.opts.Ports.authority(t.hosts.bootstraps[0], portBootstrap),
		LoginURL:        "https://" + t.hosts.login,
		Admin:           consent.Administrator, AdminPasswordFile: t.consent.PasswordFile(),
	}
	return nil
}

// listenTLS opens the service's ports, and returns where each is.
func (t *Tenant) listenTLS(s *state, certificate tls.Certificate) (target func(port string) (string, bool), err error) {
	if t.opts.Ports == PortsDocumented {
		t.ready.Ports, err = t.openDoors(certificate)
		t.ready.TLS = t.ready.Ports[strconv.Itoa(portHTTPS)]
		return func(port string) (string, bool) {
			address, ok := t.ready.Ports[port]
			return address, ok
		}, err
	}
	wanted := s.Ports.TLS
	if !t.opts.loopback() {
		wanted = portHTTPS // connectors come by themselves, not through the proxy
	}
	service, err := t.bind(t.opts.Listen, wanted)
	if err != nil {
		return nil, err
	}
	s.Ports.TLS, t.ready.TLS = port(service), service.Addr().String()
	all := t.routes()
	t.serve("tls", tls.NewListener(service, all.tlsConfig(certificate)), all)
	// Whatever the port: connectors that were configured for another one come
	// through the proxy, too.
	return func(string) (string, bool) { return t.ready.TLS, true }, nil
}

// closeUnless closes a listener if what follows it failed.
func closeUnless(err *error, l net.Listener) {
	if *err != nil {
		l.Close()
	}
}

// bind listens on a port, such as that of the last start, so that connectors
// find the tenant again; or on a free one if that is taken or not allowed. The
// proxy leads there in any case.
func (t *Tenant) bind(host string, last int) (net.Listener, error) {
	if last != 0 {
		l, err := listenTCP(net.JoinHostPort(host, strconv.Itoa(last)))
		if err == nil {
			return l, nil
		}
		t.opts.Log.Info("The port is taken or not allowed", "port", last, "why", err.Error())
	}
	return listenTCP(net.JoinHostPort(host, "0"))
}

func listenTCP(address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}

func port(l net.Listener) int {
	if address, ok := l.Addr().(*net.TCPAddr); ok {
		return address.Port
	}
	return 0
}

// serve runs an HTTP/1.1 server: WebSockets need no other version.
func (t *Tenant) serve(name string, l net.Listener, h http.Handler) {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(logWriter{t.opts.Log.WithName(name).V(1)}, "", 0),
		Protocols:         &http.Protocols{},
	}
	server.Protocols.SetHTTP1(true)
	t.servers = append(t.servers, server)
	t.serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.failed <- fmt.Errorf("serving %s: %w", name, err)
		}
	})
}

// logWriter passes what net/http has to say to the log.
type logWriter struct{ log logr.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Info("Served with trouble", "what", strings.TrimSpace(string(p)))
	return len(p), nil
}

// Stop ends the tenant: first the pages, while agents can still answer; then
// the services; listeners are told. ctx bounds the wait for requests under way.
func (t *Tenant) Stop(ctx context.Context) error {
	var errs []error
	for _, server := range t.servers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("waiting for requests under way: %w", err), server.Close())
		}
	}
	for _, l := range t.taking {
		l.Close()
	}
	t.signIns.Hangup(ctx)
	t.relay.Close()
	t.signIns.Close()
	if t.proxy != nil {
		t.proxy.Close()
	}
	t.serving.Wait()
	return errors.Join(errs...)
}
