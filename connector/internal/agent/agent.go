// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/bootstrapping"
	"github.com/passthrough-dev/connector-operator/connector/internal/health"
	"github.com/passthrough-dev/connector-operator/connector/internal/identity"
	"github.com/passthrough-dev/connector-operator/connector/internal/metrics"
	"github.com/passthrough-dev/connector-operator/connector/internal/rendezvous"
	"github.com/passthrough-dev/connector-operator/connector/internal/signalling"
	"github.com/passthrough-dev/connector-operator/connector/internal/validation"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
)

// protocolVersion is the version of the service's own agent whose behaviour
// this connector follows; the service is told it in several places.
const protocolVersion = "1.5.3437.0"

const (
	reloadInterval = 10 * time.Second
	// reloadRetry is how soon files are read again that are being swapped, and
	// reloadTolerance how long that may take before it is called a fault.
	reloadRetry     = 500 * time.Millisecond
	reloadTolerance = 30 * time.Second
	// rendezvousPerValidation: a rendezvous is held open for a while after its
	// validation has ended.
	rendezvousPerValidation = 2
	shutdownTimeout         = 5 * time.Second
)

// Options of Run; all are required but BindIP.
type Options struct {
	Config config.Config
	// BindIP is the address of the status pages; empty means all addresses.
	BindIP  string
	Version string
	Log     logr.Logger
}

// agent is what the tasks share.
type agent struct {
	opts     Options
	identity *identity.Store
	clients  *clients
	tracker  *health.Tracker
	metrics  *metrics.Metrics
	proving  *proving
	handler  *rendezvous.Handler
	listener *signalling.Listener
	loop     *bootstrapping.Loop
	foreign  foreign
	settings atomic.Pointer[rendezvous.Settings]
	// distrusted latches when the validator has accepted a random credential:
	// nothing it says counts from then on, not even for requests that are held.
	distrusted atomic.Bool
	// calling is the certificate that the bootstrap that is under way began with,
	// and maxFailed how often the service lets bootstraps fail in a row; 0: without
	// end. Only the bootstrap loop uses them.
	calling   string
	maxFailed int
	said      health.Said // what the service said last

	mu       sync.Mutex // protects attached
	attached map[string]bool
}

// Run is the connector. It returns nil when ctx ends and what it held has been
// answered, and an error if it could not start, the status pages failed, or
// Windows could not validate for minutes, in which case the process should be
// started again.
func Run(ctx context.Context, opts Options) error {
	a, err := build(opts)
	if err != nil {
		return err
	}
	defer a.proving.directory.close()
	listening, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(opts.BindIP, strconv.Itoa(opts.Config.Health.Port)))
	if err != nil {
		return fmt.Errorf("serving the status pages: %w", err)
	}
	server := &http.Server{
		Handler:           a.tracker.Handler(a.metrics.Handler()),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listening) }()
	opts.Log.Info("The connector has started", "version", opts.Version, "connectorID", a.identity.Identity().ConnectorID,
		"tenantID", opts.Config.TenantID, "decryption", a.identity.DecryptsWith(), "statusPages", listening.Addr().String())

	err = a.serve(ctx, failed)

	closing, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return errors.Join(err, server.Shutdown(closing))
}

func build(opts Options) (*agent, error) {
	c := opts.Config
	id, err := identity.Load(c.Identity.CertificateFile, c.Identity.KeyFile, c.TenantID)
	if err != nil {
		return nil, err
	}
	cl, err := newClients(c.Service, id)
	if err != nil {
		return nil, err
	}
	var reasons []string
	for _, r := range rendezvous.DropReasons() {
		reasons = append(reasons, string(r))
	}
	a := &agent{
		opts: opts, identity: id, clients: cl,
		tracker: health.New(c, opts.Version), metrics: metrics.New(opts.Version, reasons), attached: map[string]bool{},
	}
	limit, err := a.buildValidator(c.Validation)
	if err != nil {
		return nil, err
	}
	a.settings.Store(settingsOf(bootstrap.DefaultResponse()))
	a.showIdentity()
	a.handler = rendezvous.New(rendezvous.Options{
		TenantID: c.TenantID, ConnectorID: func() string { return id.Identity().ConnectorID }, Version: protocolVersion,
		ProxyInUse: c.Service.ProxyURL != "", Pins: c.Service, Keys: id,
		Validator: limited{limit, &a.distrusted},
		Dial:      cl.dialInstance,
		Client:    cl.service, ProxyClient: cl.proxy, Settings: func() rendezvous.Settings { return *a.settings.Load() },
		Observer: counted{a.metrics, &a.foreign, opts.Log.WithName("rendezvous")}, Log: opts.Log.WithName("rendezvous"),
		MaxConcurrent: rendezvousPerValidation * c.Validation.MaxConcurrent,
	})
	a.listener = signalling.New(signalling.Options{
		Dial:   cl.dialListener,
		Handle: a.handler.Handle, Notify: a.linkChanged, Log: opts.Log.WithName("signalling"),
	})
	a.loop = bootstrapping.New(bootstrapping.Options{
		URL: c.Service.BootstrapURL, Allow: c.Service.AllowServiceURL, Client: cl.bootstrap,
		Request: a.bootstrapRequest, Observe: a.bootstrapped, Log: opts.Log.WithName("bootstrap"),
	})
	return a, nil
}

