// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import "testing"

func TestHandlesAreCounted(t *testing.T) {
	families, err := New("test", nil).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "process_open_fds" {
			if n := f.GetMetric()[0].GetGauge().GetValue(); n < 10 {
				t.Errorf("the process has %v handles", n)
			}
			return
		}
	}
	t.Error("no metric counts the process's handles")
}
