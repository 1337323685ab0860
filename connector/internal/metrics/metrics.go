// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics holds the connector's metrics. Every label has a bounded set
// of values; none is taken from a request.
package metrics

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
)

// Names of the metrics.
const (
	signIns         = "passthrough_connector_sign_ins_total"
	signInSeconds   = "passthrough_connector_sign_in_duration_seconds"
	validateSeconds = "passthrough_connector_validation_duration_seconds"
	undelivered     = "passthrough_connector_undelivered_verdicts_total"
	dropped         = "passthrough_connector_dropped_total"
	foreignKeys     = "passthrough_connector_foreign_key_entries_total"
	foreignAgents   = "passthrough_connector_foreign_connectors"
	foreignCerts    = "passthrough_connector_foreign_certificates"
	inFlight        = "passthrough_connector_rendezvous_in_flight"
	bootstraps      = "passthrough_connector_bootstraps_total"
	inspected       = "passthrough_connector_tls_inspected_total"
	lastBootstrap   = "passthrough_connector_last_bootstrap_seconds"
	serviceState    = "passthrough_connector_service_state"
	linksAttached   = "passthrough_connector_signalling_links_attached"
	proofs          = "passthrough_connector_validator_checks_total"
	notAfter        = "passthrough_connector_certificate_not_after_seconds"
	validating      = "passthrough_connector_validations_in_flight"
	stuck           = "passthrough_connector_validations_stuck"
	tokens          = "passthrough_connector_logon_tokens_open"
	buildInfo       = "passthrough_connector_build_info"
)

// Metrics are the connector's metrics. Create them with New.
type Metrics struct {
	registry *prometheus.Registry

	signIns         *prometheus.CounterVec
	signInSeconds   prometheus.Histogram
	validateSeconds prometheus.Histogram
	undelivered     prometheus.Counter
	dropped         *prometheus.CounterVec
	foreignKeys     prometheus.Counter
	foreignAgents   prometheus.Gauge
	foreignCerts    prometheus.Gauge
	inFlight        prometheus.Gauge
	bootstraps      *prometheus.CounterVec
	inspected       prometheus.Counter
	lastBootstrap   prometheus.Gauge
	serviceState    *prometheus.GaugeVec
	linksAttached   prometheus.Gauge
	proofs          *prometheus.CounterVec
	notAfter        prometheus.Gauge
	validating      prometheus.Gauge
	stuck           prometheus.Gauge
	tokens          prometheus.Gauge
}

// New returns metrics on a registry of their own. dropReasons are the values
// of the label of dropped requests, which begin at zero.
func New(version string, dropReasons []string) *Metrics {
	buckets := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		registry:        prometheus.NewRegistry(),
		signIns:         counters(signIns, "Requests by outcome: success, or the class and code of the refusal.", "class", "reason"),
		signInSeconds:   histogram(signInSeconds, "Time from the signal to the delivered verdict."),
		validateSeconds: histogram(validateSeconds, "Time that the directory took."),
		undelivered:     counter(undelivered, "Verdicts that could not be posted."),
		dropped:         counters(dropped, "Requests and connections that got no answer, by reason.", "reason"),
		foreignKeys:     counter(foreignKeys, "Entries of requests that were encrypted for other connectors; a jump may mean that a new, unknown connector was registered."),
		foreignAgents:   gauge(foreignAgents, "Other connectors for which requests of the last day were encrypted."),
		foreignCerts:    gauge(foreignCerts, "Certificates of other connectors for which requests of the last day were encrypted."),
		inFlight:        gauge(inFlight, "Rendezvous at present."),
		bootstraps:      counters(bootstraps, "Bootstrap calls by result.", "result"),
		inspected:       counter(inspected, "Connections at whose other end something that inspects TLS answered."),
		lastBootstrap:   gauge(lastBootstrap, "Time of the last bootstrap that succeeded, in seconds since 1970; 0 before the first."),
		serviceState:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: serviceState, Help: "1 for the state that the service gave this connector, 0 for all others."}, []string{"state"}),
		linksAttached:   gauge(linksAttached, "Signalling links that are attached."),
		proofs:          counters(proofs, "Checks of the validator with a random credential, by result.", "result"),
		notAfter:        gauge(notAfter, "End of the connector's certificate, in seconds since 1970."),
		validating:      gauge(validating, "Validations at present."),
		stuck:           gauge(stuck, "Validations that did not return when their time was up."),
		tokens:          gauge(tokens, "Tokens of logons that are open; more than there are validations means that some could not be closed."),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: buildInfo, Help: "The version; always 1.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.registry.MustRegister(m.signIns, m.signInSeconds, m.validateSeconds, m.undelivered, m.dropped, m.foreignKeys, m.foreignAgents, m.foreignCerts,
		m.inFlight, m.bootstraps, m.inspected, m.lastBootstrap, m.serviceState, m.linksAttached, m.proofs, m.notAfter, m.validating, m.stuck, m.tokens, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, r := range dropReasons {
		m.dropped.WithLabelValues(r)
	}
	for _, r := range []string{"success", "failure"} {
		m.bootstraps.WithLabelValues(r)
	}
	m.ServiceState("")
	for _, r := range []string{Refused, Unproven, AcceptedAnything} {
		m.proofs.WithLabelValues(r)
	}
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// SignIn counts a request that has been decided. reason must come from a
// bounded set: a code of the validator's table or a text of the protocol.
// validation is 0 if the directory was not asked.
func (m *Metrics) SignIn(class, reason string, total, validation time.Duration, delivered bool) {
	m.signIns.WithLabelValues(class, reason).Inc()
	m.signInSeconds.Observe(total.Seconds())
	if validation > 0 { // else it would make the directory look fast
		m.validateSeconds.Observe(validation.Seconds())
	}
	if !delivered {
		m.undelivered.Inc()
	}
}