// buildValidator makes the validator, what checks it, and the bound on it that
// users go through.
func (a *agent) buildValidator(v config.Validation) (*validation.Limit, error) {
	p := &proving{
		distrusted: &a.distrusted, tracker: a.tracker, metrics: a.metrics, log: a.opts.Log, suspicion: make(chan struct{}, 1),
	}
	var err error
	if p.directory, err = newDirectory(v, validation.LogonOptions{Tokens: a.metrics.Tokens, Trouble: p.suspect}, a.opts.Log); err != nil {
		return nil, err
	}
	limit := validation.NewLimit(p.directory, validation.LimitOptions{
		MaxConcurrent: v.MaxConcurrent, Timeout: time.Duration(v.TimeoutSeconds) * time.Second, Observer: observed{a.metrics, p.suspect},
	})
	p.exhausted = limit.Exhausted
	a.proving = p
	return limit, nil
}

// serve runs until ctx ends, the status pages fail or the validator cannot be
// proven, and stops in order.
func (a *agent) serve(ctx context.Context, failed <-chan error) error {
	life, endLife := context.WithCancel(ctx)
	defer endLife()
	serving, stopServing := context.WithCancel(life)
	defer stopServing()
	var tasks sync.WaitGroup
	tasks.Go(func() { a.reload(life) })
	unproven := make(chan error, 1)
	tasks.Go(func() {
		unproven <- a.proving.run(serving, func() { tasks.Go(func() { a.loop.Run(serving) }) })
	})
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serving the status pages: %w", err)
	case err = <-unproven:
		stopServing()
		if !errors.Is(err, validation.ErrAcceptsAnything) {
			break
		}
		// Latched: serve nothing any more, but stay to say why.
		a.stop()
		select {
		case <-ctx.Done():
			err = nil
		case err = <-failed:
			err = fmt.Errorf("serving the status pages: %w", err)
		}
	}
	a.tracker.Stopping()
	a.stop()
	endLife()
	tasks.Wait()
	return err
}

// stop closes signalling and waits for the requests that are held. It may be
// called twice.
func (a *agent) stop() {
	limit := a.settings.Load().Limit
	a.opts.Log.Info("Closing the signalling links and finishing what is held", "within", limit.String())
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	a.listener.Close()
	if err := a.handler.Drain(ctx); err != nil {
		a.opts.Log.Error(err, "Stopping")
	}
}

// reload follows the identity's files.
func (a *agent) reload(ctx context.Context) {
	var failing time.Time // since when the files cannot be used; zero if they can
	for pause := reloadInterval; wait(ctx, pause); {
		changed, err := a.identity.Reload()
		if changed {
			a.renewed()
		}
		a.showIdentity() // earlier keys come and go without a new certificate
		pause = reloadInterval
		switch {
		case err == nil:
			failing = time.Time{}
			a.tracker.IdentityFiles(nil)
			continue
		case failing.IsZero():
			failing = time.Now()
		}
		if time.Since(failing) < reloadTolerance { // files are being swapped
			a.opts.Log.V(1).Info("The connector's identity cannot be read just now", "why", err.Error())
			pause = reloadRetry
			continue
		}
		a.tracker.IdentityFiles(err)
		a.opts.Log.Error(err, "Reading the connector's identity again failed; the one in memory stays in use")
	}
}

// renewed takes a new certificate into use: everything sent from now on goes
// over connections that were made with it, and the service is shown it soon, so
// that the overlap can end.
func (a *agent) renewed() {
	id := a.identity.Identity()
	a.clients.renew()
	a.loop.Soon()
	a.opts.Log.Info("The connector has a new certificate", "thumbprint", id.Thumbprint, "notAfter", id.NotAfter)
}

func (a *agent) showIdentity() {
	id := a.identity.Identity()
	a.tracker.Identity(id.ConnectorID, id.Thumbprint, id.NotAfter, a.identity.Previous())
	a.metrics.CertificateNotAfter(id.NotAfter)
}

func (a *agent) linkChanged(endpoint string, linkState signalling.State, err error) {
	if err != nil {
		a.noteInspection(err)
	}
	if errors.Is(err, signalling.ErrRefused) {
		a.loop.Soon() // only other keys or endpoints can change that
	}
	a.tracker.Link(endpoint, string(linkState), time.Now(), err)
	a.mu.Lock()
	defer a.mu.Unlock()
	if linkState == signalling.Attached {
		a.attached[endpoint] = true
		if a.tracker.Status(time.Now()).Bootstrap.ConsecutiveFailures > 0 {
			a.loop.Soon() // the network is back; the strategy may still wait for an hour
		}
	} else {
		delete(a.attached, endpoint)
	}
	a.metrics.LinksAttached(len(a.attached))
}
