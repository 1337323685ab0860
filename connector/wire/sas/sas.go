// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sas signs and verifies the shared access signatures with which a
// connector proves that it may listen on a relay address.
//
// A token names a resource, an expiry and a key, and carries an HMAC-SHA256 of
// the first two (protocol section 5.8). The bootstrap answer holds one key for
// each signalling endpoint; the connector signs a token with it and puts it
// into the properties of both AMQP links:
//
//	uri := sas.ResourceURI(endpoint.Host(), endpoint.ServicePath)
//	token := sas.Sign(uri, endpoint.SharedAccessKeyName, endpoint.SharedAccessKey, time.Now().Add(time.Hour))
//
// The other side parses what arrived, looks the key up by name, and asks three
// questions: was it signed with that key, does it cover the address of the
// link, has it expired. None of them implies another.
//
// The MAC covers the resource as it was percent-encoded by the signer. Clients
// differ in the case of the hex digits, so a verifier must never re-encode:
// [Token] keeps the text as sent. The key is text too: its UTF-8 bytes are the
// HMAC key, although it looks like base64.
package sas

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// MaxToken is the longest token, in bytes, that [Parse] looks at. The service's
// own tokens are below 300 bytes.
const MaxToken = 4096

const prefix = "SharedAccessSignature "

// maxExpiry is the end of the year 9999, the last moment .NET can hold. Later
// expiries are read as this one.
const maxExpiry = 253402300799

// ResourceURI names the relay address of a host ("namespace.servicebus...")
// and a service path as a token does: scheme http, lower case, trailing slash.
func ResourceURI(host, path string) string {
	return strings.ToLower("http://" + host + "/" + strings.Trim(path, "/") + "/")
}

// Sign returns a token for the resource that is valid until expiry, which is
// cut to whole seconds. The hex digits of its escapes are lower case, as the
// service's own library writes them. The token is a credential: do not log it.
func Sign(resourceURI, keyName, key string, expiry time.Time) string {
	sr := escape(resourceURI)
	se := strconv.FormatInt(expiry.Unix(), 10)
	sig := base64.StdEncoding.EncodeToString(mac(key, sr, se))
	return prefix + "sr=" + sr + "&sig=" + escape(sig) + "&se=" + se + "&skn=" + escape(keyName)
}

// Token is a parsed token whose signature has not been checked yet.
type Token struct {
	// Resource is the decoded resource URI.
	Resource string
	// KeyName says which key must verify the token.
	KeyName string
	// Expiry is when the token ends. The service has accepted clients whose
	// expiries lie decades ahead, so there is no upper bound to enforce.
	Expiry time.Time

	encodedResource string
	encodedExpiry   string
	signature       []byte
}

// Parse reads a token. The error never repeats the token. A token that parses
// proves nothing: call Verify, Covers and Expired.
func Parse(token string) (Token, error) {
	if len(token) > MaxToken {
		return Token{}, fmt.Errorf("SAS token has %d bytes, more than the %d allowed", len(token), MaxToken)
	}
	if len(token) < len(prefix) || !strings.EqualFold(token[:len(prefix)], prefix) {
		return Token{}, fmt.Errorf("SAS token does not begin with %q", prefix)
	}
	fields := map[string]string{}
	for pair := range strings.SplitSeq(token[len(prefix):], "&") {
		name, value, found := strings.Cut(pair, "=")
		if !found || value == "" {
			return Token{}, errors.New("SAS token holds a field without a value")
		}
		if _, again := fields[name]; again {
			return Token{}, errors.New("SAS token holds a field twice")
		}
		fields[name] = value
	}
	t := Token{encodedResource: fields["sr"], encodedExpiry: fields["se"]}
	var err error
	if t.Resource, err = unescape("sr", fields["sr"]); err != nil {
		return Token{}, err
	}
	if t.KeyName, err = unescape("skn", fields["skn"]); err != nil {
		return Token{}, err
	}
	sig, err := unescape("sig", fields["sig"])
	if err != nil {
		return Token{}, err
	}
	if t.signature, err = base64.StdEncoding.DecodeString(sig); err != nil || len(t.signature) != sha256.Size {
		return Token{}, errors.New("SAS token's field sig is not the base64 of an HMAC-SHA256")
	}
	t.Expiry, err = parseExpiry(t.encodedExpiry)
	return t, err
}

// Verify reports, in constant time, whether the token was signed with the key.
func (t Token) Verify(key string) bool {
	return len(t.signature) > 0 && hmac.Equal(t.signature, mac(key, t.encodedResource, t.encodedExpiry))
}

// Expired reports whether the token had ended at the given time.
func (t Token) Expired(now time.Time) bool { return !now.Before(t.Expiry) }

// Covers reports whether the token's resource is the given link address. Case
// and a trailing slash do not matter; the schemes a relay address may have (sb,
// amqp, ws, http, each plain or secure) are all read as the http of a resource;
// a port in the address is ignored, since tokens name none.
func (t Token) Covers(linkAddress string) bool {
	resource, ok := canonical(t.Resource)
	if !ok {
		return false
	}
	address, ok := canonical(linkAddress)
	return ok && resource == address
}

// Format prints the resource and never the signature, whatever the verb: a
// token that reaches a log must not be usable from there.
func (t Token) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "SAS token for %q", t.Resource)
}

// canonical reduces an address to "host/path" in lower case.
func canonical(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	switch u.Scheme { // url.Parse has lower-cased it
	case "http", "https", "sb", "amqp", "amqps", "ws", "wss":
	default:
		return "", false
	}
	return strings.ToLower(u.Hostname() + "/" + strings.Trim(u.Path, "/")), true
}

func parseExpiry(s string) (time.Time, error) {
	if s == "" || len(s) > 20 || strings.Trim(s, "0123456789") != "" {
		return time.Time{}, errors.New("SAS token's field se is not a number of seconds since 1970")
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil || seconds > maxExpiry { // more digits than fit: further away still
		seconds = maxExpiry
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func mac(key, encodedResource, encodedExpiry string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(encodedResource + "\n" + encodedExpiry))
	return h.Sum(nil)
}

func unescape(name, value string) (string, error) {
	if value == "" {
		return "", fmt.Errorf("SAS token has no field %s", name)
	}
	decoded, err := url.QueryUnescape(value)
	if err != nil {
		return "", fmt.Errorf("SAS token's field %s is not URL-encoded", name)
	}
	return decoded, nil
}

// escape is .NET's form URL encoding: lower-case hex, space as plus, and a few
// marks left alone that net/url would escape.
func escape(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.!*()", c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
