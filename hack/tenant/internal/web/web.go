// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package web is the tenant's face: the sign-in page, the list of agents as an
// administrator's portal shows it, the page where an administrator approves the
// sign-in of a program, and a JSON API for tests and demonstrations.
//
// It is plain HTTP on a loopback address. Requests must name that address as
// their host, and requests that change something must not come from another
// site's page: a browser on the same machine is not to be talked into anything.
//
// Passwords are read into one buffer per request that is wiped before the
// answer is written; they pass through no string.
package web

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registry"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/relaying"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/token"
)

//go:embed assets
var assets embed.FS

var pages = template.Must(template.ParseFS(assets, "assets/*.html"))

// SignIns signs users in.
type SignIns interface {
	SignIn(ctx context.Context, username string, password []byte, preference signin.Preference) (signin.Result, error)
}

// Agents lists the connectors.
type Agents interface {
	Agents(now time.Time) ([]registry.Agent, error)
	Active(a registry.Agent, now time.Time) bool
}

// Listeners lists who listens.
type Listeners interface {
	Listeners() []relaying.Listener
}

// Tokens mints access tokens.
type Tokens interface {
	Token(r token.Request, now time.Time) (string, error)
}

// Site serves pages and API.
type Site struct {
	SignIns   SignIns
	Agents    Agents
	Listeners Listeners
	Tokens    Tokens
	Consent   Consent
	// Bootstraps, Keys and Certificates can be made to behave in other ways.
	Bootstraps   Bootstraps
	Keys         Keys
	Certificates Certificates
	Tally        *tally.Tally
	Log          logr.Logger
}

// Agent is an entry of GET /api/agents.
type Agent struct {
	ConnectorID string `json:"connectorID"`
	Name        string `json:"name"`
	Thumbprint  string `json:"thumbprint"` // of the newest certificate
	Active      bool   `json:"active"`
	Listening   bool   `json:"listening"`
	// Links is how many signalling links the agent holds.
	Links         int       `json:"links"`
	Version       string    `json:"version"`
	Registered    time.Time `json:"registered"`
	LastBootstrap time.Time `json:"lastBootstrap"` // the year 1 if never
	NotAfter      time.Time `json:"notAfter"`
}

// Handler returns the whole site.
func (s *Site) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { s.page(w, http.StatusOK, "signin", form{}) })
	mux.HandleFunc("POST /signin", s.signInPage)
	mux.HandleFunc("GET /agents", s.agentsPage)
	mux.HandleFunc("GET "+ConsentPath, s.consentPage)
	mux.HandleFunc("POST "+ConsentPath, s.decide)
	mux.HandleFunc("GET /style.css", style)
	mux.HandleFunc("POST /api/signin", s.signInAPI)
	mux.HandleFunc("GET /api/agents", s.agentsAPI)
	mux.HandleFunc("POST /api/tokens", s.tokensAPI)
	mux.HandleFunc("POST /api/revoke-sign-ins", s.revokeAPI)
	mux.HandleFunc("GET /api/bootstrap", func(w http.ResponseWriter, _ *http.Request) { s.json(w, http.StatusOK, s.Bootstraps.Directions()) })
	mux.HandleFunc("POST /api/bootstrap", s.bootstrapAPI)
	mux.HandleFunc("POST /api/rotate-keys", s.rotateAPI)
	mux.HandleFunc("POST /api/certificates", s.certificatesAPI)
	mux.HandleFunc("GET /api/stats", func(w http.ResponseWriter, _ *http.Request) { s.json(w, http.StatusOK, s.Tally.Snapshot()) })
	return headers(loopbackOnly(http.NewCrossOriginProtection().Handler(mux)))
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// loopbackOnly refuses requests for other names, which a page elsewhere could
// have pointed here.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if address, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !address.IsLoopback()) {
			http.Error(w, "this site is served on loopback addresses only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, assets, "assets/style.css")
}

// form is what the sign-in page shows.
type form struct{ Username, Error string }

func (s *Site) signInPage(w http.ResponseWriter, r *http.Request) {
	c, err := readForm(w, r)
	defer c.wipe()
	if err != nil {
		s.page(w, http.StatusBadRequest, "signin", form{Error: "The form could not be read."})
		return
	}
	result, err := s.SignIns.SignIn(r.Context(), c.username, c.password, c.preference)
	if input := (*signin.InputError)(nil); errors.As(err, &input) {
		s.page(w, http.StatusBadRequest, "signin", form{Username: c.username, Error: input.Message})
		return
	}
	if err != nil {
		s.Log.Error(err, "Cannot sign a user in")
		s.page(w, http.StatusInternalServerError, "signin", form{Username: c.username, Error: "The tenant failed, see its log."})
		return
	}
	s.page(w, http.StatusOK, "result", result)
}

