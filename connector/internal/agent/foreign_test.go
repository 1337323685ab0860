// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/internal/metrics"
)

func TestOtherConnectorsOfTheTenantAreRemembered(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var f foreign
	for i, step := range []struct {
		after      time.Duration
		named      []string
		strangers  []string
		connectors int
		certs      int
	}{
		{0, []string{"a_1", "b_1"}, []string{"a", "b"}, 2, 2},
		{time.Hour, []string{"A_1", "b_1", "b_2"}, nil, 2, 3}, // b is renewed
		{time.Hour, []string{"c_1", "c_2"}, []string{"c"}, 3, 5},
		{23*time.Hour + 30*time.Minute, []string{"c_1"}, nil, 1, 2},
		{time.Hour, []string{"a_1", strings.Repeat("x", maxIdentifier+1)}, []string{"a"}, 2, 2},
		{25 * time.Hour, nil, nil, 0, 0},
	} {
		now = now.Add(step.after)
		if diff := cmp.Diff(step.strangers, f.note(step.named, now)); diff != "" {
			t.Errorf("step %d: strangers (-want +got):\n%s", i, diff)
		}
		if connectors, certs := f.count(now); connectors != step.connectors || certs != step.certs {
			t.Errorf("step %d: %d connectors and %d certificates, want %d and %d", i, connectors, certs, step.connectors, step.certs)
		}
	}
	for i := range 3 * maxForeign {
		f.note([]string{fmt.Sprintf("%d_1", i)}, now)
	}
	if _, certs := f.count(now); certs != maxForeign {
		t.Errorf("%d identifiers are remembered, want at most %d", certs, maxForeign)
	}
}

func TestAnUnknownConnectorIsLoggedOnce(t *testing.T) {
	var logs bytes.Buffer
	c := counted{metrics.New("v1", nil), &foreign{}, logr.FromSlogHandler(slog.NewJSONHandler(&logs, nil))}
	for range 3 {
		c.ForeignKeys([]string{"0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5_AB"})
	}
	if n := strings.Count(logs.String(), `"connectorID":"0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"`); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, logs.String())
	}
}
