// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// The operator's own metrics. Their labels are names of objects; nothing from the
// outside becomes a label.
var (
	certificateNotAfter = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "passthrough_operator_certificate_not_after_seconds",
		Help: "End of the connector's certificate, Unix time.",
	}, []string{"namespace", "name", "connector"})
	certificateRenewAfter = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "passthrough_operator_certificate_renew_after_seconds",
		Help: "When the connector's certificate is due for renewal, Unix time.",
	}, []string{"namespace", "name", "connector"})
	renewals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "passthrough_operator_renewals_total",
		Help: "Tries to renew a connector's certificate, by result.",
	}, []string{"namespace", "name", "result"})
	registrations = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "passthrough_operator_registrations_total",
		Help: "Tries to register a connector, by result.",
	}, []string{"namespace", "name", "result"})
)

var ownMetrics = []prometheus.Collector{certificateNotAfter, certificateRenewAfter, renewals, registrations}

// registerMetrics adds the metrics to those that the manager serves; once is
// enough for a process.
func registerMetrics() {
	for _, c := range ownMetrics {
		metrics.Registry.Unregister(c)
		metrics.Registry.MustRegister(c)
	}
}

func outcomeLabel(ok bool) string {
	if ok {
		return "success"
	}
	return "failure"
}

func countRenewal(pc *v1alpha1.PassthroughConnector, ok bool) {
	renewals.WithLabelValues(pc.Namespace, pc.Name, outcomeLabel(ok)).Inc()
}

func countRegistration(pc *v1alpha1.PassthroughConnector, ok bool) {
	registrations.WithLabelValues(pc.Namespace, pc.Name, outcomeLabel(ok)).Inc()
}

// measure shows the dates of a status.
func measure(pc *v1alpha1.PassthroughConnector, status v1alpha1.PassthroughConnectorStatus) {
	gauges := []*prometheus.GaugeVec{certificateNotAfter, certificateRenewAfter}
	named := map[string]bool{}
	for _, c := range status.Connectors {
		named[c.Name] = true
		if c.NotAfter != nil {
			certificateNotAfter.WithLabelValues(pc.Namespace, pc.Name, c.Name).Set(float64(c.NotAfter.Unix()))
		}
		if c.RenewAfter != nil {
			certificateRenewAfter.WithLabelValues(pc.Namespace, pc.Name, c.Name).Set(float64(c.RenewAfter.Unix()))
		}
	}
	for _, c := range pc.Status.Connectors { // what the last status named
		if !named[c.Name] {
			for _, g := range gauges {
				g.DeleteLabelValues(pc.Namespace, pc.Name, c.Name)
			}
		}
	}
}

// unmeasure forgets a resource that is gone.
func unmeasure(name types.NamespacedName) {
	labels := prometheus.Labels{"namespace": name.Namespace, "name": name.Name}
	certificateNotAfter.DeletePartialMatch(labels)
	certificateRenewAfter.DeletePartialMatch(labels)
	renewals.DeletePartialMatch(labels)
	registrations.DeletePartialMatch(labels)
}
