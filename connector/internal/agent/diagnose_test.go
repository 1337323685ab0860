// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/diagnosis"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

const sharedKey = "a-shared-access-key-that-nobody-may-print"

// patient is a connector to be diagnosed, whose surroundings are as they should
// be until a test spoils something.
type patient struct {
	t         *testing.T
	dir       string
	config    config.Config
	cloud     *fakeCloud
	directory *ldapserver.Server
	// certificate is the cloud's, response what it answers bootstraps with, status
	// instead of that if it is not 0, and date the time that it shows, if not zero.
	issuer   *issuer
	response bootstrap.Response
	status   int
	date     time.Time
	// noWebSockets makes relays refuse them.
	noWebSockets bool
}

// circumstances are what has to be known before the surroundings are started.
type circumstances struct {
	directory   ldapserver.Options
	certificate func(*issuer) tls.Certificate
	proxy       http.HandlerFunc
}

func newPatient(t *testing.T, c circumstances) *patient {
	t.Helper()
	p := &patient{t: t, dir: t.TempDir(), issuer: newIssuer(t, "DigiCert Test"), response: bootstrap.DefaultResponse()}
	writeIdentity(t, p.dir)
	p.response.Endpoints = []bootstrap.Endpoint{
		{Available: true, Namespace: "ns", Domain: "servicebus.test", ServicePath: "path", SharedAccessKeyName: "Connector", SharedAccessKey: sharedKey},
		{Available: false, Namespace: "gone", Domain: "servicebus.test"},
	}
	c.directory.Listen, c.directory.Dir = "127.0.0.1:0", t.TempDir()
	var err error
	p.directory, err = ldapserver.Start(t.Context(), c.directory)
	must(t, err)
	t.Cleanup(p.directory.Close)
	certificate := p.issuer.serverCertificate(cloudNames)
	if c.certificate != nil {
		certificate = c.certificate(p.issuer)
	}
	p.cloud = newFakeCloud(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	p.cloud.serve = p.serve
	proxy := p.cloud.proxy
	if c.proxy != nil {
		server := httptest.NewServer(c.proxy)
		t.Cleanup(server.Close)
		proxy = server.URL
	}
	p.config = configure(t, p.dir, p.directory, proxy)
	p.config.Service.CAFile = p.issuer.file()
	return p
}

// serve is the service and its relays.
func (p *patient) serve(w http.ResponseWriter, r *http.Request) {
	if !p.date.IsZero() {
		w.Header().Set("Date", p.date.UTC().Format(http.TimeFormat))
	}
	switch {
	case r.URL.Path == bootstrap.Path && p.status != 0:
		w.WriteHeader(p.status)
	case r.URL.Path == bootstrap.Path:
		answer, err := p.response.Marshal()
		if err != nil {
			p.t.Error(err)
		}
		_, _ = w.Write(answer)
	case r.URL.Path == relayPath && !p.noWebSockets:
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocolListener}})
		if err == nil {
			conn.CloseNow()
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (p *patient) diagnose(change ...func(*DiagnoseOptions)) *diagnosis.Report {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	opts := DiagnoseOptions{Config: p.config, Version: "test", NameServer: noNames(p.t)}
	for _, f := range change {
		f(&opts)
	}
	return Diagnose(ctx, opts)
}

// noNames is a name server that knows no name.
func noNames(t *testing.T) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	go func() {
		message := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(message)
			if err != nil {
				return
			}
			// An answer, with the code for a name that does not exist (RFC 1035 section 4.1.1).
			message[2], message[3] = message[2]|0x80, message[3]&0xF0|3
			_, _ = conn.WriteTo(message[:n], from)
		}
	}()
	return conn.LocalAddr().String()
}

// expect compares what the kinds of checks found; kinds that are not named must
// not have failed, and not be warned of.
func expect(t *testing.T, r *diagnosis.Report, want map[diagnosis.Kind]string) {
	t.Helper()
	met := map[diagnosis.Kind]bool{}
	for _, e := range r.Checks {
		found := fmt.Sprintf("%s: %s", e.Result, e.Found)
		pattern, named := want[e.Check]
		result, part, _ := strings.Cut(pattern, ": ")
		if named && string(e.Result) == result && strings.Contains(e.Found, part) {
			met[e.Check] = true
		} else if e.Result == diagnosis.Fail || e.Result == diagnosis.Warn {
			t.Errorf("%s of %s: %s", e.Check, e.Subject, found)
		}
		if needsHelp := e.Result == diagnosis.Fail || e.Result == diagnosis.Warn; needsHelp != (e.Meaning != "" && e.Action != "") {
			t.Errorf("%s of %s: %s, with the meaning %q and the action %q", e.Check, e.Subject, found, e.Meaning, e.Action)
		}
	}
	for kind, pattern := range want {
		if !met[kind] {
			t.Errorf("%s: found nothing like %q:\n%+v", kind, pattern, r.Checks)
		}
	}
	fails := slices.ContainsFunc(r.Checks, func(e diagnosis.Entry) bool { return e.Result == diagnosis.Fail })
	if r.Failed() != fails {
		t.Errorf("failed: %t", r.Failed())
	}
}

