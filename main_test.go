// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	defaults := options{metricsAddress: ":8080", probeAddress: ":8081", connectorImage: "ghcr.io/passthrough-dev/connector:dev", leaseNamespace: "passthrough-system"}
	with := func(change func(*options)) options {
		o := defaults
		change(&o)
		return o
	}
	for name, tc := range map[string]struct {
		args    string
		want    options
		wantErr []string
	}{
		"nothing": {"", defaults, nil},
		"all": {
			"--metrics-bind-address=127.0.0.1:1 --health-probe-bind-address=127.0.0.1:2 --leader-elect --leader-election-namespace=x --connector-image=c:1 --watch-namespaces=a,b -v=2",
			options{
				metricsAddress: "127.0.0.1:1", probeAddress: "127.0.0.1:2", leaderElect: true, leaseNamespace: "x",
				connectorImage: "c:1", watchNamespaces: []string{"a", "b"}, verbosity: 2,
			}, nil,
		},
		"namespaces with stray commas": {"--watch-namespaces=,a,,b,", with(func(o *options) { o.watchNamespaces = []string{"a", "b"} }), nil},
		"a check":                      {"--check-installation=operator", with(func(o *options) { o.checkDeployment = "operator" }), nil},
		"every fault at once":          {"--connector-image= -v=8 hello", options{}, []string{"--connector-image", "-v must be 0 to 7, not 8", `unexpected argument "hello"`}},
		"an unknown flag":              {"--colour=red", options{}, []string{"colour"}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := flag.NewFlagSet("operator", flag.ContinueOnError)
			flags.SetOutput(io.Discard)
			got, err := parse(flags, strings.Fields(tc.args), func(string) string { return "passthrough-system" })
			if len(tc.wantErr) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(options{})); diff != "" {
					t.Errorf("options (-want +got):\n%s", diff)
				}
				return
			}
			for _, want := range tc.wantErr {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got error %v, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestLogEntriesAreJSONAndObeyTheVerbosity(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, 1)
	log.Info("changed", "name", "corp")
	log.V(1).Info("decided")
	log.V(2).Info("traced")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d entries, want 2: %s", len(lines), out.String())
	}
	var entry map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &entry); err != nil || entry["msg"] != "changed" || entry["name"] != "corp" {
		t.Errorf("the first entry is %s (%v)", lines[0], err)
	}
}
