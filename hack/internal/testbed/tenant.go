// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Tenant is the cloud side: where it listens, as it wrote when it was ready,
// and its API.
type Tenant struct {
	TLS             string `json:"tls"`
	Proxy           string `json:"proxy"`
	Web             string `json:"web"`
	CAFile          string `json:"caFile"`
	TenantID        string `json:"tenantID"`
	RegistrationURL string `json:"registrationURL"`
	BootstrapURL    string `json:"bootstrapURL"`
	LoginURL        string `json:"loginURL"`

	Admin             string `json:"admin"`
	AdminPasswordFile string `json:"adminPasswordFile"`
}

// SignIn is the outcome of one sign-in as the tenant saw it.
type SignIn struct {
	RequestID     string  `json:"requestID"`
	CorrelationID string  `json:"correlationID"`
	Username      string  `json:"username"`
	Verdict       string  `json:"verdict"` // "success" or "failure"
	Reason        string  `json:"reason"`  // Win32 code or text; empty on success
	AADSTS        int     `json:"aadsts"`
	Message       string  `json:"message"`
	ConnectorID   string  `json:"connectorID"`
	ConnectorName string  `json:"connectorName"`
	LatencyMS     float64 `json:"latencyMs"`
	Attempts      int     `json:"attempts"`
	// Endpoint is the kind of the one over which the last attempt went: "plain",
	// "reliable", or empty if nobody listened.
	Endpoint string `json:"endpoint"`
	// AnswerHeaders came with the verdict.
	AnswerHeaders map[string]string `json:"answerHeaders"`
}

// Agent is a registered connector as the tenant lists it.
type Agent struct {
	ConnectorID   string    `json:"connectorID"`
	Name          string    `json:"name"`
	Thumbprint    string    `json:"thumbprint"`
	Active        bool      `json:"active"`
	Listening     bool      `json:"listening"`
	LastBootstrap time.Time `json:"lastBootstrap"`
	NotAfter      time.Time `json:"notAfter"`
}

// Stats are the tenant's counters.
type Stats struct {
	Registrations int `json:"registrations"`
	Bootstraps    int `json:"bootstraps"`
	SignIns       int `json:"signIns"`
	Responses     int `json:"responses"`
	// LateResponses came after the time limit or twice; ConflictingResponses are
	// those of them that contradict the one that was taken.
	LateResponses        int `json:"lateResponses"`
	ConflictingResponses int `json:"conflictingResponses"`
}

// TokenRequest asks for a registration token; the zero value asks for a good
// one, the fields for tokens that registration must refuse.
type TokenRequest struct {
	TenantID   string `json:"tenantID,omitempty"`
	TTLSeconds int    `json:"ttlSeconds,omitempty"`
	Audience   string `json:"audience,omitempty"`
}

// SignIn signs a user in and waits for the verdict.
func (t *Tenant) SignIn(ctx context.Context, username, password string) (SignIn, error) {
	var out SignIn
	err := t.call(ctx, http.MethodPost, "/api/signin", map[string]string{"username": username, "password": password}, &out)
	return out, err
}

// Token mints a registration token.
func (t *Tenant) Token(ctx context.Context, req TokenRequest) (string, error) {
	var out struct {
		Token string `json:"token"`
	}
	err := t.call(ctx, http.MethodPost, "/api/tokens", req, &out)
	return out.Token, err
}

// Agents lists the registered connectors.
func (t *Tenant) Agents(ctx context.Context) ([]Agent, error) {
	var out []Agent
	return out, t.call(ctx, http.MethodGet, "/api/agents", nil, &out)
}

// Stats returns the tenant's counters.
func (t *Tenant) Stats(ctx context.Context) (Stats, error) {
	var out Stats
	return out, t.call(ctx, http.MethodGet, "/api/stats", nil, &out)
}

// CertificateLifetime sets how long certificates live that are issued from now on;
// 0 returns to what the tenant was started with.
func (t *Tenant) CertificateLifetime(ctx context.Context, lifetime time.Duration) error {
	var out struct{}
	return t.call(ctx, http.MethodPost, "/api/certificates", map[string]int64{"lifetimeSeconds": int64(lifetime / time.Second)}, &out)
}

// Approve lets the administrator approve the sign-in with a code, on the page that was
// shown with it.
func (t *Tenant) Approve(ctx context.Context, page, code string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	password, err := os.ReadFile(t.AdminPasswordFile)
	if err != nil {
		return fmt.Errorf("reading the administrator's password: %w", err)
	}
	form := url.Values{"code": {code}, "username": {t.Admin}, "password": {string(password)}, "decision": {"approve"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, page, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("asking the tenant: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the tenant: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the tenant answered %s to the code %s", resp.Status, code)
	}
	return nil
}

// RevokeSignIns ends what the administrator has approved.
func (t *Tenant) RevokeSignIns(ctx context.Context) error {
	var out struct{}
	return t.call(ctx, http.MethodPost, "/api/revoke-sign-ins", struct{}{}, &out)
}

// CA returns the tenant's CA certificates, PEM encoded.
func (t *Tenant) CA() (string, error) {
	data, err := os.ReadFile(t.CAFile)
	return string(data), err
}

func (t *Tenant) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding the request to the tenant: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, t.Web+path, body)
	if err != nil {
		return fmt.Errorf("asking the tenant: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the tenant: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the tenant's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the tenant answered %s to %s %s: %s", resp.Status, method, path, bytes.TrimSpace(data))
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("reading the tenant's answer to %s %s: %w", method, path, err)
	}
	return nil
}