func TestNothingIsWrong(t *testing.T) {
	p := newPatient(t, circumstances{})
	report := p.diagnose()
	expect(t, report, map[diagnosis.Kind]string{
		diagnosis.IdentityFiles: "ok: of connector " + report.ConnectorID, diagnosis.IdentityDates: "ok: valid until",
		diagnosis.NamesHosts: "skipped: by address", diagnosis.NamesTCP: "skipped: by name", diagnosis.NamesSRV: "skipped: none need to be",
		diagnosis.Proxy: "ok: it leads to " + tenant, diagnosis.TLSInspection: `ok: descends from "DigiCert Test, DigiCert Test Root"`,
		diagnosis.Bootstrap: "ok: names 1 relays: ns.servicebus.test", diagnosis.Clock: "ok: agrees with the service",
		diagnosis.Ports: "ok: open, for Signalling, Rendezvous", diagnosis.Relay: "ok: a link by WebSocket",
		diagnosis.Directory: "ok: issued by", diagnosis.SecureChannel: "skipped: needs no trust", diagnosis.ValidatorProof: "ok: refused as wrong",
	})
	if report.ConnectorID == "" || report.Ports != string(config.PortsHTTPSOnly) {
		t.Errorf("report %+v", report)
	}
	// A connector that is diagnosed is not one that serves, registers or renews.
	requests, _ := p.cloud.seen()
	for _, r := range requests {
		where, _, _ := strings.Cut(r, " ")
		if !strings.HasSuffix(where, bootstrap.Path) && where != "ns.servicebus.test"+relayPath {
			t.Errorf("it asked for %s", r)
		}
	}
	var bootstraps int
	for _, r := range requests {
		if strings.Contains(r, bootstrap.Path) {
			bootstraps++
		}
	}
	if bootstraps != 1 {
		t.Errorf("%d bootstraps in %v, want one", bootstraps, requests)
	}
	if report := p.diagnose(func(o *DiagnoseOptions) { o.Ports = config.PortsDocumented }); report.Ports != "Documented" ||
		!slices.ContainsFunc(report.Checks, func(e diagnosis.Entry) bool { return strings.HasSuffix(e.Subject, ":10100-10120") }) {
		t.Errorf("the documented ports were not tried: %+v", report)
	}
}

func TestReportsHoldNoSecrets(t *testing.T) {
	p := newPatient(t, circumstances{})
	key, err := os.ReadFile(filepath.Join(p.dir, "tls.key"))
	must(t, err)
	for name, spoil := range map[string]func(){
		"all is well":       func() {},
		"the key is broken": func() { must(t, os.WriteFile(filepath.Join(p.dir, "tls.key"), key[:len(key)/2], 0o600)) },
		"relays refused":    func() { p.response.Endpoints[0].Domain = "elsewhere.test" },
	} {
		spoil()
		report := p.diagnose()
		for _, format := range diagnosis.Formats() {
			var out bytes.Buffer
			must(t, report.Write(&out, format))
			for what, secret := range map[string]string{"the key": strings.Split(string(key), "\n")[1], "a relay's key": sharedKey, "a PEM block": "-----BEGIN"} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s, %s: %s is in the report", name, format, what)
				}
			}
		}
	}
}

func TestFailuresOfTheIdentity(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*patient)
		want  map[diagnosis.Kind]string
	}{
		"missing": {func(p *patient) { must(p.t, os.Remove(filepath.Join(p.dir, "tls.crt"))) }, map[diagnosis.Kind]string{
			diagnosis.IdentityFiles: "fail: reading the connector's certificate", diagnosis.IdentityDates: "skipped: cannot be used", diagnosis.Bootstrap: "skipped: without a usable identity",
			diagnosis.Relay: "skipped: the service has named none", diagnosis.Clock: "ok: agrees", diagnosis.TLSInspection: "ok: descends",
		}},
		"another tenant's": {func(p *patient) { p.config.TenantID = "11111111-2222-4333-8444-555555555555" }, map[diagnosis.Kind]string{
			diagnosis.IdentityFiles: "fail: certificate is for tenant " + tenant,
		}},
		"a faulty pair before": {func(p *patient) {
			must(p.t, os.WriteFile(filepath.Join(p.dir, "previous.crt"), []byte("nonsense"), 0o600))
		}, map[diagnosis.Kind]string{diagnosis.IdentityFiles: "warn: the pair before the current one", diagnosis.Bootstrap: "ok: knows the certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, circumstances{})
			tc.spoil(p)
			expect(t, p.diagnose(), tc.want)
		})
	}
}

