// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// The operator runs the pass-through authentication connectors of tenants as
// Kubernetes workloads: it registers them, keeps their identities in Secrets,
// runs them as pods and reports how they are. See the package controllers for
// what it does, and api/v1alpha1 for what it is told.
//
// This file only wires: options, manager, controllers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers"
	"github.com/passthrough-dev/connector-operator/controllers/installation"
)

// version is set by the linker; see the Makefile.
var version = "dev"

const (
	// leaseName is the name of the Lease by which replicas of the operator agree on
	// which of them works.
	leaseName = "passthrough-connector-operator"

	// drainTime bounds how long passes may go on after the signal to stop. A
	// registration that was begun is finished and stored: 10 seconds to see whether
	// it could be, 30 to register, 20 to store.
	drainTime = 62 * time.Second
)

// maxVerbosity is the most that the operator logs. From 8 on the Kubernetes client
// logs the bodies of requests and answers, Secrets among them.
const maxVerbosity = 7

// options are what the command line and the environment say.
type options struct {
	metricsAddress  string
	probeAddress    string
	leaderElect     bool
	leaseNamespace  string
	connectorImage  string
	watchNamespaces []string
	verbosity       int
	checkDeployment string
	printVersion    bool
}

// parse reads the command line. It uses the common flag set, since that is where
// controller-runtime puts its --kubeconfig.
func parse(flags *flag.FlagSet, args []string, getenv func(string) string) (options, error) {
	var o options
	var namespaces string
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "`address` to serve metrics on; 0 for none")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "`address` to serve /healthz and /readyz on; 0 for none")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "work only while holding a lease, so that several replicas can run")
	flags.StringVar(&o.leaseNamespace, "leader-election-namespace", getenv("POD_NAMESPACE"), "`namespace` of the lease; the default is $POD_NAMESPACE")
	flags.StringVar(&o.connectorImage, "connector-image", "ghcr.io/passthrough-dev/connector:dev", "`image` of connectors whose resource names none")
	flags.StringVar(&namespaces, "watch-namespaces", "", "comma-separated `namespaces` to work in; the default is all")
	flags.IntVar(&o.verbosity, "v", 0, "log `level`: 0 changes, 1 decisions, 2 and more tracing")
	flags.StringVar(&o.checkDeployment, "check-installation", "", "check the operator of this `Deployment` in the namespace $POD_NAMESPACE, print what was found and end")
	flags.BoolVar(&o.printVersion, "version", false, "print the version and end")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	for name := range strings.SplitSeq(namespaces, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.watchNamespaces = append(o.watchNamespaces, name)
		}
	}
	return o, o.validate(flags.Args())
}

// validate reports every fault at once.
func (o options) validate(rest []string) error {
	var faults []error
	if len(rest) > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q: the operator takes flags only", rest[0]))
	}
	if o.connectorImage == "" {
		faults = append(faults, errors.New("--connector-image must not be empty"))
	}
	if o.checkDeployment != "" && o.leaseNamespace == "" {
		faults = append(faults, errors.New("--check-installation needs the operator's namespace in $POD_NAMESPACE"))
	}
	if o.verbosity < 0 || o.verbosity > maxVerbosity {
		faults = append(faults, fmt.Errorf("-v must be 0 to %d, not %d", maxVerbosity, o.verbosity))
	}
	return errors.Join(faults...)
}

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	o, err := parse(flag.CommandLine, os.Args[1:], os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUsage)
	}
	if o.printVersion {
		fmt.Println(describeVersion())
		return
	}
	log := newLogger(os.Stderr, o.verbosity)
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("kubernetes"))
	ctx := ctrl.SetupSignalHandler()
	if o.checkDeployment != "" {
		if err := check(ctx, o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitFailure)
		}
		return
	}
	if err := run(ctx, o, log); err != nil {
		log.Error(err, "The operator failed")
		os.Exit(exitFailure)
	}
}

// newLogger writes JSON, one entry a line. A verbosity of n shows V(n).
func newLogger(w io.Writer, verbosity int) logr.Logger {
	return logr.FromSlogHandler(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.Level(-verbosity)}))
}

// describeVersion is one line about the build.
func describeVersion() string {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	return fmt.Sprintf("passthrough-connector-operator %s%s %s %s/%s", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// run starts the manager and returns when it has stopped.
func run(ctx context.Context, o options, log logr.Logger) error {
	log.Info("Starting the operator", "version", describeVersion(), "watchNamespaces", o.watchNamespaces, "connectorImage", o.connectorImage)
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding out how to reach the API server: %w", err)
	}
	config.UserAgent = v1alpha1.OperatorName + "/" + version
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	grace := drainTime
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Logger:                        log,
		Cache:                         controllers.CacheOptions(o.watchNamespaces),
		Metrics:                       server.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.leaseNamespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &grace,
	})
	if err != nil {
		return fmt.Errorf("setting up the manager: %w", err)
	}
	if err := addChecks(mgr); err != nil {
		return err
	}
	reconciler := controllers.New(controllers.Options{
		Client:       mgr.GetClient(),
		Live:         mgr.GetAPIReader(),
		Recorder:     mgr.GetEventRecorder(v1alpha1.OperatorName),
		DefaultImage: o.connectorImage,
	})
	if err := reconciler.SetupWithManager(ctx, mgr, o.watchNamespaces); err != nil {
		return fmt.Errorf("setting up the reconciler: %w", err)
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the manager: %w", err)
	}
	log.Info("The operator stopped")
	return nil
}

// newScheme knows the built-in kinds and ours.
func newScheme() (*apiruntime.Scheme, error) {
	scheme := apiruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("registering API types: %w", err)
	}
	return scheme, nil
}

// check prints whether an installed operator works, and fails if it does not.
func check(ctx context.Context, o options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding out how to reach the API server: %w", err)
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	lease := ""
	if o.leaderElect {
		lease = leaseName
	}
	return installation.Check(ctx, installation.Options{
		Client: c, Namespace: o.leaseNamespace, Deployment: o.checkDeployment, Lease: lease, Out: os.Stdout,
	})
}

// addChecks makes the operator alive while it answers, and ready once its caches
// hold what the cluster holds.
func addChecks(mgr ctrl.Manager) error {
	synced := func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("caches", synced)); err != nil {
		return fmt.Errorf("adding health checks: %w", err)
	}
	return nil
}
