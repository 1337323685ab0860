// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command gmsawebhook stands in for the admission webhook of the windows-gmsa
// project in tests: it admits pods by that webhook's documented rules, written
// anew, and is configured by the same variables. It is not that webhook, which
// the sources this repository is built from do not provide; docs/verification.md
// says what follows from it.
//
//	TLS_CRT, TLS_KEY   files with the server's certificate and its key; required
//	HTTPS_PORT         the port, 443 unless given
//	RANDOM_HOSTNAME    whether pods with an account and without a host name get one
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	webhookserver "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, nil)))
	if err := run(ctx, os.Args[1:], os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "gmsawebhook:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string) error {
	options, err := parse(args, getenv)
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("talking to the API server: %w", err)
	}
	w := newWebhook(c, scheme, options.randomHostname)
	server := webhookserver.NewServer(options.server)
	server.Register("/mutate", &admission.Webhook{Handler: admission.HandlerFunc(w.mutate)})
	server.Register("/validate", &admission.Webhook{Handler: admission.HandlerFunc(w.validate)})
	server.Register("/health", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) }))
	return server.Start(ctx)
}

type options struct {
	server         webhookserver.Options
	randomHostname bool
}

// parse reads the variables and the flags. A value that cannot be read ends the
// program: it must not admit pods by rules that nobody asked for.
func parse(args []string, getenv func(string) string) (options, error) {
	o := options{server: webhookserver.Options{Port: 443}}
	flags := flag.NewFlagSet("gmsawebhook", flag.ContinueOnError)
	flags.StringVar(&o.server.Host, "bind-address", "", "address to listen on; all of the machine unless given")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	certificate, key := getenv("TLS_CRT"), getenv("TLS_KEY")
	if certificate == "" || key == "" || filepath.Dir(certificate) != filepath.Dir(key) {
		return o, errors.New("TLS_CRT and TLS_KEY must name two files in one folder")
	}
	o.server.CertDir, o.server.CertName, o.server.KeyName = filepath.Dir(certificate), filepath.Base(certificate), filepath.Base(key)
	if value := getenv("HTTPS_PORT"); value != "" {
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil || port == 0 {
			return o, fmt.Errorf("HTTPS_PORT %q is not a port", value)
		}
		o.server.Port = int(port)
	}
	if value := getenv("RANDOM_HOSTNAME"); value != "" {
		var err error
		if o.randomHostname, err = strconv.ParseBool(value); err != nil {
			return o, fmt.Errorf("RANDOM_HOSTNAME %q is neither true nor false", value)
		}
	}
	return o, nil
}