func TestDatesOfTheIdentity(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	const days = 24 * time.Hour
	for name, tc := range map[string]struct {
		from, until time.Duration
		want        diagnosis.Result
		found       string
	}{
		"fresh":              {-days, 179 * days, diagnosis.OK, "valid until 2027-05-23T12:00:00Z"},
		"due for renewal":    {-170 * days, 10 * days, diagnosis.OK, "valid until"},
		"overdue":            {-174 * days, 6 * days, diagnosis.Warn, "ends at 2026-12-01T12:00:00Z"},
		"short, not overdue": {-time.Hour, time.Hour, diagnosis.OK, "valid until"},
		"short, overdue":     {-100 * time.Minute, 20 * time.Minute, diagnosis.Warn, "ends at"},
		"ended":              {-180 * days, 0, diagnosis.Fail, "ended at 2026-11-25T12:00:00Z"},
		"not yet":            {time.Minute, 180 * days, diagnosis.Fail, "valid from 2026-11-25T12:01:00Z"},
	} {
		if got := dates(now.Add(tc.from), now.Add(tc.until), now); got.Result != tc.want || !strings.Contains(got.Found, tc.found) {
			t.Errorf("%s: %+v, want %s: …%s…", name, got, tc.want, tc.found)
		}
	}
}

func answering(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func TestFailuresOfTheProxy(t *testing.T) {
	unreachable := map[diagnosis.Kind]string{
		diagnosis.TLSInspection: "fail: the proxy", diagnosis.Bootstrap: "fail: ", diagnosis.Clock: "skipped: tells its time", diagnosis.Ports: "fail: the proxy", diagnosis.Relay: "skipped: named none",
	}
	for name, tc := range map[string]struct {
		proxy         http.HandlerFunc
		found, action string
	}{
		"it wants credentials": {answering(http.StatusProxyAuthRequired), "fail: the proxy answered 407", "without credentials"},
		"it forbids":           {answering(http.StatusForbidden), "fail: the proxy answered 403", "*.msappproxy.test, *.servicebus.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, circumstances{proxy: tc.proxy})
			report := p.diagnose()
			want := maps.Clone(unreachable)
			want[diagnosis.Proxy] = tc.found
			expect(t, report, want)
			for _, e := range report.Checks {
				if e.Check == diagnosis.Proxy && !strings.Contains(e.Action, tc.action) {
					t.Errorf("action %q, want …%s…", e.Action, tc.action)
				}
			}
		})
	}
	t.Run("it is not there", func(t *testing.T) {
		t.Parallel()
		p := newPatient(t, circumstances{})
		p.config.Service.ProxyURL = fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
		expect(t, p.diagnose(), map[diagnosis.Kind]string{
			diagnosis.Proxy: "fail: reaching the proxy", diagnosis.TLSInspection: "fail: reaching the proxy", diagnosis.Bootstrap: "fail: ",
			diagnosis.Clock: "skipped: tells its time", diagnosis.Ports: "fail: refused", diagnosis.Relay: "skipped: named none",
		})
	})
}

