// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJSONRoundTrip(t *testing.T) {
	trusted := passwordContext(1)
	trusted.TypeName, trusted.Traffic = "TrustedPartyContext", TrafficTrustedParty
	for name, m := range map[string]*Message{
		"a password validation": signalOf(passwordContext(2)),
		"a connect":             signalOf(connectContext()),
		"a body of bytes":       signalOf(trusted),
		"slashes and signs":     signalOf(ProtocolContext{TypeName: `a/b\/c\\/d`, Traffic: TrafficPasswordValidation, PasswordValidation: &PasswordValidation{Domain: `<&>/"\`, EncryptedData: []EncryptedData{{Ciphertext: []byte{255}, KeyIdentifier: `/\`}}}}),
	} {
		t.Run(name, func(t *testing.T) {
			data, err := EncodeJSON(*m)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeJSON(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*m, got); diff != "" {
				t.Errorf("round trip (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEncodeJSONOfTheService compares with the members, their order and the
// spelling of protocol section 7.3.
func TestEncodeJSONOfTheService(t *testing.T) {
	v := &PasswordValidation{Domain: "CONTOSO", UserPrincipalName: "<user>@contoso.example",
		EncryptedData: []EncryptedData{{Ciphertext: []byte{0xFF, 0xFF}, KeyIdentifier: "k_AB"}}}
	head := `{"__type":"SignalMessage:#Microsoft.ApplicationProxy.Common.SignalingDataModel",` +
		`"RequestId":"dff0f331-0000-4000-8000-b741343d6d00","SessionId":"00000000-0000-0000-0000-000000000000",` +
		`"SubscriptionId":"6f5e4d3c-2b1a-4908-8716-253443526170","TransactionId":"41bf611b-0000-4000-8000-2be2477279f4",` +
		`"OverrideServiceHostEnabled":true,"OverridenReturnHost":"proxy-1-pta-test.connector.his.msappproxy.net","OverridenReturnPort":443,` +
		`"ReturnHost":"proxy-1-pta-test.connector.his.msappproxy.net","ReturnPort":10100,` +
		`"TunnelContext":{"__type":"TunnelContext","ConfigurationHash":"-139793387","CorrelationId":"41bf611b-0000-4000-8000-2be2477279f4","HasPayload":false,` +
		`"ProtocolContext":`
	body := `{"TrafficProtocol":3,"Domain":"CONTOSO","UserPrincipalName":"<user>@contoso.example","EncryptedData":[` +
		`{"__type":"EncryptedOnPremValidationData:#Microsoft.ApplicationProxy.Common.SignalingDataModel","Base64EncryptedData":"\/\/8=","KeyIdentifer":"k_AB"}]}`
	var numbers []string
	for _, b := range []byte(body) {
		numbers = append(numbers, strconv.Itoa(int(b)))
	}
	for name, tc := range map[string]struct {
		protocol ProtocolContext
		want     string
	}{
		"a password validation": {
			ProtocolContext{TypeName: "PasswordValidationContext", Traffic: TrafficPasswordValidation, PasswordValidation: v},
			`{"__type":"PasswordValidationContext","TrafficProtocol":2,"Domain":"CONTOSO","EncryptedData":[` +
				`{"__type":"EncryptedOnPremValidationData:#Microsoft.ApplicationProxy.Common.SignalingDataModel","Base64EncryptedData":"\/\/8=","KeyIdentifer":"k_AB"}],` +
				`"Password":"","UserPrincipalName":"<user>@contoso.example"}`,
		},
		"a body of bytes": {
			ProtocolContext{Traffic: TrafficTrustedParty, PasswordValidation: v}, `{"TrafficProtocol":3,"BodyBytes":[` + strings.Join(numbers, ",") + `]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := EncodeJSON(*signalOf(tc.protocol))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(head+tc.want+"}}", string(got)); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheNumberDecides: data beside the number of another traffic protocol is
// no request to validate a password.
func TestTheNumberDecides(t *testing.T) {
	for number, want := range map[string]bool{"0": false, "1": false, "2": true, "3": true, "4": false, "5": false, "-1": false, "99": false} {
		m, err := DecodeJSON([]byte(`{"TunnelContext":{"ProtocolContext":{"TrafficProtocol":` + number + `,"EncryptedData":[]}}}`))
		if err != nil || (m.Tunnel.Protocol.PasswordValidation != nil) != want {
			t.Errorf("number %s: request %+v, %v", number, m.Tunnel.Protocol.PasswordValidation, err)
		}
	}
}

func TestDecodeJSONOfTheService(t *testing.T) {
	// Members in the service's order and spelling, slashes escaped, one unknown.
	got, err := DecodeJSON([]byte(`{"__type":"SignalMessage:#Microsoft.ApplicationProxy.Common.SignalingDataModel",
		"RequestId":"dff0f331-0000-4000-8000-b741343d6d00","SessionId":"00000000-0000-0000-0000-000000000000",
		"SubscriptionId":"6f5e4d3c-2b1a-4908-8716-253443526170","TransactionId":"41bf611b-0000-4000-8000-2be2477279f4",
		"OverrideServiceHostEnabled":true,"OverridenReturnHost":"p.msappproxy.test","OverridenReturnPort":443,
		"ReturnHost":"p.msappproxy.test","ReturnPort":10100,"SomethingNew":{"a":[1]},
		"TunnelContext":{"__type":"TunnelContext","ConfigurationHash":"854346866","CorrelationId":"41bf611b-0000-4000-8000-2be2477279f4","HasPayload":false,
		"ProtocolContext":{"__type":"PasswordValidationContext","TrafficProtocol":2,"Domain":"CONTOSO",
		"EncryptedData":[{"__type":"x","Base64EncryptedData":"\/\/8=","KeyIdentifer":"k_AB"}],"Password":"","UserPrincipalName":"user@contoso.example"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &PasswordValidation{Domain: "CONTOSO", UserPrincipalName: "user@contoso.example",
		EncryptedData: []EncryptedData{{Ciphertext: []byte{0xFF, 0xFF}, KeyIdentifier: "k_AB"}}}
	if diff := cmp.Diff(want, got.Tunnel.Protocol.PasswordValidation); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestDecodeJSONErrorsHoldNoContent(t *testing.T) {
	for name, doc := range map[string]string{
		"a wrong type":           `{"TunnelContext":{"ProtocolContext":{"Domain":{"canary":1}}}}`,
		"a wrong type of text":   `{"ReturnPort":"canary"}`,
		"no JSON":                `canary`,
		"not base64":             `{"TunnelContext":{"ProtocolContext":{"TrafficProtocol":2,"EncryptedData":[{"Base64EncryptedData":"canary!"}]}}}`,
		"a byte that is not one": `{"TunnelContext":{"ProtocolContext":{"TrafficProtocol":3,"BodyBytes":[300]}}}`,
		"too long":               `"` + strings.Repeat("canary", MaxJSON/6+1) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeJSON([]byte(doc))
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error quotes the message: %v", err)
			}
		})
	}
}

func FuzzDecodeJSON(f *testing.F) {
	trusted := passwordContext(1)
	trusted.Traffic = TrafficTrustedParty
	for _, c := range []ProtocolContext{passwordContext(1), connectContext(), trusted} {
		data, err := EncodeJSON(*signalOf(c))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeJSON(data)
		if err != nil {
			return
		}
		if _, err := EncodeJSON(m); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
