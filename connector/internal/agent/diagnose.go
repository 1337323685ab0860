// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/diagnosis"
	"github.com/passthrough-dev/connector-operator/connector/internal/identity"
)

// DiagnoseOptions of Diagnose; Config and Version are required.
type DiagnoseOptions struct {
	Config  config.Config
	Version string
	// Ports is the profile whose ports are tried; empty means the one that the
	// transport works with.
	Ports config.PortProfile
	// NameServer is address and port of the name server that the checks of names
	// ask; empty means the machine's own.
	NameServer string
}

// Diagnose looks at everything that the connector of a configuration depends on
// and reports what it found. It uses the connector's own parts, so that what works
// here works there. It registers nothing, renews nothing and takes no request: of
// the service it asks one bootstrap, which a connector asks every ten minutes, and
// opens a link to each relay without listening on it.
//
// Every check is bounded, and ctx bounds them all.
func Diagnose(ctx context.Context, opts DiagnoseOptions) *diagnosis.Report {
	c := opts.Config
	if opts.Ports == "" {
		opts.Ports = portsOf(c.Service.Transport)
	}
	e := &examination{opts: opts, names: diagnosis.Names{Server: opts.NameServer}, report: &diagnosis.Report{
		APIVersion: diagnosis.APIVersion, Version: opts.Version, Time: time.Now().UTC().Truncate(time.Second),
		TenantID: c.TenantID, MachineName: c.MachineName, System: runtime.GOOS + "/" + runtime.GOARCH,
		Transport: c.Service.Transport, Method: c.Validation.Method, Ports: string(opts.Ports),
	}}
	e.host, e.port = hostAndPort(c.Service.BootstrapURL)
	directory, err := directoryOf(ctx, c.Validation)
	if err != nil {
		directory = unusable{err}
	}
	defer directory.close()

	e.examineIdentity(ctx)
	e.examineNames(ctx, directory)
	e.examineService(ctx)
	e.examineNetwork(ctx)
	e.examineDirectory(ctx, directory)
	return e.report
}

// portsOf is the profile that has what a transport works with.
func portsOf(transport string) config.PortProfile {
	if transport == config.TransportAMQP {
		return config.PortsDocumented
	}
	return config.PortsHTTPSOnly
}

// examination is a diagnosis that is being made.
type examination struct {
	opts   DiagnoseOptions
	report *diagnosis.Report
	names  diagnosis.Names
	host   string // of bootstraps
	port   int

	// What checks found that later ones build on; nil and empty if they could not.
	identity atomic.Pointer[identity.Store]
	answer   atomic.Pointer[answer]
	clients  *clients
	relays   []string // hosts to listen at
}

// ask makes checks and reports them.
func (e *examination) ask(ctx context.Context, checks ...diagnosis.Check) {
	e.report.Add(diagnosis.Perform(ctx, checks...)...)
}

// notAsked are the checks of kinds that could not be made.
func notAsked(subject, why string, kinds ...diagnosis.Kind) []diagnosis.Check {
	var checks []diagnosis.Check
	for _, kind := range kinds {
		checks = append(checks, diagnosis.Check{Kind: kind, Subject: subject, Run: func(context.Context) diagnosis.Finding {
			return diagnosis.NotAsked("%s", why)
		}})
	}
	return checks
}

func (e *examination) examineIdentity(ctx context.Context) {
	files := e.opts.Config.Identity
	e.ask(ctx, diagnosis.Check{Kind: diagnosis.IdentityFiles, Subject: files.CertificateFile, Run: e.loadIdentity})
	store := e.identity.Load()
	if store == nil {
		e.ask(ctx, notAsked(files.CertificateFile, "the certificate cannot be used", diagnosis.IdentityDates)...)
		return
	}
	id := store.Identity()
	e.report.ConnectorID = id.ConnectorID
	e.ask(ctx, diagnosis.Check{Kind: diagnosis.IdentityDates, Subject: files.CertificateFile, Run: func(context.Context) diagnosis.Finding {
		return dates(id.NotBefore, id.NotAfter, time.Now())
	}})
}

