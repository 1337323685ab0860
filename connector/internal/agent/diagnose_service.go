// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/bootstrapping"
	"github.com/passthrough-dev/connector-operator/connector/internal/diagnosis"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
)

// answer is what the service said to the bootstrap.
type answer struct {
	response *bootstrap.Response
	// dated is when it was asked and answered, and what its clock showed.
	dated
}

// dated is one exchange over HTTPS.
type dated struct{ asked, answered, date time.Time }

// examineService goes the way of a bootstrap, from the proxy to the answer.
func (e *examination) examineService(ctx context.Context) {
	service := e.opts.Config.Service
	subject := net.JoinHostPort(e.host, strconv.Itoa(e.port))
	made, err := newClients(service, e.identity.Load()) // without an identity nothing is called that needs it
	if err != nil {
		e.ask(ctx, diagnosis.Check{Kind: diagnosis.TLSInspection, Subject: subject, Run: func(context.Context) diagnosis.Finding {
			return diagnosis.Finding{
				Result: diagnosis.Fail, Found: err.Error(), Meaning: "the connector does not start, since it cannot tell the service from others",
				Action: "correct the CA bundle: service.caFile of the configuration, which the operator writes from spec.service.custom",
			}
		}})
		e.ask(ctx, notAsked(subject, "the service cannot be called without its CA bundle", diagnosis.Proxy, diagnosis.Bootstrap, diagnosis.Clock)...)
		return
	}
	e.clients = made
	e.ask(ctx, e.throughProxy(subject))
	e.ask(ctx, e.inspected(e.host, e.port))
	if e.identity.Load() == nil {
		e.ask(ctx, notAsked(subject, "without a usable identity the service answers nothing", diagnosis.Bootstrap)...)
	} else {
		e.ask(ctx, diagnosis.Check{Kind: diagnosis.Bootstrap, Subject: subject, Within: 30 * time.Second, Run: e.bootstrap})
	}
	e.ask(ctx, diagnosis.Check{Kind: diagnosis.Clock, Subject: e.host, Run: e.clock})
}

func (e *examination) throughProxy(subject string) diagnosis.Check {
	proxy := e.clients.streams.proxy
	if proxy == "" {
		return notAsked("none", "no proxy is configured", diagnosis.Proxy)[0]
	}
	return diagnosis.Check{Kind: diagnosis.Proxy, Subject: proxy, Run: func(ctx context.Context) diagnosis.Finding {
		conn, err := e.clients.streams.connect(ctx, subject)
		if err == nil {
			conn.Close()
			return diagnosis.Good("it leads to %s", subject)
		}
		finding := diagnosis.Finding{
			Result: diagnosis.Fail, Found: err.Error(), Meaning: "the connector cannot reach the service",
			Action: "see that the proxy runs at " + proxy + " and takes connections from this network (spec.service.proxyURL)",
		}
		if refusal, ok := errors.AsType[*proxyRefusal](err); ok {
			finding.Action = "have the proxy let CONNECT to " + e.clients.inspection.hosts() + " through, unopened; see `connector firewall`"
			if refusal.code == http.StatusProxyAuthRequired {
				finding.Meaning = "the proxy wants credentials, which connectors do not have"
				finding.Action = "let the connectors' network through the proxy without credentials, or use another proxy"
			}
		}
		return finding
	}}
}

// inspected shakes hands with a host of the service and looks at who vouches for
// it.
func (e *examination) inspected(host string, port int) diagnosis.Check {
	return diagnosis.Check{Kind: diagnosis.TLSInspection, Subject: net.JoinHostPort(host, strconv.Itoa(port)), Run: func(ctx context.Context) diagnosis.Finding {
		conn, err := e.clients.streams.open(ctx, host, port, nil)
		if err != nil {
			return e.unverified(err, host)
		}
		defer conn.Close()
		state := conn.(*tls.Conn).ConnectionState() // open returns nothing else
		chain := state.VerifiedChains[0]
		root := chain[len(chain)-1].Subject
		if unexpected := e.clients.inspection.unexpected(state.VerifiedChains); unexpected != "" {
			return diagnosis.Finding{
				Result: diagnosis.Warn, Found: fmt.Sprintf("the certificate is trusted here and descends from %q, which is not one of the roots that the service is known to use", unexpected),
				Meaning: "probably something on the way inspects TLS with a root that this machine trusts; the connector's own certificate cannot pass it",
				Action:  "exempt " + e.clients.inspection.hosts() + " from inspection on the proxy or firewall",
			}
		}
		return diagnosis.Good("%s, a certificate until %s that descends from %q", tls.VersionName(state.Version), chain[0].NotAfter.UTC().Format(time.RFC3339), nameOf(root.CommonName, root.Organization))
	}}
}

// unverified is the finding about a handshake that failed.
func (e *examination) unverified(err error, host string) diagnosis.Finding {
	if found := e.clients.inspection.of(err); found != nil {
		return diagnosis.Finding{
			Result: diagnosis.Fail, Found: found.what, Action: found.remedy,
			Meaning: "something between this connector and the service inspects TLS, and the connector's own certificate cannot pass it",
		}
	}
	finding := diagnosis.Finding{
		Result: diagnosis.Fail, Found: err.Error(), Meaning: "no connection to " + host + " is made or trusted",
		Action: "open the way to it, see the ports below and `connector firewall`",
	}
	var failed *tls.CertificateVerificationError
	if wrong := (x509.HostnameError{}); errors.As(err, &failed) || errors.As(err, &wrong) {
		finding.Action = "see who answers in the place of " + host + ": a wrong address in DNS, a proxy's own page, or a clock that is wrong"
	}
	return finding
}

