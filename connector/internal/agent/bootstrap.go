// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/health"
	"github.com/passthrough-dev/connector-operator/connector/internal/rendezvous"
	"github.com/passthrough-dev/connector-operator/connector/internal/signalling"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

func (a *agent) bootstrapRequest() bootstrap.Request {
	id := a.identity.Identity()
	a.calling = id.Thumbprint
	return describe(a.opts.Config, id)
}

// describe tells the service about the connector. The values for the operating
// system are those of the Windows that the service's own agent runs on: the
// service shows the machine's name and nothing else of them.
func describe(c config.Config, id trust.Identity) bootstrap.Request {
	return bootstrap.Request{
		TenantID: id.TenantID, ConnectorID: id.ConnectorID, AgentVersion: protocolVersion,
		System: trust.SystemSettings{
			MachineName: c.MachineName, OSLanguage: "1033", OSLocale: "0409", OSSKU: "8", OSVersion: "10.0.20348",
		},
		ProxyPortFallbackDisabled: true,
		UseServiceBusTCP:          c.Service.Transport == config.TransportAMQP,
	}
}

// bootstrapped takes over what the service said. Links to endpoints that did
// not change stay as they are.
func (a *agent) bootstrapped(response *bootstrap.Response, failures int, err error) {
	a.metrics.Bootstrap(err == nil)
	if err != nil {
		a.bootstrapFailed(failures, err)
		return
	}
	now := time.Now()
	carrier := a.carrier(now)
	said := a.tracker.Bootstrapped(now, carrier, health.Said{
		State: response.ConnectorState, Message: response.ServiceMessage, Triggers: response.Triggers,
	})
	a.metrics.LastBootstrap(now)
	a.metrics.ServiceState(response.ConnectorState)
	if said != a.said {
		a.said = said
		a.opts.Log.Info("What the service says has changed", "connectorState", said.State, "serviceMessage", said.Message, "ignoredTriggers", said.Triggers)
	}
	a.maxFailed = response.MaxFailedRequests
	a.clients.inspection.expect(response.Porto.RootCANames)
	a.settings.Store(settingsOf(*response))
	a.listener.SetTokenLifetime(response.Settings.SignalingSettings.ServiceBusSasTokenTTL.Duration())
	if len(response.Endpoints) == 0 {
		// None is not the same as none that is available: the links serve on.
		a.opts.Log.Info("The service named no endpoints; the present links stay")
		return
	}
	a.listener.SetEndpoints(a.endpointsOf(response))
}

// carrier is the certificate that carried the bootstrap that has just succeeded.
// Each is made over a connection of its own, so that it is known unless the
// certificate was replaced meanwhile: then it is "", and the next one comes soon.
func (a *agent) carrier(now time.Time) string {
	id := a.identity.Identity()
	if id.Thumbprint != a.calling {
		a.loop.Soon()
		return ""
	}
	a.identity.Proven(id.Thumbprint, now)
	return id.Thumbprint
}

// bootstrapFailed stops listening when the service's limit of failures in a row
// is reached. The calls go on, and the first that succeeds ends that.
func (a *agent) bootstrapFailed(failures int, err error) {
	a.opts.Log.Error(err, "Bootstrap failed", "failuresInARow", failures)
	a.noteInspection(err)
	a.tracker.BootstrapFailed(failures, err)
	if a.maxFailed > 0 && failures >= a.maxFailed {
		a.tracker.GaveUp()
		a.listener.SetEndpoints(nil)
		a.opts.Log.Info("Bootstraps have failed as often as the service allows: listening ends until one succeeds", "failuresInARow", failures)
	}
}

// noteInspection tells the status page if an error is due to TLS inspection.
func (a *agent) noteInspection(err error) {
	if found := a.clients.inspection.of(err); found != nil {
		a.tracker.Inspected(found.Error())
		a.metrics.Inspected()
	}
}

// endpointsOf are the endpoints to listen on, plain and reliable: available, and
// under a pinned suffix.
func (a *agent) endpointsOf(response *bootstrap.Response) []signalling.Endpoint {
	var endpoints []signalling.Endpoint
	for _, e := range response.Endpoints {
		switch err := a.opts.Config.Service.AllowRelayHost(e.Host()); {
		case !e.Available:
			a.opts.Log.V(1).Info("An endpoint is not available", "endpoint", e.Host()+"/"+e.ServicePath)
		case err != nil:
			a.opts.Log.Error(err, "Refused to listen on an endpoint")
		default:
			endpoints = append(endpoints, signalling.Endpoint{
				Host: e.Host(), Namespace: e.Namespace, Domain: e.Domain, Path: e.ServicePath,
				KeyName: e.SharedAccessKeyName, Key: e.SharedAccessKey,
			})
		}
	}
	if len(endpoints) == 0 {
		a.opts.Log.Info("The service named no endpoint that this connector can listen on", "named", len(response.Endpoints))
	}
	return endpoints
}

// maxAnswerTime bounds the service's time limit for an answer: the cloud does
// not wait longer, and neither does a stopping pod.
const maxAnswerTime = 30 * time.Second

func settingsOf(r bootstrap.Response) *rendezvous.Settings {
	limit := r.LogicalResponseTimeout
	if limit <= 0 || limit > maxAnswerTime {
		limit = bootstrap.DefaultResponse().LogicalResponseTimeout
	}
	return &rendezvous.Settings{
		ResponseEndpointFormat: r.ResponseEndpointFormat, TotalAttempts: min(r.ResponseRetry.TotalAttempts, 20),
		InitialDelay: r.ResponseRetry.InitialDelay, DelayFactor: r.ResponseRetry.DelayFactor,
		Limit: limit, Signing: r.ResponseSigningEnabled,
	}
}
