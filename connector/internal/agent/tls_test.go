// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"maps"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ocsp"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
)

// calls are all ways in which a connector connects to the cloud. Each returns why
// it got no further than the handshake; an answer of any kind is none.
func calls(t *testing.T, a *agent) map[string]func() error {
	t.Helper()
	const proxyHost = "p1.connector.his.msappproxy.test"
	do := func(client *http.Client, url string) error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
		must(t, err)
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	}
	// A WebSocket that is refused with a status got through the handshake.
	dialled := func(err error) error {
		if err != nil && strings.Contains(err.Error(), "expected handshake response status code") {
			return nil
		}
		return err
	}
	relay := func(host, subprotocol string) error {
		conn, err := a.clients.dialRelay(t.Context(), host, subprotocol)
		if err == nil {
			conn.Close()
		}
		return dialled(err)
	}
	return map[string]func() error{
		"bootstrap": func() error { return do(a.clients.bootstrap, a.opts.Config.Service.BootstrapURL+"/ConnectorBootstrap") },
		"answer":    func() error { return do(a.clients.service, "https://"+proxyHost+"/subscriber/connection") },
		"proxy fetch": func() error {
			conn, response, err := websocket.Dial(t.Context(), "wss://"+proxyHost+"/subscriber/websocketconnect", &websocket.DialOptions{HTTPClient: a.clients.proxy})
			if err == nil {
				conn.CloseNow()
			}
			if response != nil && response.Body != nil {
				response.Body.Close()
			}
			return dialled(err)
		},
		"listener":   func() error { return relay("ns.servicebus.test", subprotocolListener) },
		"rendezvous": func() error { return relay("g1.servicebus.test", subprotocolAccept) },
	}
}

// amqpCalls are the ways of the other transport.
func amqpCalls(t *testing.T, a *agent) map[string]func() error {
	t.Helper()
	service := a.opts.Config.Service
	service.Transport = config.TransportAMQP
	c, err := newClients(service, a.identity)
	must(t, err)
	closed := func(conn net.Conn, err error) error {
		if err == nil {
			conn.Close()
		}
		return err
	}
	return map[string]func() error{
		"AMQP listener": func() error { return closed(c.dialListener(t.Context(), "ns.servicebus.test")) },
		"AMQP rendezvous": func() error {
			return closed(c.dialInstance(t.Context(), relay.Connect{InstanceDNSAddress: "g1.servicebus.test", IPAddress: instanceIP, IPPort: instancePort}))
		},
	}
}

func TestEveryConnectionVerifiesTheOtherSide(t *testing.T) {
	ours, foreign := newIssuer(t, "Ours"), newIssuer(t, "Foreign")
	serve := func(certificate tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	stapled := func(status int) *tls.Config {
		certificate := ours.serverCertificate(cloudNames)
		response, err := ocsp.CreateResponse(ours.certificate, ours.certificate, ocsp.Response{
			Status: status, SerialNumber: big.NewInt(2), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour), RevokedAt: time.Now().Add(-time.Hour),
		}, ours.key)
		must(t, err)
		certificate.OCSPStaple = response
		return serve(certificate)
	}
	old := serve(ours.serverCertificate(cloudNames))
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	for name, tc := range map[string]struct {
		config *tls.Config
		want   string // part of the error; empty for none
	}{
		"as it should be":          {serve(ours.serverCertificate(cloudNames)), ""},
		"as it should be, stapled": {stapled(ocsp.Good), ""},
		"another authority":        {serve(foreign.serverCertificate(cloudNames)), "unknown authority"},
		"another host":             {serve(ours.serverCertificate([]string{"www.msappproxy.test"})), "valid for www.msappproxy.test, not "},
		"it has ended": {serve(ours.serverCertificate(cloudNames, func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Minute)
		})), "expired"},
		"not for servers": {serve(ours.serverCertificate(cloudNames, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})), "incompatible key usage"},
		"revoked": {stapled(ocsp.Revoked), "revoked"},
		"without the staple that it demands": {serve(ours.serverCertificate(cloudNames, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05}}}
		})), "demands a statement"},
		"TLS 1.1": {old, "protocol version not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := newFakeCloud(t, tc.config)
			a, _ := built(t, cloud, ours.file())
			all := calls(t, a)
			maps.Copy(all, amqpCalls(t, a))
			for what, call := range all {
				err := call()
				if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) && !inspectedAs(err, tc.want) {
					t.Errorf("%s: error %v, want one with %q", what, err, tc.want)
				}
			}
			requests, _ := cloud.seen()
			if tc.want != "" && len(requests) > 0 {
				t.Errorf("requests reached a server that must not be trusted: %v", requests)
			}
			if tc.want == "" && len(requests) != len(calls(t, a)) {
				t.Errorf("requests %v, want one of each kind", requests)
			}
			for _, r := range requests {
				if relay := strings.Contains(r, ".servicebus.test"); relay != strings.HasSuffix(r, " ") {
					t.Errorf("request %q: the connector's certificate belongs to the service's hosts, and to them alone", r)
				}
			}
		})
	}
}

