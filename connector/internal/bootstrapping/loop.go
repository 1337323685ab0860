// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bootstrapping repeats the call by which a connector stays active in
// its tenant and learns where to listen (protocol section 4).
//
// A Loop calls once at start and then as often as the service says. After
// failures it follows the retry strategy that the service sent; before the
// service has answered at all it tries more often, so that a connector that
// starts a moment before its network is ready does not wait ten minutes.
package bootstrapping

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

const (
	requestTimeout = 30 * time.Second
	maxAnswer      = 1 << 20 // bytes

	// Pauses before the service has answered for the first time.
	firstRetry    = 2 * time.Second
	maxFirstRetry = time.Minute
	// floor keeps a strategy of no delay from becoming a busy loop.
	floor = time.Second
)

// Options of a Loop; all are required.
type Options struct {
	// URL is the bootstrap URL with its path.
	URL string
	// Client authenticates with the connector's certificate and follows no
	// redirects.
	Client *http.Client
	// Request describes the connector. The loop fills in what belongs to one call:
	// RequestID, InitialBootstrap and ConsecutiveFailures.
	Request func() bootstrap.Request
	// Observe learns of every call. failures counts those in a row; response is
	// nil if err is not.
	Observe func(response *bootstrap.Response, failures int, err error)
}

// Loop is the repeated call. Create it with New.
type Loop struct {
	opts     Options
	failures int
	last     *bootstrap.Response
	random   func() float64
}

// New returns a loop that has not called yet.
func New(opts Options) *Loop { return &Loop{opts: opts, random: rand.Float64} }

// Run calls until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	for {
		response, err := l.call(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.failures++
		} else {
			l.failures = 0
			l.last = response
		}
		l.opts.Observe(response, l.failures, err)
		timer := time.NewTimer(l.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// pause is how long to wait after what has happened so far.
func (l *Loop) pause() time.Duration {
	switch {
	case l.failures == 0:
		// A little earlier or later each time, so that connectors that started
		// together do not call together for ever.
		interval := l.last.PeriodicInterval
		return max(floor, interval-time.Duration(float64(interval)*0.05*l.random()))
	case l.last == nil:
		ceiling := min(maxFirstRetry, firstRetry<<min(l.failures-1, 8))
		return max(floor, time.Duration(float64(ceiling)*(0.5+l.random()/2)))
	}
	delay, ok := l.last.RetryStrategy.Delay(l.failures, l.random())
	if !ok {
		delay = l.last.PeriodicInterval
	}
	// The service's own first retry is a whole interval away; the outage that
	// makes a bootstrap fail has usually ended long before.
	return max(floor, min(delay, l.last.PeriodicInterval))
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
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, l.opts.URL, bytes.NewReader(body))
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
		return nil, fmt.Errorf("the bootstrap service answered %s: it does not know this connector's certificate; it may have been removed, or something between inspects TLS", answer.Status)
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