func (s *Site) agentsPage(w http.ResponseWriter, _ *http.Request) {
	agents, err := s.agents()
	if err != nil {
		s.Log.Error(err, "Cannot list the agents")
		http.Error(w, "the tenant failed, see its log", http.StatusInternalServerError)
		return
	}
	s.page(w, http.StatusOK, "agents", agents)
}

func (s *Site) agents() ([]Agent, error) {
	now := time.Now()
	registered, err := s.Agents.Agents(now)
	if err != nil {
		return nil, err
	}
	links := map[string]int{}
	for _, l := range s.Listeners.Listeners() {
		links[l.ConnectorID]++
	}
	all := make([]Agent, 0, len(registered))
	for _, a := range registered {
		all = append(all, Agent{
			ConnectorID: a.ConnectorID, Name: a.Name, Version: a.Version,
			Thumbprint: a.Current().Thumbprint, NotAfter: a.Current().NotAfter.UTC(),
			Active: s.Agents.Active(a, now), Listening: links[a.ConnectorID] > 0, Links: links[a.ConnectorID],
			Registered: a.Registered.UTC(), LastBootstrap: a.LastBootstrap.UTC(),
		})
	}
	return all, nil
}

func (s *Site) signInAPI(w http.ResponseWriter, r *http.Request) {
	c, err := readJSON(w, r)
	defer c.wipe()
	if err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	result, err := s.SignIns.SignIn(r.Context(), c.username, c.password, c.preference)
	switch input := (*signin.InputError)(nil); {
	case errors.As(err, &input):
		s.problem(w, http.StatusBadRequest, input)
	case err != nil:
		s.Log.Error(err, "Cannot sign a user in")
		s.problem(w, http.StatusInternalServerError, errors.New("the tenant failed, see its log"))
	default:
		s.json(w, http.StatusOK, result)
	}
}

func (s *Site) agentsAPI(w http.ResponseWriter, _ *http.Request) {
	agents, err := s.agents()
	if err != nil {
		s.Log.Error(err, "Cannot list the agents")
		s.problem(w, http.StatusInternalServerError, errors.New("the tenant failed, see its log"))
		return
	}
	s.json(w, http.StatusOK, agents)
}

// maxLifetime bounds what POST /api/tokens gives out.
const maxLifetime = 90 * 24 * time.Hour

func (s *Site) tokensAPI(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	var in struct {
		TenantID   string `json:"tenantID"`
		TTLSeconds int64  `json:"ttlSeconds"`
		Audience   string `json:"audience"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if len(bytes.TrimSpace(body)) > 0 {
		if err := decoder.Decode(&in); err != nil {
			s.problem(w, http.StatusBadRequest, fmt.Errorf("reading the request: %w", err))
			return
		}
	}
	limit := int64(maxLifetime / time.Second)
	if in.TTLSeconds > limit || in.TTLSeconds < -limit {
		s.problem(w, http.StatusBadRequest, fmt.Errorf("ttlSeconds must be between %d and %d", -limit, limit))
		return
	}
	if in.TenantID != "" {
		if _, err := guid.Parse(in.TenantID); err != nil {
			s.problem(w, http.StatusBadRequest, fmt.Errorf("tenantID: %w", err))
			return
		}
	}
	signed, err := s.Tokens.Token(token.Request{TenantID: in.TenantID, Audience: in.Audience, Lifetime: time.Duration(in.TTLSeconds) * time.Second}, time.Now())
	if err != nil {
		s.Log.Error(err, "Cannot mint a token")
		s.problem(w, http.StatusInternalServerError, errors.New("the tenant failed, see its log"))
		return
	}
	s.json(w, http.StatusOK, map[string]string{"token": signed})
}

func (s *Site) problem(w http.ResponseWriter, status int, err error) {
	s.json(w, status, map[string]string{"error": err.Error()})
}

func (s *Site) json(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.Log.V(1).Info("An answer did not reach its client", "why", err.Error())
	}
}

func (s *Site) page(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		s.Log.Error(err, "Cannot draw a page", "page", name)
		http.Error(w, "the tenant failed, see its log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if _, err := page.WriteTo(w); err != nil {
		s.Log.V(1).Info("A page did not reach its reader", "why", err.Error())
	}
}
