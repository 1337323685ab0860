// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sas

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The worked example of protocol section 12.3.
const (
	host = "his-nam1-test1.servicebus.windows.net"
	path = "6f5e4d3c-2b1a-4908-8716-253443526170_9a8b7c6d-5e4f-4a3b-9c2d-1e0f1a2b3c4d_reliable"
	key  = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

	lower = "SharedAccessSignature sr=http%3a%2f%2fhis-nam1-test1.servicebus.windows.net%2f6f5e4d3c-2b1a-4908-8716-253443526170_9a8b7c6d-5e4f-4a3b-9c2d-1e0f1a2b3c4d_reliable%2f&sig=xRCJonofcWlvBVFR52oorZlOW38X9mGDm4XqZblN374%3d&se=1767225600&skn=Connector"
	upper = "SharedAccessSignature sr=http%3A%2F%2Fhis-nam1-test1.servicebus.windows.net%2F6f5e4d3c-2b1a-4908-8716-253443526170_9a8b7c6d-5e4f-4a3b-9c2d-1e0f1a2b3c4d_reliable%2F&sig=Qfr4o4fjzemD7XR60nwp4Lbkbd2xbk4Iwy%2F3LdWxRBo%3D&se=1767225600&skn=Connector"
)

var expiry = time.Unix(1767225600, 0)

func TestSignGivesTheServicesOwnBytes(t *testing.T) {
	for name, uri := range map[string]string{
		"as the endpoint is named": ResourceURI(host, path),
		"in mixed case":            ResourceURI(strings.ToUpper(host), strings.ToUpper(path)),
		"with slashes around":      ResourceURI(host, "/"+path+"/"),
	} {
		if got := Sign(uri, "Connector", key, expiry); got != lower {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, lower)
		}
	}
}

func TestBothSpellingsVerify(t *testing.T) {
	for name, token := range map[string]string{"lower case": lower, "upper case": upper} {
		t.Run(name, func(t *testing.T) {
			tok, err := Parse(token)
			if err != nil {
				t.Fatal(err)
			}
			if !tok.Verify(key) {
				t.Error("the right key is refused")
			}
			for _, wrong := range []string{"", key[:43], key + "=", strings.ToLower(key), "\x00\x01\x02\x03"} {
				if tok.Verify(wrong) {
					t.Errorf("key %q is accepted", wrong)
				}
			}
			if tok.KeyName != "Connector" || tok.Resource != ResourceURI(host, path) || !tok.Expiry.Equal(expiry) {
				t.Errorf("key name %q, resource %q, expiry %v", tok.KeyName, tok.Resource, tok.Expiry)
			}
			if tok.Expired(expiry.Add(-time.Second)) || !tok.Expired(expiry) {
				t.Error("expiry is misjudged")
			}
		})
	}
}

