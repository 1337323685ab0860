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
	"net/url"
	"os"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/identity"
	"github.com/passthrough-dev/connector-operator/connector/wire/relay"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const (
	relayPath           = "/$servicebus/websocket"
	subprotocolListener = "wsrelayedamqp"
	subprotocolAccept   = "wsrelayedconnection"
	maxWebSocketMessage = 1 << 18 // bytes; above every frame and record there is
	handshakeTimeout    = 15 * time.Second
	// silence is how long a connection may go without any sign of the other
	// side's machine before it counts as lost (protocol section 5.7).
	silence              = 90 * time.Second
	idleConnection       = 5 * time.Minute
	connectionsToOneHost = 200
)

// clients are the ways to the cloud: with the connector's certificate to the
// service's own hosts, without it to the relay.
type clients struct {
	service *http.Client
	// bootstrap makes a connection for each call, so that it is known which
	// certificate the service was shown.
	bootstrap *http.Client
	// proxy fetches requests: with the certificate, and with connections that
	// are not service's, whose number at one host is bounded.
	proxy *http.Client
	relay *http.Client
	// streams opens connections below HTTP, without the certificate.
	streams *streams
	// amqps is the way to the relay without WebSockets; nil for the transport
	// that uses them.
	amqps *amqps
	// rotating are the transports of service and proxy.
	rotating []*rotating
	// inspection recognises what keeps them all from working.
	inspection *inspection
}

func newClients(service config.Service, id *identity.Store) (*clients, error) {
	base := &tls.Config{MinVersion: tls.VersionTLS12, VerifyConnection: notRevoked}
	if service.CAFile != "" {
		pem, err := os.ReadFile(service.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the service's CA bundle: %w", err)
		}
		base.RootCAs = x509.NewCertPool()
		if !base.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the service's CA bundle %s holds no certificate", service.CAFile)
		}
	}
	mutual := base.Clone()
	mutual.GetClientCertificate = id.ClientCertificate
	withCertificate, err := newTransport(service.ProxyURL, mutual)
	if err != nil {
		return nil, err
	}
	withoutIt := newSessions().resuming(base)
	without, err := newTransport(service.ProxyURL, withoutIt)
	if err != nil {
		return nil, err
	}
	// One for each request or rendezvous, of which there are at most so many.
	fetching := withCertificate.Clone()
	fetching.MaxConnsPerHost, without.MaxConnsPerHost = 0, 0
	// It has to be seen which certificate a bootstrap has carried: none of its
	// sessions is resumed.
	once := withCertificate.Clone()
	once.DisableKeepAlives = true
	looking := newInspection(service)
	pooled, fetched := &rotating{settings: mutual}, &rotating{settings: mutual}
	pooled.use(withCertificate)
	fetched.use(fetching)
	c := &clients{
		service:   &http.Client{Transport: pooled, CheckRedirect: refuseRedirects},
		bootstrap: &http.Client{Transport: inspecting{looking, once}, CheckRedirect: refuseRedirects},
		proxy:     &http.Client{Transport: fetched, CheckRedirect: refuseRedirects},
		relay:     &http.Client{Transport: without, CheckRedirect: refuseRedirects},
		rotating:  []*rotating{pooled, fetched}, inspection: looking,
	}
	if c.streams, err = newStreams(service.ProxyURL, withoutIt); err != nil {
		return nil, err
	}
	if service.Transport == config.TransportAMQP {
		c.amqps = &amqps{c.streams}
	}
	return c, nil
}

// dialListener opens the byte stream of a signalling link.
func (c *clients) dialListener(ctx context.Context, host string) (net.Conn, error) {
	if c.amqps != nil {
		return c.amqps.listen(ctx, host)
	}
	return c.dialRelay(ctx, host, subprotocolListener)
}

// dialInstance opens the byte stream to a relay instance.
func (c *clients) dialInstance(ctx context.Context, to relay.Connect) (net.Conn, error) {
	if c.amqps != nil {
		return c.amqps.meet(ctx, to)
	}
	return c.dialRelay(ctx, to.InstanceDNSAddress, subprotocolAccept)
}

// notRevoked looks at what the other side says about its certificate. Go verifies
// chain and name before, and nothing of revocation.
func notRevoked(state tls.ConnectionState) error {
	return trust.CheckRevocation(state.VerifiedChains, state.OCSPResponse, time.Now())
}

// refuseRedirects: a redirect could carry the connector's certificate, or a
// verdict, to a host that was not pinned.
func refuseRedirects(*http.Request, []*http.Request) error {
	return errors.New("the service answered with a redirect, which is not followed")
}

func newTransport(proxyURL string, tlsConfig *tls.Config) (*http.Transport, error) {
	t := &http.Transport{
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: handshakeTimeout,
		DialContext:         newDialer().DialContext,
		IdleConnTimeout:     idleConnection,
		MaxIdleConnsPerHost: connectionsToOneHost,
		MaxConnsPerHost:     connectionsToOneHost,
	}
	if proxyURL != "" {
		u, err := url.Parse(proxyURL)
		if err != nil {
			return nil, fmt.Errorf("reading the proxy's URL: %w", err)
		}
		t.Proxy = http.ProxyURL(u)
	}
	return t, nil
}

// newDialer makes connections that notice within the time of silence that the
// other side is gone. A signalling link on which no user signs in carries
// nothing but this side's keep-alives, so that TCP is what has to tell.
func newDialer() *net.Dialer {
	const probes = 4
	return &net.Dialer{
		Timeout:         handshakeTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 3, Interval: silence * 2 / 3 / probes, Count: probes},
		Control:         boundUnacknowledged,
	}
}

// dialRelay opens a WebSocket to a relay host and returns it as a stream.
func (c *clients) dialRelay(ctx context.Context, host, subprotocol string) (net.Conn, error) {
	// A WebSocket's connection lives as long as its client says; a timeout of
	// the http.Client would end it, so the limit is the context's.
	conn, response, err := websocket.Dial(ctx, "wss://"+host+relayPath, &websocket.DialOptions{
		HTTPClient:      c.relay,
		Subprotocols:    []string{subprotocol},
		CompressionMode: websocket.CompressionDisabled,
	})
	if response != nil && response.Body != nil {
		defer response.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket to %s: %w", host, err)
	}
	if conn.Subprotocol() != subprotocol {
		conn.CloseNow()
		return nil, fmt.Errorf("opening a WebSocket to %s: it does not speak %s", host, subprotocol)
	}
	conn.SetReadLimit(maxWebSocketMessage)
	return websocket.NetConn(context.Background(), conn, websocket.MessageBinary), nil
}
