// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

// registrationLimit bounds one registration.
const registrationLimit = 30 * time.Second

// Connector is a connector process that no cluster runs.
type Connector struct {
	*Process

	// ID is the connector id that the tenant gave it.
	ID string
	// Health is the base URL of its status pages.
	Health string

	bed    *Testbed
	config string
}

// StartConnector registers a connector with the tenant, writes its
// configuration and starts it. change may alter the configuration, which
// reaches the tenant through the tenant's own proxy and validates against the
// testbed's directory. It returns when the process runs; AwaitReady waits until
// it serves.
func (t *Testbed) StartConnector(ctx context.Context, name string, change ...func(*config.Config)) (*Connector, error) {
	dir := filepath.Join(t.Dir, "connectors", name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the folder of connector %s: %w", name, err)
	}
	id, err := t.enrol(ctx, name, dir)
	if err != nil {
		return nil, fmt.Errorf("registering connector %s: %w", name, err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	c := config.Config{
		APIVersion: config.APIVersion, TenantID: t.Tenant.TenantID, MachineName: name,
		Identity: config.Identity{CertificateFile: "tls.crt", KeyFile: "tls.key"},
		Service: config.Service{
			BootstrapURL: t.Tenant.BootstrapURL, Transport: config.TransportWebSocket, ProxyURL: t.Tenant.Proxy,
			ServiceSuffixes: []string{".msappproxy.test"}, RelaySuffixes: []string{".servicebus.test"}, CAFile: t.Tenant.CAFile,
		},
		Validation: config.Validation{Method: config.MethodLDAP, TimeoutSeconds: 10, MaxConcurrent: 64, LDAP: &config.LDAP{Forests: []config.Forest{{
			Suffixes: []string{ldapserver.Domain}, Servers: []string{"ldaps://" + t.Directory.Address}, CAFile: t.Directory.CAFile,
		}}}},
		Health: config.Health{Port: port},
	}
	for _, f := range change {
		f(&c)
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the configuration of connector %s: %w", name, err)
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, fmt.Errorf("writing the configuration of connector %s: %w", name, err)
	}
	connector := &Connector{ID: id, Health: "http://127.0.0.1:" + strconv.Itoa(port), bed: t, config: file}
	return connector, connector.run(name)
}

func (c *Connector) run(name string) (err error) {
	c.Process, err = c.bed.start(name, c.bed.Binary("connector"), "run", "--config", c.config, "--bind-address", "127.0.0.1")
	return err
}

// Restart stops the connector, which drains it, and starts it with the same
// configuration and identity.
func (c *Connector) Restart() error {
	if err := c.bed.forget(c.Process); err != nil {
		return err
	}
	return c.run(c.Name)
}

// Diagnose runs the command of that name with the connector's configuration,
// beside the connector or in its place. It returns what the command printed and
// its exit code.
func (c *Connector) Diagnose(ctx context.Context, args ...string) (stdout []byte, code int, err error) {
	cmd := exec.CommandContext(ctx, c.bed.Binary("connector"), append([]string{"diagnose", "--config", c.config}, args...)...)
	stdout, err = cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.Exited() {
		return stdout, failed.ExitCode(), nil
	}
	return stdout, 0, err
}

// Stop ends the connector; its identity and configuration stay.
func (c *Connector) Stop() error { return c.bed.forget(c.Process) }

// forget stops a process that the testbed need not stop any more.
func (t *Testbed) forget(p *Process) error {
	t.processes = slices.DeleteFunc(t.processes, func(other *Process) bool { return other == p })
	return p.Stop()
}

// PID is the process id, for measurements.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// AwaitReady waits until the connector says that it serves.
func (c *Connector) AwaitReady(ctx context.Context) error {
	return c.until(ctx, "ready", func() (bool, error) {
		status, err := c.Status(ctx)
		return err == nil && status.Ready, nil // it may not listen yet
	})
}

// Status reads the connector's status page.
func (c *Connector) Status(ctx context.Context) (config.Status, error) {
	var status config.Status
	data, err := c.page(ctx, "/statusz")
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(data, &status); err != nil {
		return status, fmt.Errorf("reading the status of %s: %w", c.Name, err)
	}
	return status, nil
}

// Metrics reads the connector's metrics page.
func (c *Connector) Metrics(ctx context.Context) (string, error) {
	data, err := c.page(ctx, "/metrics")
	return string(data), err
}

func (c *Connector) page(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Health+path, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.Name, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.Name, err)
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// enrol registers a connector and stores its pair in dir.
func (t *Testbed) enrol(ctx context.Context, name, dir string) (connectorID string, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	csr, err := trust.NewCSR(key)
	if err != nil {
		return "", err
	}
	token, err := t.Tenant.Token(ctx, TokenRequest{})
	if err != nil {
		return "", err
	}
	result, err := t.register(ctx, trust.RegistrationRequest{
		CSR: csr, Token: token, TenantID: t.Tenant.TenantID, UserAgent: "PassthroughAuthenticationConnector/1.5.3437.0",
		ModuleVersion: "1.5.3437.0", System: trust.SystemSettings{MachineName: name},
	})
	if err != nil {
		return "", err
	}
	if !result.Successful {
		return "", errors.New(result.ErrorMessage)
	}
	certificate, err := x509.ParseCertificate(result.Certificate)
	if err != nil {
		return "", err
	}
	identity, err := trust.ParseIdentity(certificate)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return identity.ConnectorID, errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: result.Certificate}), 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600),
	)
}

func (t *Testbed) register(ctx context.Context, request trust.RegistrationRequest) (trust.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, registrationLimit)
	defer cancel()
	body, err := request.Marshal()
	if err != nil {
		return trust.Result{}, err
	}
	root, err := t.Tenant.CA()
	if err != nil {
		return trust.Result{}, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root))
	proxy, err := url.Parse(t.Tenant.Proxy)
	if err != nil {
		return trust.Result{}, err
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.Tenant.RegistrationURL+trust.RegistrationPath, bytes.NewReader(body))
	if err != nil {
		return trust.Result{}, err
	}
	req.Header.Set("Content-Type", trust.ContentType)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return trust.Result{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return trust.Result{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return trust.Result{}, fmt.Errorf("the tenant answered %s: %s", resp.Status, bytes.TrimSpace(answer))
	}
	return trust.ParseResult(answer)
}

// freePort finds a port that nothing listens on.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
