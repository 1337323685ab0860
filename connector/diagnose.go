// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/agent"
	"github.com/passthrough-dev/connector-operator/connector/internal/diagnosis"
)

// diagnoseWithin bounds a diagnosis whose caller says nothing else.
const diagnoseWithin = 2 * time.Minute

// diagnose is the command of that name. It fails if a check does.
func diagnose(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("connector diagnose", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", "", "the configuration `file` of the connector (required)")
	format := "table"
	flags.StringVar(&format, "output", format, "`format` of the report: table or json")
	flags.StringVar(&format, "o", format, "short for --output")
	ports := flags.String("ports", "", "`profile` of ports to try, as in spec.egress.ports: Documented or HTTPSOnly (default: what the transport works with)")
	var nameServer string
	flags.Func("name-server", "`address` of a name server to look names up with, with or without its port (default: the machine's own)", func(text string) (err error) {
		nameServer, err = nameServerAt(text)
		return err
	})
	within := flags.Duration("timeout", diagnoseWithin, "`time` after which checks that have not ended are skipped")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return usageError{err}
	}
	profile := config.PortProfile(*ports)
	switch {
	case flags.NArg() > 0:
		return usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	case !slices.Contains(diagnosis.Formats(), format):
		return usageError{fmt.Errorf("there is no format %.48q: use %s", format, strings.Join(diagnosis.Formats(), " or "))}
	case profile != "" && profile != config.PortsDocumented && profile != config.PortsHTTPSOnly:
		return usageError{fmt.Errorf("there is no profile of ports %.48q: use %s or %s", *ports, config.PortsDocumented, config.PortsHTTPSOnly)}
	case *within <= 0:
		return usageError{fmt.Errorf("--timeout is %s: write a time, such as 2m", *within)}
	}
	c, err := load(*file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *within)
	defer cancel()
	report := agent.Diagnose(ctx, agent.DiagnoseOptions{Config: c, Version: version, Ports: profile, NameServer: nameServer})
	if err := report.Write(stdout, format); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if report.Failed() {
		return fmt.Errorf("%d checks failed", report.Summary.Fail)
	}
	return nil
}

// nameServerAt completes an address with the port of name servers.
func nameServerAt(text string) (string, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(address, config.PortDNS).String(), nil
	}
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		return "", errors.New("write an IP address, with or without a port")
	}
	return address.String(), nil
}

// load reads the configuration that --config names.
func load(file string) (config.Config, error) {
	if file == "" {
		return config.Config{}, usageError{errors.New("--config is required: name the configuration file")}
	}
	c, err := config.Load(file)
	if err != nil {
		return config.Config{}, usageError{err}
	}
	return c, nil
}
