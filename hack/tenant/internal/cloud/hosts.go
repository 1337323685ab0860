// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/relaying"
)

// hosts are the names under which the tenant is known (protocol section 1.1).
type hosts struct {
	login        string // where administrators sign in
	registration string
	bootstraps   []string // the genuine agent's first
	renewal      string
	namespaces   []string // without the relay domain
	instances    []string
	proxy        string

	serviceDomain, relayDomain string
}

func hostsOf(tenant, service, relay string, namespaces int) hosts {
	var names []string
	for n := range namespaces {
		names = append(names, fmt.Sprintf("his-nam1-test%d", n+1))
	}
	return hosts{
		login:         "login." + service,
		registration:  tenant + ".registration." + service,
		bootstraps:    []string{tenant + ".pta.bootstrap.his." + service, tenant + ".bootstrap." + service},
		renewal:       "his-nam1-test1.renewtrust." + service,
		namespaces:    names,
		instances:     []string{"g1-test-sn1-001-sb." + relay, "g2-test-sn1-001-sb." + relay},
		proxy:         "proxy-1-pta-test.connector.his." + service,
		serviceDomain: service, relayDomain: relay,
	}
}

// certificateNames are wildcards like the service's own: a host that does not
// exist is refused by an HTTP status, not by a broken handshake.
func (h hosts) certificateNames() []string {
	return []string{
		h.login, "*.registration." + h.serviceDomain, "*.pta.bootstrap.his." + h.serviceDomain, "*.bootstrap." + h.serviceDomain,
		"*.renewtrust." + h.serviceDomain, "*.connector.his." + h.serviceDomain, "*." + h.relayDomain,
	}
}

const renewalPrefix = "/renewTrust"

// route is what one host serves.
type route struct {
	// client says whether the host asks for a client certificate. None demands
	// one in the handshake: a request without is answered with 403.
	client tls.ClientAuthType
	paths  map[string]http.HandlerFunc // in lower case: the service does not mind
}

// routes maps lower-case host names.
type routes map[string]route

func (t *Tenant) routes() routes {
	at := func(path string, h http.HandlerFunc) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{strings.ToLower(path): h}
	}
	authority := "/" + t.opts.TenantID + "/oauth2/v2.0/"
	all := routes{
		t.hosts.login:        {tls.NoClientCert, at(authority+"devicecode", t.consent.DeviceCode)},
		t.hosts.registration: {tls.NoClientCert, at(trust.RegistrationPath, t.registration.Register)},
		t.hosts.renewal:      {tls.RequestClientCert, at(renewalPrefix+trust.RenewalPath, t.registration.Renew)},
		t.hosts.proxy:        {tls.RequestClientCert, at("/subscriber/connection", t.signIns.Respond)},
	}
	all[t.hosts.login].paths[authority+"token"] = t.consent.Token
	all[t.hosts.proxy].paths[signal.FetchPath] = t.signIns.HandOut
	for _, host := range t.hosts.bootstraps {
		all[host] = route{tls.RequestClientCert, at(bootstrap.Path, t.bootstrapping.ServeHTTP)}
	}
	for _, namespace := range t.hosts.namespaces {
		all[namespace+"."+t.hosts.relayDomain] = route{tls.RequestClientCert, at(relaying.Path, t.relay.Signalling)}
	}
	for _, host := range t.hosts.instances {
		all[host] = route{tls.RequestClientCert, at(relaying.Path, t.relay.Rendezvous)}
	}
	return all
}

// ServeHTTP implements http.Handler.
func (rs routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := hostname(r.Host)
	to, ok := rs[host]
	if !ok || r.TLS == nil || !strings.EqualFold(r.TLS.ServerName, host) {
		http.Error(w, "no service of this tenant has that host name, or the TLS session is for another", http.StatusMisdirectedRequest)
		return
	}
	serve, ok := to.paths[strings.ToLower(r.URL.Path)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	serve(w, r)
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}

// tlsConfig serves one certificate for all hosts, and asks for a client's where
// the host does. Sessions are resumed, as the service does, and those of hosts that
// ask for a certificate by keys of their own: a session without one must not do there.
func (rs routes) tlsConfig(certificate tls.Certificate) *tls.Config {
	base := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{certificate},
		NextProtos:   []string{"http/1.1"},
	}
	asking := base.Clone()
	asking.ClientAuth = tls.RequestClientCert
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	asking.SetSessionTicketKeys([][32]byte{key})
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if rs[strings.ToLower(hello.ServerName)].client == tls.RequestClientCert {
			return asking, nil
		}
		return nil, nil // the base configuration
	}
	return base
}