// inspectedAs looks behind what says what to do.
func inspectedAs(err error, want string) bool {
	found := (*inspectedError)(nil)
	return errors.As(err, &found) && found.cause != nil && strings.Contains(found.cause.Error(), want)
}

func TestInspectionIsRecognisedAndSaysWhatToDo(t *testing.T) {
	service, company := newIssuer(t, "DigiCert Test"), newIssuer(t, "Contoso Security")
	refuse := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	// trust makes the connector's roots those of a machine.
	trust := func(a *agent, roots ...*issuer) {
		pool := x509.NewCertPool()
		for _, r := range roots {
			pool.AddCert(r.certificate)
		}
		a.clients.bootstrap.Transport.(inspecting).next.(*http.Transport).TLSClientConfig.RootCAs = pool
	}
	for name, tc := range map[string]struct {
		server *issuer
		roots  []*issuer
		serve  http.HandlerFunc
		bundle bool
		want   string // reason
		says   []string
	}{
		"by an authority that is not trusted": {
			company, []*issuer{service}, nil, false, config.ReasonTLSInspected,
			[]string{`"Contoso Security, Contoso Security Root"`, "*.msappproxy.test, *.servicebus.test", "exempt", "proxy or firewall"},
		},
		"by a company's authority that the machine trusts": {
			company, []*issuer{service, company}, refuse(http.StatusForbidden), false, config.ReasonTLSInspected,
			[]string{"403", "Contoso Security", "exempt"},
		},
		"refused by the service itself":         {service, []*issuer{service}, refuse(http.StatusForbidden), false, config.ReasonBootstrapFailing, []string{"403"}},
		"a company's authority and it works":    {company, []*issuer{company}, nil, false, config.ReasonStarting, nil},
		"a cloud with a bundle of its own":      {company, nil, refuse(http.StatusForbidden), true, config.ReasonBootstrapFailing, []string{"403"}},
		"a cloud whose bundle is another's":     {service, nil, nil, true, config.ReasonTLSInspected, []string{"DigiCert Test", "CA bundle"}},
		"a service that is out of order itself": {service, []*issuer{service}, refuse(http.StatusBadGateway), false, config.ReasonBootstrapFailing, []string{"502"}},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := newFakeCloud(t, &tls.Config{Certificates: []tls.Certificate{tc.server.serverCertificate(cloudNames)}, MinVersion: tls.VersionTLS12})
			cloud.serve = tc.serve
			bundle := ""
			if tc.bundle {
				bundle = company.file()
			}
			a, _ := built(t, cloud, bundle)
			if !tc.bundle {
				trust(a, tc.roots...)
			}
			a.tracker.ValidatorProven(time.Now())
			status := a.bootstrapOnce(t)
			if status.Reason != tc.want {
				t.Errorf("reason %s (%s), want %s", status.Reason, status.Message, tc.want)
			}
			for _, part := range tc.says {
				if !strings.Contains(status.Message, part) {
					t.Errorf("message %q lacks %q", status.Message, part)
				}
			}
		})
	}
}

func TestInspectionOfALinkIsRecognised(t *testing.T) {
	service, company := newIssuer(t, "DigiCert Test"), newIssuer(t, "Contoso Security")
	cloud := newFakeCloud(t, &tls.Config{Certificates: []tls.Certificate{company.serverCertificate(cloudNames)}, MinVersion: tls.VersionTLS12})
	a, _ := built(t, cloud, service.file())
	_, err := a.clients.dialRelay(t.Context(), "ns.servicebus.test", subprotocolListener)
	if found := a.clients.inspection.of(err); found == nil || !strings.Contains(found.Error(), "Contoso Security") {
		t.Errorf("error %v is not recognised as inspection", err)
	}
	if found := a.clients.inspection.of(errors.New("connection refused")); found != nil {
		t.Errorf("recognised as inspection: %v", found)
	}
}
