// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package firewall writes the list of everything that operator and connectors
// connect to, for those who keep a site's firewall. It is made from the table
// that the network policies are made from (config.Destinations).
package firewall

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/passthrough-dev/connector-operator/connector/config"
)

// Entry is one row of the list.
type Entry struct {
	Purpose   config.Purpose    `json:"purpose"`
	Hosts     []string          `json:"hosts"` // names, *.example for all below example, or what stands for them
	Ports     string            `json:"ports"` // 443 or 10100-10120
	Protocols []config.Protocol `json:"protocols"`
	NeededBy  []config.Party    `json:"neededBy"`
	When      config.Occasion   `json:"when"`
	Reason    string            `json:"reason"`
	Source    string            `json:"source"`
}

// Entries is the list for a cloud and a profile of ports. The error says what to
// write instead.
func Entries(cloud config.Cloud, profile config.PortProfile) ([]Entry, error) {
	endpoints, err := config.CloudEndpoints(cloud)
	if err != nil {
		return nil, err
	}
	if profile != config.PortsDocumented && profile != config.PortsHTTPSOnly {
		return nil, fmt.Errorf("there is no profile of ports %.48q: use %s or %s", string(profile), config.PortsDocumented, config.PortsHTTPSOnly)
	}
	var entries []Entry
	for _, d := range config.Destinations(profile) {
		entries = append(entries, Entry{
			Purpose: d.Purpose, Hosts: hosts(endpoints, d.Peer), Ports: d.Ports.String(), Protocols: d.Protocols,
			NeededBy: d.NeededBy, When: d.Occasion, Reason: d.Reason, Source: d.Source,
		})
	}
	return entries, nil
}

// hosts puts words in the place of names that only the site knows.
func hosts(endpoints config.Endpoints, peer config.Peer) []string {
	switch peer {
	case config.PeerDirectory:
		return []string{"domain controllers"}
	case config.PeerDNS:
		return []string{"name servers"}
	default:
		return endpoints.Hosts(peer)
	}
}

// formats are the ways to write a list.
var formats = map[string]func(io.Writer, []Entry) error{
	"text": writeText, "json": writeJSON, "csv": writeCSV, "markdown": writeMarkdown,
}

// Run is the command `connector firewall`. Its errors are the caller's mistakes,
// or those of the writer.
func Run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("connector firewall", flag.ContinueOnError)
	flags.SetOutput(stderr)
	cloud := flags.String("cloud", string(config.AzurePublic), "`cloud` that the tenant is in: AzurePublic or AzureUSGovernment")
	profile := flags.String("ports", string(config.PortsDocumented), "`profile` of ports, as in spec.egress.ports: Documented or HTTPSOnly")
	format := flags.String("format", "text", "`format`: text, json, csv or markdown")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	write, ok := formats[*format]
	if !ok {
		return fmt.Errorf("there is no format %.48q: use text, json, csv or markdown", *format)
	}
	entries, err := Entries(config.Cloud(*cloud), config.PortProfile(*profile))
	if err != nil {
		return err
	}
	return write(stdout, entries)
}

var columns = []string{"Host", "Port", "Protocol", "Needed by", "When", "Purpose", "Why"}

// rows are the lines of a table: one for each host, so that they can be sorted
// and counted.
func rows(entries []Entry) [][]string {
	var all [][]string
	for _, e := range entries {
		for _, host := range e.Hosts {
			all = append(all, []string{host, e.Ports, join(e.Protocols, "+"), join(e.NeededBy, "+"), when(e.When), string(e.Purpose), e.Reason})
		}
	}
	return all
}

func when(o config.Occasion) string {
	switch o {
	case config.WhileRegistering:
		return "while registering"
	case config.IfAskedFor:
		return "if asked for"
	case config.Always:
		return "always"
	default:
		return string(o)
	}
}

func join[T ~string](values []T, separator string) string {
	texts := make([]string, 0, len(values))
	for _, v := range values {
		texts = append(texts, string(v))
	}
	return strings.Join(texts, separator)
}

func writeText(w io.Writer, entries []Entry) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range slices.Concat([][]string{columns}, rows(entries)) {
		if _, err := fmt.Fprintln(table, strings.Join(row, "\t")); err != nil {
			return fmt.Errorf("writing the list: %w", err)
		}
	}
	return table.Flush()
}

func writeJSON(w io.Writer, entries []Entry) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(entries)
}

func writeCSV(w io.Writer, entries []Entry) error {
	return csv.NewWriter(w).WriteAll(slices.Concat([][]string{columns}, rows(entries)))
}

// writeMarkdown writes one line for each row of the list, since hosts
// repeat.
func writeMarkdown(w io.Writer, entries []Entry) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| Hosts | Port | Protocol | Needed by | When | Purpose | Why |\n|---|---|---|---|---|---|---|\n")
	for _, e := range entries {
		hosts := "`" + strings.Join(e.Hosts, "`, `") + "`"
		if strings.Contains(e.Hosts[0], " ") {
			hosts = strings.Join(e.Hosts, ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", hosts, e.Ports, join(e.Protocols, ", "), join(e.NeededBy, ", "), when(e.When), e.Purpose, e.Reason)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
