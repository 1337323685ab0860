// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"encoding/json"
	"net"
	"testing"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/hack/internal/faultproxy"
)

// diagnosis is the report in JSON, as scripts read it.
type diagnosis struct {
	APIVersion  string `json:"apiVersion"`
	ConnectorID string `json:"connectorID"`
	Summary     struct {
		Fail int `json:"fail"`
	} `json:"summary"`
	Checks []struct {
		Check, Subject, Result, Found, Meaning, Action string
	} `json:"checks"`
}

// results are those of one kind of check.
func (d diagnosis) results(check string) map[string]bool {
	found := map[string]bool{}
	for _, c := range d.Checks {
		if c.Check == check {
			found[c.Result] = true
		}
	}
	return found
}

func (s *scene) diagnose(t *testing.T, nameServer string, args ...string) (diagnosis, int) {
	t.Helper()
	out, code, err := s.connector.Diagnose(t.Context(), append([]string{"-o", "json", "--name-server", nameServer}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var d diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return d, code
}

// noNames is a name server that knows no name.
func noNames(t *testing.T) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		message := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(message)
			if err != nil {
				return
			}
			// An answer, with the code for a name that does not exist (RFC 1035 section 4.1.1).
			message[2], message[3] = message[2]|0x80, message[3]&0xF0|3
			_, _ = conn.WriteTo(message[:n], from)
		}
	}()
	return conn.LocalAddr().String()
}

// TestAConnectorIsDiagnosed runs the command beside a connector that serves, and
// again when the cloud stalls and when it and the directory are gone.
func TestAConnectorIsDiagnosed(t *testing.T) {
	for _, transport := range []string{config.TransportWebSocket, config.TransportAMQP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s, names := newScene(t, path{transport, "plain", "inline"}), noNames(t)
			before := s.stats(t)
			healthy, code := s.diagnose(t, names)
			if code != 0 || healthy.Summary.Fail != 0 {
				t.Errorf("exit code %d: %+v", code, healthy.Checks)
			}
			for _, check := range []string{"identity.files", "identity.dates", "proxy", "tls.inspection", "bootstrap", "clock", "ports", "relay", "directory.server", "validator.canary"} {
				if !healthy.results(check)["ok"] {
					t.Errorf("%s is not ok: %+v", check, healthy.Checks)
				}
			}
			if healthy.ConnectorID != s.connector.ID {
				t.Errorf("it diagnosed %s, not %s", healthy.ConnectorID, s.connector.ID)
			}
			if after := s.stats(t); after.Registrations != before.Registrations {
				t.Errorf("it registered: %d registrations before, %d after", before.Registrations, after.Registrations)
			}
			s.awaitSignIns(t) // the connector beside it is none the worse

			table, code, err := s.connector.Diagnose(t.Context(), "--name-server", names)
			if err != nil || code != 0 || !bytes.Contains(table, []byte("nothing stands in this connector's way")) {
				t.Errorf("exit code %d, %v:\n%s", code, err, table)
			}

			// From here on nobody but the diagnosis runs into the fault.
			if err := s.connector.Stop(); err != nil {
				t.Fatal(err)
			}
			// The first chunk is the proxy's yes, the next one a ClientHello.
			s.proxy.Arm(faultproxy.Fault{Kind: faultproxy.Stall, Chunks: 1, Match: bootstrapHost})
			stalled, code := s.diagnose(t, names)
			s.proxy.Heal()
			if code != 1 || !stalled.results("proxy")["ok"] || !stalled.results("tls.inspection")["fail"] || !stalled.results("bootstrap")["ok"] {
				t.Errorf("where TLS stalls once, exit code %d: %+v", code, stalled.Checks)
			}
			if err := s.bed.StopTenant(); err != nil {
				t.Fatal(err)
			}
			gone, code := s.diagnose(t, names)
			if code != 1 || !gone.results("bootstrap")["fail"] || !gone.results("relay")["skipped"] || !gone.results("validator.canary")["ok"] {
				t.Errorf("where the service is gone, exit code %d: %+v", code, gone.Checks)
			}
		})
	}
}
