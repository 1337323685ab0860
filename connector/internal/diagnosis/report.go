// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// APIVersion names the form of a report in JSON. Members may be added to it
// without a new version.
const APIVersion = "diagnosis.passthrough.dev/v1alpha1"

// Report is a whole diagnosis. It holds no secret.
type Report struct {
	APIVersion  string    `json:"apiVersion"`
	Version     string    `json:"version"` // of the connector
	Time        time.Time `json:"time"`
	TenantID    string    `json:"tenantID"`
	ConnectorID string    `json:"connectorID,omitempty"` // empty if the certificate cannot be read
	MachineName string    `json:"machineName"`
	System      string    `json:"system"`    // operating system and processor, such as windows/amd64
	Transport   string    `json:"transport"` // of the configuration
	Method      string    `json:"method"`    // of validation
	Ports       string    `json:"ports"`     // the profile of ports that was looked at
	Summary     Summary   `json:"summary"`
	Checks      []Entry   `json:"checks"`
}

// Summary counts results.
type Summary struct {
	OK      int `json:"ok"`
	Warn    int `json:"warn"`
	Fail    int `json:"fail"`
	Skipped int `json:"skipped"`
}

// Entry is one check and what it found.
type Entry struct {
	Check        Kind   `json:"check"`
	Subject      string `json:"subject"`
	Result       Result `json:"result"`
	Found        string `json:"found"`
	Meaning      string `json:"meaning,omitempty"`
	Action       string `json:"action,omitempty"`
	Milliseconds int64  `json:"milliseconds"`
}

// Add appends entries and counts them.
func (r *Report) Add(entries ...Entry) {
	for _, e := range entries {
		switch e.Result {
		case OK:
			r.Summary.OK++
		case Warn:
			r.Summary.Warn++
		case Skipped:
			r.Summary.Skipped++
		case Fail:
			r.Summary.Fail++
		}
	}
	r.Checks = append(r.Checks, entries...)
}

// Failed reports whether the connector cannot work as things are.
func (r *Report) Failed() bool { return r.Summary.Fail > 0 }

// Formats are the ways to write a report.
func Formats() []string { return []string{"table", "json"} }

// Write writes the report in one of Formats.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.writeTable(w)
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r)
	default:
		return fmt.Errorf("there is no format %.48q: use %s", format, strings.Join(Formats(), " or "))
	}
}

func (r *Report) writeTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Connector %s (%s, version %s) of tenant %s on %s, %s\n", r.MachineName, orUnknown(r.ConnectorID), r.Version, r.TenantID, r.System, r.Time.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "Transport %s, validation by %s, profile of ports %s\n\n", r.Transport, r.Method, r.Ports)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "Result\tCheck\tSubject\tFound")
	for _, e := range r.Checks {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.Result, e.Check, e.Subject, e.Found)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	for _, result := range []Result{Fail, Warn} {
		for _, e := range r.Checks {
			if e.Result == result {
				fmt.Fprintf(&b, "\n%s %s, %s\n  Meaning: %s.\n  Do:      %s.\n", strings.ToUpper(string(result)), e.Check, e.Subject, e.Meaning, e.Action)
			}
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) verdict() string {
	counts := fmt.Sprintf("%d ok, %d warn, %d fail, %d skipped", r.Summary.OK, r.Summary.Warn, r.Summary.Fail, r.Summary.Skipped)
	switch {
	case r.Failed():
		return counts + ": this connector cannot serve as things are. Begin with the first failure; later ones may follow from it."
	case r.Summary.Warn > 0:
		return counts + ": this connector can serve; look at the warnings."
	default:
		return counts + ": nothing stands in this connector's way."
	}
}

func orUnknown(id string) string {
	if id == "" {
		return "identity not read"
	}
	return id
}