func TestFailuresOfTLS(t *testing.T) {
	foreign := func(names []string) func(*issuer) tls.Certificate {
		return func(i *issuer) tls.Certificate {
			return newIssuer(i.t, "Inspection\x1b[31m Inc").serverCertificate(names)
		}
	}
	for name, tc := range map[string]struct {
		certificate func(*issuer) tls.Certificate
		want        map[diagnosis.Kind]string
	}{
		"inspected": {foreign(cloudNames), map[diagnosis.Kind]string{
			diagnosis.TLSInspection: `fail: was issued by "Inspection\x1b[31m Inc, `, diagnosis.Bootstrap: "fail: was issued by", diagnosis.Clock: "skipped: tells its time",
		}},
		"another host": {func(i *issuer) tls.Certificate { return i.serverCertificate([]string{"www.msappproxy.test"}) }, map[diagnosis.Kind]string{
			diagnosis.TLSInspection: "fail: valid for www.msappproxy.test", diagnosis.Bootstrap: "fail: valid for www", diagnosis.Clock: "skipped: tells its time",
		}},
		"of another time": {func(i *issuer) tls.Certificate {
			return i.serverCertificate(cloudNames, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}, map[diagnosis.Kind]string{
			diagnosis.TLSInspection: "fail: expired", diagnosis.Bootstrap: "fail: expired", diagnosis.Clock: "fail: and it is ",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, circumstances{certificate: tc.certificate})
			report := p.diagnose()
			expect(t, report, tc.want)
			for _, e := range report.Checks {
				if strings.Contains(e.Found, "\x1b") {
					t.Errorf("%s may play with the terminal: %q", e.Check, e.Found)
				}
			}
		})
	}
	t.Run("a CA bundle that is none", func(t *testing.T) {
		t.Parallel()
		p := newPatient(t, circumstances{})
		p.config.Service.CAFile = filepath.Join(p.dir, "tls.key")
		expect(t, p.diagnose(), map[diagnosis.Kind]string{
			diagnosis.TLSInspection: "fail: holds no certificate", diagnosis.Bootstrap: "skipped: CA bundle", diagnosis.Ports: "skipped: CA bundle", diagnosis.ValidatorProof: "ok: ",
		})
	})
}

// A root that the machine trusts and the service does not use.
func TestATrustedInspectionIsWarnedOf(t *testing.T) {
	p := newPatient(t, circumstances{})
	p.response.Porto.RootCANames = []string{"Somebody Else"}
	e := &examination{opts: DiagnoseOptions{Config: p.config}}
	made, err := newClients(p.config.Service, nil)
	must(t, err)
	e.clients = made
	e.clients.inspection.service.CAFile = "" // the bundle stands for the machine's roots
	e.clients.inspection.expect([]string{"Somebody Else"})
	entry := diagnosis.Perform(t.Context(), e.inspected("ns.servicebus.test", 443))[0]
	if entry.Result != diagnosis.Warn || !strings.Contains(entry.Found, "DigiCert Test Root") || !strings.Contains(entry.Action, "exempt *.msappproxy.test") {
		t.Errorf("%+v", entry)
	}
}

func TestFailuresOfTheService(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*patient)
		want  map[diagnosis.Kind]string
	}{
		"it does not know the certificate": {func(p *patient) { p.status = http.StatusForbidden }, map[diagnosis.Kind]string{
			diagnosis.Bootstrap: "fail: does not know this connector's certificate", diagnosis.Clock: "ok: agrees", diagnosis.Relay: "skipped: named none", diagnosis.Ports: "skipped: named no relays",
		}},
		"it is down": {func(p *patient) { p.status = http.StatusServiceUnavailable }, map[diagnosis.Kind]string{diagnosis.Bootstrap: "fail: 503"}},
		"it wants an update": {func(p *patient) {
			p.response.ConnectorState, p.response.ServiceMessage = bootstrap.StateUpdateRequired, "please\x1b[31m update"
		}, map[diagnosis.Kind]string{diagnosis.Bootstrap: `warn: "UpdateRequired" and says: please[31m update`}},
		"no relay": {func(p *patient) { p.response.Endpoints = p.response.Endpoints[1:] }, map[diagnosis.Kind]string{
			diagnosis.Bootstrap: "fail: named no relay that is available", diagnosis.Relay: "skipped: named none",
		}},
		"relays elsewhere": {func(p *patient) { p.response.Endpoints[0].Domain = "elsewhere.test" }, map[diagnosis.Kind]string{
			diagnosis.Bootstrap: "fail: does not allow", diagnosis.Relay: "skipped: named none",
		}},
		"no WebSockets": {func(p *patient) { p.noWebSockets = true }, map[diagnosis.Kind]string{diagnosis.Relay: "fail: WebSocket"}},
		"the clock is off": {func(p *patient) { p.date = time.Now().Add(-time.Hour) }, map[diagnosis.Kind]string{
			diagnosis.Clock: "fail: ahead of the service",
		}},
		"the clock is a little off, and the bootstrap fails": {func(p *patient) { p.date, p.status = time.Now().Add(2*time.Minute), 500 }, map[diagnosis.Kind]string{
			diagnosis.Bootstrap: "fail: 500", diagnosis.Clock: "warn: behind the service",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, circumstances{})
			tc.spoil(p)
			expect(t, p.diagnose(), tc.want)
		})
	}
}

