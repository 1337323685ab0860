// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = "6f5e4d3c-2b1a-4908-8716-253443526170"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writeIdentity makes an identity as the operator stores it.
func writeIdentity(t *testing.T, dir string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Tenant CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	issuerDER, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	issuer, err := x509.ParseCertificate(issuerDER)
	must(t, err)
	tid, err := guid.Parse(tenant)
	must(t, err)
	der, err := trust.IssueCertificate(trust.IssueRequest{
		PublicKey: &key.PublicKey, TenantID: tid, ConnectorID: guid.New(), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}, issuer, key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))
}

// running is a connector whose only way to the cloud is a proxy that counts
// who asks and refuses everyone.
type running struct {
	t      *testing.T
	pages  string
	asked  atomic.Int32
	logs   *logBuffer
	cancel context.CancelFunc
	done   chan error
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func start(t *testing.T, directory ldapserver.Options, prepare ...func(*ldapserver.Server)) (*running, *ldapserver.Server) {
	t.Helper()
	dir := t.TempDir()
	writeIdentity(t, dir)
	directory.Listen, directory.Dir = "127.0.0.1:0", t.TempDir()
	server, err := ldapserver.Start(t.Context(), directory)
	must(t, err)
	t.Cleanup(server.Close)
	for _, f := range prepare {
		f(server)
	}
	r := &running{t: t, logs: &logBuffer{}, done: make(chan error, 1)}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r.asked.Add(1)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	c := configure(t, dir, server, proxy.URL)
	r.pages = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Health.Port))
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	log := logr.FromSlogHandler(slog.NewJSONHandler(r.logs, nil))
	go func() { r.done <- Run(ctx, Options{Config: c, BindIP: "127.0.0.1", Version: "test", Log: log}) }()
	t.Cleanup(func() {
		cancel()
		http.DefaultClient.CloseIdleConnections()
	})
	return r, server
}

// configure is the configuration of a connector whose identity is in dir.
func configure(t *testing.T, dir string, server *ldapserver.Server, proxyURL string) config.Config {
	t.Helper()
	c, err := config.Parse(mustJSON(t, config.Config{
		APIVersion: config.APIVersion, TenantID: tenant, MachineName: "m",
		Identity: config.Identity{CertificateFile: "tls.crt", KeyFile: "tls.key"},
		Service: config.Service{
			BootstrapURL: "https://" + tenant + ".pta.bootstrap.his.msappproxy.test", Transport: config.TransportWebSocket, ProxyURL: proxyURL,
			ServiceSuffixes: []string{".msappproxy.test"}, RelaySuffixes: []string{".servicebus.test"},
		},
		Validation: config.Validation{Method: config.MethodLDAP, TimeoutSeconds: 2, MaxConcurrent: 4, LDAP: &config.LDAP{Forests: []config.Forest{
			{Suffixes: []string{ldapserver.Domain}, Servers: []string{"ldaps://" + server.Addr()}, CAFile: server.CAFile()},
		}}},
		Health: config.Health{Port: freePort(t)},
	}))
	must(t, err)
	return c.Resolve(dir)
}

func mustJSON(t *testing.T, c config.Config) []byte {
	t.Helper()
	data, err := c.Marshal()
	must(t, err)
	return data
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// until polls the status page for a reason.
func (r *running) until(reason string) config.Status {
	r.t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var status config.Status
	for {
		if body, err := r.get(config.StatusPath); err == nil {
			must(r.t, json.Unmarshal(body, &status))
			if status.Reason == reason {
				return status
			}
		}
		select {
		case <-tick.C:
		case err := <-r.done:
			r.t.Fatalf("the connector ended: %v", err)
		case <-deadline:
			r.t.Fatalf("never %s; last status %+v", reason, status)
		}
	}
}

func (r *running) get(path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.pages+path, nil)
	must(r.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("stopping: %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("the connector does not stop")
	}
}

func TestAValidatorThatAcceptsAnythingIsNeverServed(t *testing.T) {
	r, _ := start(t, ldapserver.Options{AcceptEverything: true})
	status := r.until(config.ReasonValidatorAcceptsAnything)
	if status.Ready || status.Validator.State != config.ValidatorAcceptsAnything {
		t.Errorf("status %+v", status)
	}
	if body, err := r.get("/readyz"); err != nil || !strings.HasPrefix(string(body), config.ReasonValidatorAcceptsAnything) {
		t.Errorf("/readyz says %q, %v", body, err)
	}
	if body, err := r.get("/healthz"); err != nil || string(body) != "ok\n" {
		t.Errorf("/healthz says %q, %v: the process must stay to tell why", body, err)
	}
	if n := r.asked.Load(); n != 0 {
		t.Errorf("the cloud was called %d times by a connector that must not serve", n)
	}
	r.stop()
}

func TestNothingIsCalledBeforeTheValidatorIsProven(t *testing.T) {
	bound := make(chan struct{})
	release := make(chan struct{})
	var once sync.Once
	r, _ := start(t, ldapserver.Options{OnBind: func(string) {
		once.Do(func() { close(bound) })
		<-release
	}})
	<-bound
	if n := r.asked.Load(); n != 0 {
		t.Errorf("the cloud was called %d times before the validator had refused", n)
	}
	close(release)
	// Proven: now the bootstrap is tried, through a proxy that refuses.
	status := r.until(config.ReasonBootstrapFailing)
	if status.Validator.State != config.ValidatorProven || r.asked.Load() == 0 {
		t.Errorf("status %+v, %d calls", status, r.asked.Load())
	}
	if body, err := r.get("/metrics"); err != nil || !bytes.Contains(body, []byte(`passthrough_connector_validator_checks_total{result="refused"} 1`)) {
		t.Errorf("the proof is not counted: %v", err)
	}
	r.stop()
}

func TestADirectoryThatIsDownIsTriedAgain(t *testing.T) {
	r, server := start(t, ldapserver.Options{}, func(s *ldapserver.Server) { s.SetOutage(true) })
	status := r.until(config.ReasonValidatorFailing)
	if status.Message == "" || r.asked.Load() != 0 {
		t.Errorf("status %+v after %d calls: a connector without a directory must not listen", status, r.asked.Load())
	}
	server.SetOutage(false)
	r.until(config.ReasonBootstrapFailing)
	r.stop()
}

func TestRunSaysWhatKeepsItFromStarting(t *testing.T) {
	dir := t.TempDir()
	c := config.Config{TenantID: tenant, Identity: config.Identity{CertificateFile: filepath.Join(dir, "none"), KeyFile: filepath.Join(dir, "none")}}
	if err := Run(t.Context(), Options{Config: c, Log: logr.Discard()}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without an identity: %v", err)
	}
	writeIdentity(t, dir)
	c.Identity = config.Identity{CertificateFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	c.Service.CAFile = filepath.Join(dir, "tls.key")
	if err := Run(t.Context(), Options{Config: c, Log: logr.Discard()}); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("with a CA bundle that is none: %v", err)
	}
}
