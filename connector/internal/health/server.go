// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

// Handler serves the probes, the status page and, through metrics, /metrics.
//
//	/healthz  the process works; restarting it would not help otherwise
//	/readyz   200 if the connector serves sign-ins, else 503 and why not
//	/statusz  the whole state (config.Status) as JSON
//
// None of them shows a user, a password or a key.
func (t *Tracker) Handler(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status := t.Status(time.Now())
		if !status.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "%s: %s\n", status.Reason, status.Message)
	})
	mux.HandleFunc("GET "+config.StatusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		// A reader that has gone away needs no answer.
		_ = enc.Encode(t.Status(time.Now()))
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}