func TestPortsThatAreShut(t *testing.T) {
	// A proxy that leads to the cloud on the ports that it is told of.
	var cloud string
	open := map[string]bool{"443": true}
	proxy := func(w http.ResponseWriter, r *http.Request) {
		_, port, err := net.SplitHostPort(r.Host)
		if err != nil || !open[port] {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		connect(w, r, cloud)
	}
	p := newPatient(t, circumstances{proxy: proxy})
	cloud = p.cloud.address
	find := func(r *diagnosis.Report, subject string) diagnosis.Result {
		for _, e := range r.Checks {
			if e.Check == diagnosis.Ports && e.Subject == subject {
				return e.Result
			}
		}
		return ""
	}
	host := tenant + ".pta.bootstrap.his.msappproxy.test"
	documented := func(o *DiagnoseOptions) { o.Ports = config.PortsDocumented }
	report := p.diagnose(documented)
	for subject, want := range map[string]diagnosis.Result{
		host + ":443": diagnosis.OK, host + ":8080": diagnosis.Warn, host + ":10100-10120": diagnosis.Warn,
		"ns.servicebus.test:443": diagnosis.OK, "ns.servicebus.test:5671": diagnosis.Warn, "ns.servicebus.test:9352": diagnosis.Warn, "ns.servicebus.test:9350": diagnosis.Skipped,
		host + ":9090": "", host + ":9091": "", // the operator's
	} {
		if got := find(report, subject); got != want {
			t.Errorf("by WebSocket, %s: %q, want %q", subject, got, want)
		}
	}
	// The other transport needs other ports.
	p.config.Service.Transport = config.TransportAMQP
	report = p.diagnose()
	for subject, want := range map[string]diagnosis.Result{
		host + ":443": diagnosis.OK, "ns.servicebus.test:443": diagnosis.OK, "ns.servicebus.test:5671": diagnosis.Fail, "ns.servicebus.test:9352": diagnosis.Fail,
	} {
		if got := find(report, subject); got != want {
			t.Errorf("by AMQP, %s: %q, want %q", subject, got, want)
		}
	}
	if report.Ports != string(config.PortsDocumented) {
		t.Errorf("the profile is %s", report.Ports)
	}
}

func TestFailuresOfTheDirectory(t *testing.T) {
	for name, tc := range map[string]struct {
		options ldapserver.Options
		spoil   func(*patient)
		want    map[diagnosis.Kind]string
	}{
		"it accepts everything": {options: ldapserver.Options{AcceptEverything: true}, want: map[diagnosis.Kind]string{diagnosis.ValidatorProof: "fail: accepts random credentials"}},
		"it is down": {spoil: func(p *patient) { p.directory.Close() }, want: map[diagnosis.Kind]string{
			diagnosis.Directory: "fail: connect", diagnosis.ValidatorProof: "fail: not proven",
		}},
		"another authority": {spoil: func(p *patient) { p.config.Validation.LDAP.Forests[0].CAFile = p.issuer.file() }, want: map[diagnosis.Kind]string{
			diagnosis.Directory: "fail: unknown authority", diagnosis.ValidatorProof: "fail: not proven",
		}},
		"another name": {options: ldapserver.Options{HostNames: []string{"dc1.contoso.example"}, HostNamesOnly: true}, want: map[diagnosis.Kind]string{
			diagnosis.Directory: "fail: certificate", diagnosis.ValidatorProof: "fail: not proven",
		}},
		"no CA bundle": {spoil: func(p *patient) {
			p.config.Validation.LDAP.Forests[0].CAFile = filepath.Join(p.dir, "none.pem")
		}, want: map[diagnosis.Kind]string{diagnosis.Directory: "fail: read the CA bundle", diagnosis.ValidatorProof: "skipped: cannot be set up"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, circumstances{directory: tc.options})
			if tc.spoil != nil {
				tc.spoil(p)
			}
			expect(t, p.diagnose(), tc.want)
		})
	}
}

func TestOnlyKnownCloudsHaveRevocationHosts(t *testing.T) {
	for _, cloud := range []config.Cloud{config.AzurePublic, config.AzureUSGovernment} {
		endpoints, err := config.CloudEndpoints(cloud)
		must(t, err)
		e := &examination{opts: DiagnoseOptions{Config: config.Config{Service: config.Service{ServiceSuffixes: endpoints.ServiceSuffixes}}}}
		if hosts, _ := e.hostsOf(config.PeerRevocation); !slices.Contains(hosts, "ocsp.digicert.com") {
			t.Errorf("%s: %v", cloud, hosts)
		}
	}
	e := &examination{opts: DiagnoseOptions{Config: config.Config{Service: config.Service{ServiceSuffixes: []string{".msappproxy.test"}}}}}
	if hosts, why := e.hostsOf(config.PeerRevocation); hosts != nil || why == "" {
		t.Errorf("a custom cloud: %v, %q", hosts, why)
	}
}
