// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bootstrapping repeats the call by which a connector stays active in
// its tenant and learns where to listen (protocol section 4).
//
// A Loop calls once at start and then as often as the service says. After
// failures it follows the retry strategy that the service sent, and the
// documented one where that says nothing; before the service has answered at all
// it tries more often, so that a connector that starts a moment before its
// network is ready does not wait ten minutes. Whoever knows that a call is worth
// while now (a new certificate, a network that is back) asks for it with Soon.
package bootstrapping

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

const (
	requestTimeout = 30 * time.Second
	maxAnswer      = 1 << 20 // bytes

	// Pauses before the service has answered for the first time.
	firstRetry    = 2 * time.Second
	maxFirstRetry = time.Minute
	// floor keeps a strategy of no delay from becoming a busy loop, and ceiling one
	// of years from becoming silence: it is above all that the service has been
	// seen to send.
	floor   = time.Second
	ceiling = 2 * time.Hour
	// spacing is the least time between a call and one that Soon asked for.
	spacing = 10 * time.Second
	// maxOverrideFailures is how often in a row another URL that the service named
	// may fail before the configured one is called again.
	maxOverrideFailures = 3
)

// Options of a Loop; all are required.
type Options struct {
	// URL is the bootstrap URL without its path, which the loop appends.
	URL string
	// Allow decides whether a URL that the service named may be called instead.
	Allow func(url string) error
	// Client authenticates with the connector's certificate and follows no
	// redirects.
	Client *http.Client
	// Request describes the connector. The loop fills in what belongs to one call:
	// RequestID, InitialBootstrap and ConsecutiveFailures.
	Request func() bootstrap.Request
	// Observe learns of every call. failures counts those in a row; response is
	// nil if err is not.
	Observe func(response *bootstrap.Response, failures int, err error)
	Log     logr.Logger
}

// ErrNotKnown marks an answer by which the service refuses the certificate.
var ErrNotKnown = errors.New("it does not know this connector's certificate; it may have been removed, or something between inspects TLS")

// Once calls a single time, as the first call of a loop does. Of the options it
// needs URL, Client and Request.
func Once(ctx context.Context, opts Options) (*bootstrap.Response, error) { return New(opts).call(ctx) }

// Loop is the repeated call. Create it with New.
type Loop struct {
	opts     Options
	failures int
	last     *bootstrap.Response
	random   func() float64
	soon     chan struct{} // holds a token when Soon was called

	// override is the URL that the service named for later calls; empty if none.
	override         string
	overrideFailures int
}

// New returns a loop that has not called yet.
func New(opts Options) *Loop {
	return &Loop{opts: opts, random: rand.Float64, soon: make(chan struct{}, 1)}
}

// Soon asks for the next call now, or a few seconds after the last one. It
// returns at once.
func (l *Loop) Soon() {
	select {
	case l.soon <- struct{}{}:
	default:
	}
}

// Run calls until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	for {
		response, err := l.call(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.failed()
		} else {
			l.answered(response)
		}
		l.opts.Observe(response, l.failures, err)
		if !l.wait(ctx, l.pause()) {
			return
		}
	}
}

// answered takes over what concerns the next calls.
func (l *Loop) answered(response *bootstrap.Response) {
	l.failures, l.overrideFailures, l.last = 0, 0, response
	override := response.BootstrapEndpointOverride
	if override == l.override {
		return
	}
	if override != "" {
		if err := l.opts.Allow(override); err != nil {
			l.opts.Log.Error(err, "Refused to bootstrap at another URL that the service named")
			override = ""
		}
	}
	if override != l.override {
		l.opts.Log.Info("The service moved bootstraps", "url", cmp.Or(override, l.opts.URL))
	}
	l.override = override
}

func (l *Loop) failed() {
	l.failures++
	if l.override == "" {
		return
	}
	if l.overrideFailures++; l.overrideFailures >= maxOverrideFailures {
		l.opts.Log.Info("Bootstraps at the URL that the service named fail: back to the configured one", "url", l.override)
		l.override, l.overrideFailures = "", 0
	}
}

// url is where to call now. A base to which the path is appended is what the
// service names for renewals; one that has the path already is taken as well.
func (l *Loop) url() string {
	base := strings.TrimSuffix(cmp.Or(l.override, l.opts.URL), "/")
	return strings.TrimSuffix(base, bootstrap.Path) + bootstrap.Path
}

// wait pauses for d, or for less if Soon is called; false means that ctx has
// ended.
func (l *Loop) wait(ctx context.Context, d time.Duration) bool {
	began := time.Now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-l.soon:
	}
	// Jitter: what one connector noticed, others may have noticed as well.
	early := time.Duration(float64(spacing) * (0.5 + l.random()/2))
	timer.Reset(max(0, min(early, d)-time.Since(began)))
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// pause is how long to wait after what has happened so far.
func (l *Loop) pause() time.Duration {
	switch {
	case l.failures == 0:
		// A little earlier or later each time, so that connectors that started
		// together do not call together for ever.
		interval := min(l.last.PeriodicInterval, ceiling)
		return max(floor, interval-time.Duration(float64(interval)*0.05*l.random()))
	case l.last == nil:
		ceiling := min(maxFirstRetry, firstRetry<<min(l.failures-1, 8))
		return max(floor, time.Duration(float64(ceiling)*(0.5+l.random()/2)))
	}
	random := l.random()
	delay, ok := l.last.RetryStrategy.Delay(l.failures, random)
	if !ok { // a strategy of a kind that is not known, or one that has ended
		delay, _ = bootstrap.DefaultRetryStrategy().Delay(l.failures, random)
	}
	return max(floor, min(delay, ceiling))
}

func (l *Loop) call(ctx context.Context) (*bootstrap.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := l.opts.Request()
	request.RequestID = guid.New().String()
	request.InitialBootstrap = l.last == nil
	request.ConsecutiveFailures = l.failures
	body, err := request.Marshal()
	if err != nil {
		return nil, fmt.Errorf("preparing the bootstrap request: %w", err)
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("preparing the bootstrap request: %w", err)
	}
	post.Header.Set("Content-Type", bootstrap.ContentType)
	answer, err := l.opts.Client.Do(post)
	if err != nil {
		return nil, fmt.Errorf("calling the bootstrap service: %w", err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the bootstrap service's answer: %w", err)
	case answer.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("the bootstrap service answered %s: %w", answer.Status, ErrNotKnown)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the bootstrap service answered %s", answer.Status)
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("the bootstrap service's answer is larger than %d bytes", maxAnswer)
	}
	response, err := bootstrap.ParseResponse(data)
	if err != nil {
		return nil, fmt.Errorf("reading the bootstrap service's answer: %w", err)
	}
	return &response, nil
}
