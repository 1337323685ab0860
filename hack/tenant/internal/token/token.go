// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package token mints and checks the access tokens that registration wants
// (protocol section 2.2). The real ones come from an administrator's sign-in;
// this tenant signs its own, with a key that lives in its directory.
package token

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/statefile"
)

const (
	// DefaultLifetime is that of the service's access tokens, roughly.
	DefaultLifetime = time.Hour
	// wizardApp is the client id of the wizard that gets such tokens.
	wizardApp = "cb1056e2-e479-49de-ae31-7812af012ed8"
	// hybridIdentityAdministrator is the role that may register connectors.
	hybridIdentityAdministrator = "8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2"
	scope                       = "user_impersonation"
	keyID                       = "passthrough-test-tenant"
)

// claims are those of a v1.0 user token.
type claims struct {
	jwt.RegisteredClaims
	TenantID string   `json:"tid"`
	Scope    string   `json:"scp"`
	AppID    string   `json:"appid"`
	UPN      string   `json:"upn"`
	Roles    []string `json:"wids"`
	Version  string   `json:"ver"`
}

// Request says what to put into a token; the zero value gives a good one.
type Request struct {
	TenantID string        // empty: this tenant
	Audience string        // empty: the registration service
	ClientID string        // empty: the wizard that gets such tokens
	Lifetime time.Duration // zero: DefaultLifetime; negative: over already
}

// Mint signs and checks tokens of one tenant.
type Mint struct {
	key    *rsa.PrivateKey
	tenant string
	issuer func(tenant string) string
}

// Open reads the signing key in dir and makes it if there is none. domain is
// part of the issuer's name.
func Open(dir, tenant, domain string) (*Mint, error) {
	key, err := openKey(filepath.Join(dir, "token-key.pem"))
	if err != nil {
		return nil, fmt.Errorf("opening the key for tokens: %w", err)
	}
	return &Mint{key: key, tenant: tenant, issuer: func(t string) string { return "https://sts." + domain + "/" + t + "/" }}, nil
}

func openKey(file string) (*rsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, statefile.Write(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err != nil {
		return nil, err
	}
	return jwt.ParseRSAPrivateKeyFromPEM(data)
}

// Token signs a token.
func (m *Mint) Token(r Request, now time.Time) (string, error) {
	if r.TenantID == "" {
		r.TenantID = m.tenant
	}
	if r.Audience == "" {
		r.Audience = trust.TokenAudience
	}
	if r.Lifetime == 0 {
		r.Lifetime = DefaultLifetime
	}
	if r.ClientID == "" {
		r.ClientID = wizardApp
	}
	begin := now
	if r.Lifetime < 0 { // a token does not end before it begins
		begin = now.Add(r.Lifetime - DefaultLifetime)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: m.issuer(r.TenantID), Audience: jwt.ClaimStrings{r.Audience}, ID: guid.New().String(),
			IssuedAt: jwt.NewNumericDate(begin), NotBefore: jwt.NewNumericDate(begin), ExpiresAt: jwt.NewNumericDate(now.Add(r.Lifetime)),
		},
		TenantID: r.TenantID, Scope: scope, AppID: r.ClientID, UPN: "admin@contoso.example",
		Roles: []string{hybridIdentityAdministrator}, Version: "1.0",
	})
	t.Header["kid"] = keyID
	signed, err := t.SignedString(m.key)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed, nil
}

// Check reports why a token does not allow its bearer to register a connector
// with the tenant. The error is meant for the caller of registration and never
// repeats the token.
func (m *Mint) Check(raw string, now time.Time) error {
	var c claims
	_, err := jwt.ParseWithClaims(raw, &c, func(*jwt.Token) (any, error) { return &m.key.PublicKey, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithAudience(trust.TokenAudience), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }))
	switch {
	case err == nil:
	case errors.Is(err, jwt.ErrTokenExpired):
		return errors.New("the access token has expired: get a new one")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return errors.New("the access token is not valid yet: check the clocks")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return errors.New("the access token is for another service: ask for one with audience " + trust.TokenAudience)
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errors.New("the access token was not signed by this tenant")
	default:
		return errors.New("the access token cannot be read or lacks a claim")
	}
	switch {
	case c.TenantID != m.tenant || c.Issuer != m.issuer(m.tenant):
		return fmt.Errorf("the access token is for tenant %.36q, not for this one", c.TenantID)
	case c.Scope != scope:
		return errors.New("the access token lacks the scope " + scope)
	}
	return nil
}