// bootstrap calls the service once, as a connector that starts does.
func (e *examination) bootstrap(ctx context.Context) diagnosis.Finding {
	store, service := e.identity.Load(), e.opts.Config.Service
	watch := &watching{next: e.clients.bootstrap.Transport}
	response, err := bootstrapping.Once(ctx, bootstrapping.Options{
		URL: service.BootstrapURL, Client: &http.Client{Transport: watch, CheckRedirect: refuseRedirects},
		Request: func() bootstrap.Request { return describe(e.opts.Config, store.Identity()) },
	})
	e.answer.Store(&answer{response, watch.last()})
	if err != nil {
		finding := diagnosis.Finding{
			Result: diagnosis.Fail, Found: err.Error(), Meaning: "the connector does not learn where to listen, and the service soon calls it inactive",
			Action: "begin with the checks above: names, proxy, TLS; see `connector firewall`",
		}
		if found := e.clients.inspection.of(err); found != nil {
			finding.Found, finding.Action = found.what, found.remedy
		} else if errors.Is(err, bootstrapping.ErrNotKnown) {
			finding.Action = "look in the portal's list of agents for this connector; if it was removed, delete the Secret of its identity, and the operator registers it anew"
		}
		return finding
	}
	e.clients.inspection.expect(response.Porto.RootCANames)
	return e.said(response)
}

// said is the finding about what the service answered.
func (e *examination) said(response *bootstrap.Response) diagnosis.Finding {
	relays, refused := relaysOf(e.opts.Config.Service, response)
	switch {
	case len(relays) == 0 && len(refused) > 0:
		return diagnosis.Finding{
			Result: diagnosis.Fail, Found: "the service named relays that this configuration does not allow: " + refused[0].Error(),
			Meaning: "the connector listens nowhere", Action: "correct the relay suffixes: service.relaySuffixes, which the operator writes from spec.service",
		}
	case len(relays) == 0:
		return diagnosis.Finding{
			Result: diagnosis.Fail, Found: "the service named no relay that is available", Meaning: "the connector listens nowhere",
			Action: "try again in ten minutes; if it stays so, ask the service's support",
		}
	case response.ConnectorState != bootstrap.StateOk && response.ConnectorState != bootstrap.StateInfoServiceMessage:
		return diagnosis.Finding{
			Result: diagnosis.Warn, Found: fmt.Sprintf("the service calls this connector's state %q and says: %s", response.ConnectorState, response.ServiceMessage),
			Meaning: "the service wants something of the administrator", Action: "do what the message says; for UpdateRequired, take a newer release",
		}
	}
	return diagnosis.Good("the service knows the certificate and names %d relays: %s", len(relays), strings.Join(relays, ", "))
}

// relaysOf are the hosts at which the connector would listen, and why it would
// not at others.
func relaysOf(service config.Service, response *bootstrap.Response) (hosts []string, refused []error) {
	seen := map[string]bool{}
	for _, endpoint := range response.Endpoints {
		host := endpoint.Host()
		if !endpoint.Available || seen[host] {
			continue
		}
		seen[host] = true
		if err := service.AllowRelayHost(host); err != nil {
			refused = append(refused, err)
			continue
		}
		hosts = append(hosts, host)
	}
	return hosts, refused
}

// clock compares this machine's time with the service's: that of the bootstrap, or
// else of any answer that its host gives.
func (e *examination) clock(ctx context.Context) diagnosis.Finding {
	var seen dated
	if bootstrapped := e.answer.Load(); bootstrapped != nil {
		seen = bootstrapped.dated
	}
	if seen.date.IsZero() {
		watch := &watching{next: e.clients.relay.Transport}
		request, err := http.NewRequestWithContext(ctx, http.MethodHead, e.opts.Config.Service.BootstrapURL+"/", nil)
		if err != nil {
			return diagnosis.NotAsked("no request could be made: %v", err)
		}
		response, err := (&http.Client{Transport: watch, CheckRedirect: refuseRedirects}).Do(request)
		if err == nil {
			_ = response.Body.Close() // a HEAD has none
		}
		if seen = watch.last(); seen.date.IsZero() {
			if finding, found := diagnosis.SkewFromCertificate(err, time.Now()); found {
				return finding
			}
			return diagnosis.NotAsked("the service gave no answer that tells its time")
		}
	}
	return diagnosis.Skew(seen.date, seen.asked, seen.answered, "the service")
}

// watching is a transport that notes what the last answer's server says is the
// time.
type watching struct {
	next http.RoundTripper

	mu   sync.Mutex // protects seen
	seen dated
}

// RoundTrip implements http.RoundTripper.
func (w *watching) RoundTrip(request *http.Request) (*http.Response, error) {
	asked := time.Now()
	response, err := w.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		w.mu.Lock()
		w.seen = dated{asked, time.Now(), date}
		w.mu.Unlock()
	}
	return response, nil
}

func (w *watching) last() dated {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}