// Dropped counts a request that got no answer.
func (m *Metrics) Dropped(reason string) { m.dropped.WithLabelValues(reason).Inc() }

// ForeignKeys counts the entries of a request for other connectors, and sets how
// many connectors and certificates these and earlier ones were for.
func (m *Metrics) ForeignKeys(entries, connectors, certificates int) {
	m.foreignKeys.Add(float64(entries))
	m.foreignAgents.Set(float64(connectors))
	m.foreignCerts.Set(float64(certificates))
}

// Rendezvous counts one more (+1) or less (-1) at present.
func (m *Metrics) Rendezvous(delta int) { m.inFlight.Add(float64(delta)) }

// Bootstrap counts a call.
func (m *Metrics) Bootstrap(ok bool) {
	if ok {
		m.bootstraps.WithLabelValues("success").Inc()
		return
	}
	m.bootstraps.WithLabelValues("failure").Inc()
}

// Inspected counts a connection that was answered by something that inspects TLS.
func (m *Metrics) Inspected() { m.inspected.Inc() }

// LastBootstrap sets when a bootstrap last succeeded.
func (m *Metrics) LastBootstrap(t time.Time) { m.lastBootstrap.Set(float64(t.Unix())) }

// States of the service's metric beside those that the service sends.
const (
	stateNone    = "none" // before the first bootstrap
	stateUnknown = "unknown"
)

// serviceStates are the values of the label.
var serviceStates = []string{
	stateNone, bootstrap.StateOk, bootstrap.StateUpdateRequired, bootstrap.StateInfoServiceMessage, bootstrap.StateErrorServiceMessage, stateUnknown,
}

// ServiceState sets the state that the service sent; empty before it sent one. A
// state that is not known counts as "unknown".
func (m *Metrics) ServiceState(state string) {
	switch {
	case state == "":
		state = stateNone
	case !slices.Contains(serviceStates[1:], state):
		state = stateUnknown
	}
	for _, s := range serviceStates {
		value := 0.0
		if s == state {
			value = 1
		}
		m.serviceState.WithLabelValues(s).Set(value)
	}
}

// LinksAttached sets the number of links.
func (m *Metrics) LinksAttached(n int) { m.linksAttached.Set(float64(n)) }

// Results of a check of the validator.
const (
	Refused          = "refused" // as it must be
	Unproven         = "unproven"
	AcceptedAnything = "accepted_anything"
)

// Proof counts a check of the validator.
func (m *Metrics) Proof(result string) { m.proofs.WithLabelValues(result).Inc() }

// CertificateNotAfter sets the end of the certificate.
func (m *Metrics) CertificateNotAfter(t time.Time) { m.notAfter.Set(float64(t.Unix())) }

// InFlight sets the number of validations at present.
func (m *Metrics) InFlight(n int) { m.validating.Set(float64(n)) }

// Stuck sets the number of validations that outlived their time.
func (m *Metrics) Stuck(n int) { m.stuck.Set(float64(n)) }

// Tokens counts one open token of a logon more (+1) or less (-1).
func (m *Metrics) Tokens(delta int) { m.tokens.Add(float64(delta)) }
