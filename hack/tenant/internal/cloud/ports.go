// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ports says on which ports the service's hosts are.
type Ports string

// The choices. The zero value stands for PortsHTTPS.
const (
	// PortsHTTPS has everything on 443, as the service has today.
	PortsHTTPS Ports = "https"
	// PortsDocumented has everything where the service's documentation says
	// (protocol section 1.2), and nothing elsewhere.
	PortsDocumented Ports = "documented"
)

// Validate reports a choice that is none.
func (p Ports) Validate() error {
	if p != "" && p != PortsHTTPS && p != PortsDocumented {
		return fmt.Errorf("%.32q is neither %s nor %s", string(p), PortsHTTPS, PortsDocumented)
	}
	return nil
}

const (
	portRevocation    = 80
	portHTTPS         = 443
	portAMQP          = 5671
	portBootstrap     = 8080
	portRegistration  = 9090
	portRenewal       = 9091
	portRendezvous    = 9352
	portResponseFirst = 10100
	portResponseLast  = 10120
)

func responsePorts() []int {
	var all []int
	for port := portResponseFirst; port <= portResponseLast; port++ {
		all = append(all, port)
	}
	return all
}

// returnPorts are those that requests name, none where 443 overrides them.
func (p Ports) returnPorts() []int {
	if p != PortsDocumented {
		return nil
	}
	return responsePorts()
}

// authority returns host and port as they are in a URL.
func (p Ports) authority(host string, documented int) string {
	if p != PortsDocumented || documented == portHTTPS {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(documented))
}

// revocationHost serves the list of revoked TLS certificates, by plain HTTP: it
// is signed.
func (h hosts) revocationHost() string { return "crl." + h.serviceDomain }

const revocationPath = "/ca.crl"

// revocationLists are the URLs for certificates.
func (t *Tenant) revocationLists() []string {
	if t.opts.Ports != PortsDocumented {
		return nil
	}
	return []string{"http://" + t.hosts.revocationHost() + revocationPath}
}

// door is what is behind one port.
type door struct {
	port int
	// Either serves HTTP over TLS, by plain HTTP, or takes connections.
	routes routes
	plain  http.Handler
	take   func(net.Conn)
}

// doors are those of the documented ports.
func (t *Tenant) doors(settings *tls.Config) []door {
	all := t.routes()
	only := func(hosts ...string) routes {
		some := routes{}
		for _, host := range hosts {
			some[host] = all[host]
		}
		return some
	}
	var namespaces []string
	for _, namespace := range t.hosts.namespaces {
		namespaces = append(namespaces, namespace+"."+t.hosts.relayDomain)
	}
	among := func(hosts []string) func(string) bool {
		return func(host string) bool {
			for _, h := range hosts {
				if strings.EqualFold(h, host) {
					return true
				}
			}
			return false
		}
	}
	// WebSockets stay on 443: there is no other port for them.
	https := slices.Concat([]string{t.hosts.login}, t.hosts.bootstraps, namespaces, t.hosts.instances)
	list := []door{
		{port: portHTTPS, routes: only(https...)},
		{port: portBootstrap, routes: only(t.hosts.bootstraps...)},
		{port: portRegistration, routes: only(t.hosts.registration)},
		{port: portRenewal, routes: only(t.hosts.renewal)},
		{port: portAMQP, take: func(c net.Conn) { t.relay.TakeSignalling(c, settings, among(namespaces)) }},
		{port: portRendezvous, take: func(c net.Conn) { t.relay.TakeRendezvous(c, settings, among(t.hosts.instances)) }},
		{port: portRevocation, plain: t.revocation()},
	}
	for _, port := range responsePorts() {
		list = append(list, door{port: port, routes: only(t.hosts.proxy)})
	}
	return list
}

// openDoors listens on the documented ports, and returns the addresses by port.
func (t *Tenant) openDoors(certificate tls.Certificate) (map[string]string, error) {
	addresses := map[string]string{}
	for _, d := range t.doors(routes{}.tlsConfig(certificate)) {
		listener, err := t.bind(t.opts.Listen, d.port)
		if err != nil {
			return nil, err
		}
		addresses[strconv.Itoa(d.port)] = listener.Addr().String()
		name := "port" + strconv.Itoa(d.port)
		switch {
		case d.take != nil:
			t.takeAll(name, listener, d.take)
		case d.plain != nil:
			t.serve(name, listener, d.plain)
		default:
			t.serve(name, tls.NewListener(listener, d.routes.tlsConfig(certificate)), d.routes)
		}
	}
	return addresses, nil
}

// takeAll hands every connection on, until the listener is closed.
func (t *Tenant) takeAll(name string, l net.Listener, take func(net.Conn)) {
	t.taking = append(t.taking, l)
	t.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.failed <- fmt.Errorf("serving %s: %w", name, err)
				return
			}
			t.serving.Go(func() { take(conn) })
		}
	})
}

// revocation serves the list of revoked TLS certificates.
func (t *Tenant) revocation() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hostname(r.Host) != t.hosts.revocationHost() || r.URL.Path != revocationPath {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "use GET", http.StatusMethodNotAllowed)
			return
		}
		list, err := t.authority.RevocationList(time.Now())
		if err != nil {
			t.opts.Log.Error(err, "Cannot sign the revocation list")
			http.Error(w, "the service failed, see its log", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/pkix-crl")
		if _, err := w.Write(list); err != nil {
			t.opts.Log.V(1).Info("A revocation list did not reach its reader", "why", err.Error())
		}
	})
}