func TestATokenThatWasChangedDoesNotVerify(t *testing.T) {
	for name, token := range map[string]string{
		"another resource":           strings.Replace(lower, "reliable", "reliablf", 1),
		"the escapes in other case":  strings.ReplaceAll(lower, "%2f", "%2F"),
		"a later expiry":             strings.Replace(lower, "se=17", "se=27", 1),
		"a leading zero":             strings.Replace(lower, "se=1", "se=01", 1),
		"the signature of the other": strings.Replace(lower, "xRCJonofcWlvBVFR52oorZlOW38X9mGDm4XqZblN374%3d", "Qfr4o4fjzemD7XR60nwp4Lbkbd2xbk4Iwy%2F3LdWxRBo%3D", 1),
	} {
		tok, err := Parse(token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tok.Verify(key) {
			t.Errorf("%s verifies", name)
		}
	}
	if (Token{}).Verify("") {
		t.Error("the zero token verifies")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, token := range map[string]string{
		"nothing":                   "",
		"another scheme":            "Bearer " + lower,
		"no resource":               "SharedAccessSignature sig=a&se=1&skn=k",
		"no key name":               strings.TrimSuffix(lower, "&skn=Connector"),
		"an empty key name":         strings.TrimSuffix(lower, "Connector"),
		"no expiry":                 strings.Replace(lower, "&se=1767225600", "", 1),
		"a negative expiry":         strings.Replace(lower, "se=", "se=-", 1),
		"an expiry that is text":    strings.Replace(lower, "se=1767225600", "se=soon", 1),
		"an expiry without end":     strings.Replace(lower, "se=", "se="+strings.Repeat("9", 30), 1),
		"a field twice":             lower + "&skn=Connector",
		"a field without a value":   lower + "&x",
		"a signature cut short":     strings.Replace(lower, "N374%3d", "N37%3d", 1),
		"a signature of other size": strings.Replace(lower, "xRCJonofcWlvBVFR52oorZlOW38X9mGDm4XqZblN374%3d", "AAAA", 1),
		"an escape cut short":       strings.Replace(lower, "%3d", "%3", 1),
		"too long":                  lower + "&x=" + strings.Repeat("y", MaxToken),
	} {
		if _, err := Parse(token); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "xRCJ") {
			t.Errorf("%s: the error repeats the token: %v", name, err)
		}
	}
}

// Clients that worked against the service computed expiries decades ahead.
func TestFarExpiriesAreTolerated(t *testing.T) {
	for seconds, want := range map[string]time.Time{
		"2320445040":           time.Date(2043, 7, 14, 0, 4, 0, 0, time.UTC),
		"4294967295":           time.Date(2106, 2, 7, 6, 28, 15, 0, time.UTC),
		"99999999999999999999": time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		tok, err := Parse("SharedAccessSignature sr=http%3a%2f%2fh%2fp%2f&sig=" + url.QueryEscape(strings.Repeat("A", 43)+"=") + "&se=" + seconds + "&skn=k")
		if err != nil {
			t.Errorf("%s: %v", seconds, err)
		} else if !tok.Expiry.Equal(want) {
			t.Errorf("%s: expiry %v, want %v", seconds, tok.Expiry, want)
		}
	}
}

func TestCovers(t *testing.T) {
	for name, tc := range map[string]struct {
		resource, address string
		want              bool
	}{
		"the address of a relay link":     {"http://ns.example/p_1/", "sb://ns.example/p_1/", true},
		"another case":                    {"http://NS.example/P_1/", "SB://ns.EXAMPLE/p_1/", true},
		"no trailing slash":               {"http://ns.example/p", "sb://ns.example/p/", true},
		"AMQP with its port":              {"http://ns.example/p/", "amqps://ns.example:5671/p", true},
		"another path":                    {"http://ns.example/p/", "sb://ns.example/q/", false},
		"a path below":                    {"http://ns.example/p/", "sb://ns.example/p/q/", false},
		"a path above":                    {"http://ns.example/p/", "sb://ns.example/", false},
		"a path that only begins so":      {"http://ns.example/p/", "sb://ns.example/p_reliable/", false},
		"another host":                    {"http://ns.example/p/", "sb://ns2.example/p/", false},
		"a scheme that is no relay's":     {"http://ns.example/p/", "file://ns.example/p/", false},
		"an address without scheme":       {"http://ns.example/p/", "ns.example/p/", false},
		"an empty address":                {"http://ns.example/p/", "", false},
		"a query":                         {"http://ns.example/p/", "sb://ns.example/p/?x", false},
		"credentials before the host":     {"http://ns.example/p/", "sb://a@ns.example/p/", false},
		"a resource that is no address":   {"*", "*", false},
		"a resource and address of blank": {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			tok, err := Parse(Sign(tc.resource+" ", "k", key, expiry))
			if err != nil {
				t.Fatal(err)
			}
			tok.Resource = tc.resource // Sign cannot make the empty one
			if got := tok.Covers(tc.address); got != tc.want {
				t.Errorf("Covers = %v", got)
			}
		})
	}
}

func TestEscapingSurvivesParsing(t *testing.T) {
	uri, name := "http://h/ä b+c&d=e%2f~!*()/", "key & name"
	tok, err := Parse(Sign(uri, name, key, expiry))
	if err != nil {
		t.Fatal(err)
	}
	if tok.Resource != uri || tok.KeyName != name || !tok.Verify(key) {
		t.Errorf("resource %q, key name %q, verifies %v", tok.Resource, tok.KeyName, tok.Verify(key))
	}
}

func TestPrintingRevealsNoSignature(t *testing.T) {
	tok, err := Parse(lower)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, tok); got != fmt.Sprintf("SAS token for %q", tok.Resource) {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// FuzzParse checks that a token that parses answers every question, and that
// only the holder of a key can make one that verifies.
func FuzzParse(f *testing.F) {
	f.Add(lower, key)
	f.Add(upper, key)
	f.Add(strings.Replace(lower, "se=1767225600", "se=99999999999999999999", 1), "other")
	f.Fuzz(func(t *testing.T, token, otherKey string) {
		tok, err := Parse(token)
		if err != nil {
			return
		}
		if tok.Verify("a key that no token was signed with") {
			t.Fatal("verifies with a key it was not signed with")
		}
		if year := tok.Expiry.Year(); year < 1970 || year > 9999 {
			t.Fatalf("expiry %v", tok.Expiry)
		}
		tok.Covers(tok.Resource)
		again, err := Parse(Sign(tok.Resource, tok.KeyName, otherKey, tok.Expiry))
		if err != nil && len(token) < MaxToken/3 {
			t.Fatal(err)
		}
		if err == nil && (again.Resource != tok.Resource || again.KeyName != tok.KeyName || !again.Expiry.Equal(tok.Expiry) || !again.Verify(otherKey)) {
			t.Fatalf("signed again it is another token: %v, %v", tok, again)
		}
	})
}