// loadIdentity reads the identity as the connector does.
func (e *examination) loadIdentity(context.Context) diagnosis.Finding {
	c := e.opts.Config
	store, err := identity.Load(c.Identity.CertificateFile, c.Identity.KeyFile, c.TenantID)
	if err != nil {
		return diagnosis.Finding{
			Result: diagnosis.Fail, Found: err.Error(), Meaning: "the connector does not start without its identity",
			Action: "look at the condition Registered of the PassthroughConnector and at the Secret of the identity, which the operator writes and the pod mounts",
		}
	}
	e.identity.Store(store)
	// The current pair is good; what is left to complain of is the one before.
	if _, err := store.Reload(); err != nil {
		return diagnosis.Finding{
			Result: diagnosis.Warn, Found: err.Error(),
			Meaning: "passwords that the service still encrypts for the certificate before the current one cannot be read",
			Action:  "remove " + identity.PreviousCertificateFile + " and " + identity.PreviousKeyFile + " from the Secret of the identity once every sign-in succeeds, or restore them",
		}
	}
	found := diagnosis.Good("certificate %s of connector %s", store.Identity().Thumbprint, store.Identity().ConnectorID)
	if previous := store.Previous(); len(previous) > 0 {
		found.Found += fmt.Sprintf("; the key of the certificate before it (%s) is held, too", previous[0])
	}
	return found
}

// maxOverdue is when a renewal is overdue at the latest: the operator says so at
// the same time.
const maxOverdue = 7 * 24 * time.Hour

func dates(notBefore, notAfter, now time.Time) diagnosis.Finding {
	left := notAfter.Sub(now)
	switch {
	case now.Before(notBefore):
		return diagnosis.Finding{
			Result: diagnosis.Fail, Found: "the certificate is valid from " + notBefore.UTC().Format(time.RFC3339) + " on, which is still to come by the clock here",
			Meaning: "the service refuses it, or the clock here is wrong", Action: "compare this machine's clock with a time server",
		}
	case left <= 0:
		return diagnosis.Finding{
			Result: diagnosis.Fail, Found: "the certificate ended at " + notAfter.UTC().Format(time.RFC3339),
			Meaning: "the service refuses this connector until it is registered anew",
			Action:  "give the operator what the condition Registered asks for, such as a fresh token: it registers the connector anew",
		}
	case left < min(maxOverdue, notAfter.Sub(notBefore)/4):
		return diagnosis.Finding{
			Result: diagnosis.Warn, Found: "the certificate ends at " + notAfter.UTC().Format(time.RFC3339),
			Meaning: "its renewal is overdue", Action: "look at the condition CertificatesCurrent of the PassthroughConnector: it says why the operator cannot renew",
		}
	}
	return diagnosis.Good("valid until %s", notAfter.UTC().Format(time.RFC3339))
}

// examineNames looks up the hosts that are dialled from here.
func (e *examination) examineNames(ctx context.Context, directory examinable) {
	var checks []diagnosis.Check
	service, who := e.host, "the bootstrap service"
	if proxy := e.opts.Config.Service.ProxyURL; proxy != "" {
		service, _ = hostAndPort(proxy)
		who = "the proxy"
	}
	hosts := append([]string{service}, directory.hosts()...)
	for i, host := range hosts {
		if slices.Index(hosts, host) != i {
			continue
		}
		checks = append(checks, e.names.Host(host, who))
		who = "the domain controller"
	}
	checks = append(checks, e.names.OverTCP(firstName(hosts)))
	domains, needed := directory.domains()
	for _, domain := range domains {
		checks = append(checks, e.names.Controllers(domain, needed))
	}
	e.ask(ctx, checks...)
}

// firstName is the first host that is not an address; "" if there is none.
func firstName(hosts []string) string {
	for _, host := range hosts {
		if net.ParseIP(host) == nil {
			return host
		}
	}
	return ""
}

// hostAndPort takes a URL apart that the configuration's reader has validated.
func hostAndPort(raw string) (host string, port int) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", 0
	}
	if port, err = strconv.Atoi(u.Port()); err != nil {
		port = config.PortHTTPS
	}
	return u.Hostname(), port
}
