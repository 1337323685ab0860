// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
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
		"a wrong type":           `{"TunnelContext":{"ProtocolContext":{"Password":{"canary":1}}}}`,
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
