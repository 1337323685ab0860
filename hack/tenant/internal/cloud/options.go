// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/hack/internal/testaddress"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
)

// Options configure a tenant. Those with a default may be left zero.
type Options struct {
	// Dir holds everything that survives a restart. Required.
	Dir string
	// TenantID is a GUID. Required, and the same for every start in one Dir.
	TenantID string
	// Listen is the address to listen on, loopback or kept for documentation (RFC
	// 5737, for network namespaces of tests); default 127.0.0.1.
	Listen string
	// Web is the loopback address and port of pages and API; default: Listen, if
	// that is a loopback address, else 127.0.0.1,
	// and the port of the last start, or a free one.
	Web string
	// ServiceDomain and RelayDomain stand for msappproxy.net and
	// servicebus.windows.net; default msappproxy.test and servicebus.test. They
	// must be under reserved top-level domains.
	ServiceDomain, RelayDomain string
	// BootstrapInterval is how often connectors are told to bootstrap; default
	// 10 minutes. An agent counts as active for three intervals.
	BootstrapInterval time.Duration
	// CertificateLifetime is that of connector certificates; default 180 days.
	CertificateLifetime time.Duration
	// AcceptTimeout and ResponseTimeout bound a sign-in, see package signin;
	// default 5 s and 15 s.
	AcceptTimeout, ResponseTimeout time.Duration
	// TokenGrace is how long a listener outlives its token; default 5 minutes.
	TokenGrace time.Duration
	// Ports says on which ports the service's hosts are; default PortsHTTPS.
	Ports Ports
	// Namespaces is how many relay namespaces there are, 1 to 16; default 4.
	Namespaces int
	// Endpoints restricts what each has: a plain and a reliable endpoint by
	// default, or only the one kind.
	Endpoints signin.Endpoint
	// SessionIdle is how long a reliable session without a request stays open;
	// default one minute.
	SessionIdle time.Duration
	// Delivery is how requests reach connectors that were found; default
	// signin.DeliverAuto.
	Delivery signin.Delivery
	Log      logr.Logger
}

func (o Options) withDefaults() Options {
	text := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	duration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	text(&o.Listen, "127.0.0.1")
	text(&o.ServiceDomain, "msappproxy.test")
	text(&o.RelayDomain, "servicebus.test")
	duration(&o.BootstrapInterval, 10*time.Minute)
	duration(&o.CertificateLifetime, 180*24*time.Hour)
	duration(&o.AcceptTimeout, 5*time.Second)
	duration(&o.ResponseTimeout, 15*time.Second)
	duration(&o.TokenGrace, 5*time.Minute)
	duration(&o.SessionIdle, time.Minute)
	if o.Namespaces == 0 {
		o.Namespaces = 4
	}
	return o
}

// Validate reports every fault at once. It looks at options as [Start] would
// complete them.
func (o Options) Validate() error {
	o = o.withDefaults()
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Dir == "" {
		fault("--dir must name the directory for the tenant's state")
	}
	if _, err := guid.Parse(o.TenantID); err != nil {
		fault("--tenant-id: %w", err)
	}
	if address, err := netip.ParseAddr(o.Listen); err != nil || !testaddress.IsSafe(address) {
		fault("--listen %q is neither a loopback address nor one kept for documentation (RFC 5737): this tenant is for tests and never serves a network", o.Listen)
	}
	if o.Web != "" {
		if address, err := netip.ParseAddrPort(o.Web); err != nil || !address.Addr().IsLoopback() {
			fault("--web %q is not a loopback address and port, such as 127.0.0.1:8080", o.Web)
		}
	}
	for flag, domain := range map[string]string{"--service-domain": o.ServiceDomain, "--relay-domain": o.RelayDomain} {
		if !signin.Reserved(domain) {
			fault("%s %q is not under .example, .test, .invalid or .localhost: this tenant must not stand in for hosts that may exist", flag, domain)
		}
	}
	if err := o.Ports.Validate(); err != nil {
		fault("--ports: %w", err)
	}
	if o.Namespaces < 1 || o.Namespaces > maxNamespaces {
		fault("--namespaces must be 1 to %d", maxNamespaces)
	}
	if err := o.Endpoints.Validate(); err != nil {
		fault("--endpoints: %w", err)
	}
	if o.SessionIdle < time.Millisecond {
		fault("--session-idle must be a positive duration")
	}
	if err := o.Delivery.Validate(); err != nil {
		fault("--delivery: %w", err)
	}
	if o.ServiceDomain == o.RelayDomain {
		fault("--service-domain and --relay-domain must differ")
	}
	for flag, d := range map[string]time.Duration{
		"--bootstrap-interval": o.BootstrapInterval, "--certificate-lifetime": o.CertificateLifetime,
	} {
		if d < time.Second {
			fault("%s must be at least one second", flag)
		}
	}
	for flag, d := range map[string]time.Duration{"--accept-timeout": o.AcceptTimeout, "--response-timeout": o.ResponseTimeout} {
		if d <= 0 {
			fault("%s must be longer than nothing", flag)
		}
	}
	return errors.Join(faults...)
}

// loopback reports whether the service's hosts are on a loopback address.
func (o Options) loopback() bool {
	address, err := netip.ParseAddr(o.Listen)
	return err == nil && address.IsLoopback()
}

// pages is the address of pages and API where Web names none.
func (o Options) pages() string {
	if o.loopback() {
		return o.Listen
	}
	return "127.0.0.1"
}

// maxNamespaces is more than the service was seen to use: four.
const maxNamespaces = 16

// kind is one of the two kinds of endpoints.
type kind struct {
	suffix   string // of the path
	reliable bool
}

// kinds lists those that are offered, in the service's order (protocol section
// 4.5).
func (o Options) kinds() []kind {
	plain, reliable := kind{}, kind{suffix: "_reliable", reliable: true}
	switch o.Endpoints {
	case signin.EndpointPlain:
		return []kind{plain}
	case signin.EndpointReliable:
		return []kind{reliable}
	default:
		return []kind{plain, reliable}
	}
}
