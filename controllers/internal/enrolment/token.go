// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

// tokenLimit bounds what is taken for a token. Real ones are 1 to 4 KiB.
const tokenLimit = 16 << 10

// claims are the parts of an access token that are looked at.
type claims struct {
	Tenant   string   `json:"tid"`
	Expiry   *float64 `json:"exp"`
	Audience audience `json:"aud"`
}

// audience is one string or several (RFC 7519 section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*a = audience{one}
		return nil
	}
	var several []string
	if err := json.Unmarshal(data, &several); err != nil {
		return fmt.Errorf("aud is neither a string nor a list of strings")
	}
	*a = several
	return nil
}

// CheckToken looks at a registration token before it is sent, so that the
// commonest mistakes get a precise reason and no call is made: it must be a JSON
// web token of this tenant, for the registration service (protocol section
// 2.2), that has not expired. The signature is the service's to check. A token
// without the tenant or audience claim is left to the service, too. The error is
// an *Error and does not repeat the token.
func CheckToken(token, tenantID string, now time.Time) error {
	c, why := parseClaims(token)
	if why != "" {
		return &Error{Reason: v1alpha1.ReasonTokenMalformed, Message: "the registration token is not a JSON web token: " + why}
	}
	if c.Tenant != "" && !strings.EqualFold(c.Tenant, tenantID) {
		return &Error{Reason: v1alpha1.ReasonTokenForOtherTenant, Message: fmt.Sprintf("the registration token was issued by tenant %s, not by spec.tenantID %s: get a token as an administrator of the right tenant", clean(c.Tenant, token), tenantID)}
	}
	if len(c.Audience) > 0 && !slices.ContainsFunc(c.Audience, rightAudience) {
		return &Error{Reason: v1alpha1.ReasonTokenWrongAudience, Message: fmt.Sprintf("the registration token is for %s, not for %s: request it for that resource", clean(strings.Join(c.Audience, ", "), token), trust.TokenAudience)}
	}
	if c.Expiry != nil {
		expiry := time.Unix(int64(*c.Expiry), 0).UTC()
		if !now.Before(expiry) {
			return &Error{Reason: v1alpha1.ReasonTokenExpired, Message: fmt.Sprintf("the registration token expired at %s", expiry.Format(time.RFC3339))}
		}
	}
	return nil
}

func rightAudience(aud string) bool {
	return strings.TrimSuffix(aud, "/") == trust.TokenAudience
}

// parseClaims reads a token's middle part. why says in a few words what is wrong.
func parseClaims(token string) (c claims, why string) {
	if len(token) > tokenLimit {
		return c, fmt.Sprintf("it is longer than %d bytes", tokenLimit)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, fmt.Sprintf("it has %d parts between dots instead of 3", len(parts))
	}
	for i, name := range []string{"header", "payload"} {
		data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "="))
		if err != nil {
			return c, "its " + name + " is not base64url"
		}
		if !json.Valid(data) {
			return c, "its " + name + " is not JSON"
		}
		if name == "payload" {
			if err := json.Unmarshal(data, &c); err != nil {
				return c, "its payload does not hold the claims of a token"
			}
		}
	}
	return c, ""
}
