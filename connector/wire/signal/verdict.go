// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Claim types and right of the verdict (protocol section 9.3).
const (
	claimAuthentication = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/authentication"
	claimName           = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
	claimReason         = "http://msappproxy.net/ws/2015/02/identity/claims/validationfailurereasoning"
	rightIdentity       = "http://schemas.xmlsoap.org/ws/2005/05/identity/right/identity"

	// maxVerdict bounds the header value, in bytes.
	maxVerdict = 16384
)

// Verdict is a connector's answer to a password validation.
type Verdict struct {
	Authenticated bool
	// UserPrincipalName is the name of the request, echoed on success.
	UserPrincipalName string
	// Reason says why a validation failed.
	Reason Reason
}

// Reason is a Win32 code or, where there is none, a text.
type Reason struct {
	Code int32
	Text string
}

// ReasonEncryptionDataNotFound is the answer when a request holds no entry for
// any key of this connector.
const ReasonEncryptionDataNotFound = "EncryptionDataNotFound"

// String returns the text, or the code in decimal.
func (r Reason) String() string {
	if r.Text != "" {
		return r.Text
	}
	return strconv.FormatInt(int64(r.Code), 10)
}

// EncodeVerdict returns the value of the x-cwap-backend-response header.
func EncodeVerdict(v Verdict) string {
	second, resource := claimReason, strconv.FormatInt(int64(v.Reason.Code), 10)
	switch {
	case v.Authenticated:
		second, resource = claimName, quote(v.UserPrincipalName)
	case v.Reason.Text != "":
		resource = quote(v.Reason.Text)
	}
	var b strings.Builder
	b.WriteByte('[')
	writeClaim(&b, claimAuthentication, strconv.FormatBool(v.Authenticated))
	b.WriteByte(',')
	writeClaim(&b, second, resource)
	b.WriteByte(']')
	return base64.StdEncoding.EncodeToString([]byte(b.String()))
}

func writeClaim(b *strings.Builder, claimType, resource string) {
	b.WriteString(`{"ClaimType":` + quote(claimType) + `,"Resource":` + resource + `,"Right":` + quote(rightIdentity) + `}`)
}

// quote writes a JSON string as the data contract serializer does: with
// slashes escaped and nothing else beyond what JSON needs.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("signal: a string cannot be encoded as JSON: " + err.Error()) // encoding/json has no such case
	}
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "/", `\/`)
}

// DecodeVerdict reads the header's value. It fails, rather than guess, if the
// authentication claim is missing, doubled or not a boolean.
func DecodeVerdict(header string) (Verdict, error) {
	v, err := decodeVerdict(header)
	if err != nil {
		return Verdict{}, fmt.Errorf("reading a verdict: %w", err)
	}
	return v, nil
}

func decodeVerdict(header string) (Verdict, error) {
	if len(header) > maxVerdict {
		return Verdict{}, fmt.Errorf("%d bytes are more than %d", len(header), maxVerdict)
	}
	data, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		return Verdict{}, errors.New("it is not base64")
	}
	var claims []struct {
		ClaimType string
		Resource  json.RawMessage
	}
	if err := json.Unmarshal(data, &claims); err != nil {
		return Verdict{}, errors.New("it is not a JSON array of claims")
	}
	var v Verdict
	verdicts := 0
	for _, c := range claims {
		switch c.ClaimType {
		case claimAuthentication:
			verdicts++
			err = json.Unmarshal(c.Resource, &v.Authenticated)
		case claimName:
			err = json.Unmarshal(c.Resource, &v.UserPrincipalName)
		case claimReason:
			v.Reason, err = decodeReason(c.Resource)
		}
		if err != nil {
			return Verdict{}, fmt.Errorf("claim %.120q has a value of the wrong type", c.ClaimType)
		}
	}
	if verdicts != 1 {
		return Verdict{}, fmt.Errorf("it holds %d authentication claims, want one", verdicts)
	}
	return v, nil
}

// decodeReason accepts a number, a number in quotes, and text.
func decodeReason(raw json.RawMessage) (Reason, error) {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return Reason{}, err
		}
		if _, err := strconv.ParseInt(text, 10, 32); err != nil {
			return Reason{Text: text}, nil //nolint:nilerr // not a number: it is a text
		}
	}
	code, err := strconv.ParseInt(text, 10, 32)
	return Reason{Code: int32(code)}, err
}
