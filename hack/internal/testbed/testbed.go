// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package testbed runs the whole system on this machine: a real Kubernetes
// control plane whose nodes run pods as processes (hack/cluster), the cloud
// side (hack/tenant), a directory that answers as Active Directory does
// (hack/directory), and the operator installed in the cluster.
//
// The demo and the end-to-end tests both stand on it, so that what a newcomer
// sees is what the tests prove. Nothing in it takes a short cut: sign-ins go in
// at the tenant's API and come back through connectors that the operator made.
//
// Everything listens on loopback only. A testbed lives in one directory:
//
//	bin/      the programs, built from this repository
//	cluster/  the control plane's state, kubeconfig and logs
//	tenant/   the cloud side's state
//	logs/     what tenant, directory and cluster supervisor print
//	run/      process ids, so that a later command can end it
package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names that the testbed and config/samples agree on.
const (
	OperatorNamespace  = "passthrough-system"
	ConnectorNamespace = "passthrough"
	NameServerImage    = "nameserver:dev"
	OperatorImage      = "ghcr.io/passthrough-dev/connector-operator:dev"
	ConnectorImage     = "ghcr.io/passthrough-dev/connector:dev"
	// DefaultTenantID is the synthetic tenant that the samples name.
	DefaultTenantID = "6f5e4d3c-2b1a-4908-8716-253443526170"
)

// Options of Start. Dir is required.
type Options struct {
	// Dir is created if it does not exist. A testbed that ran in it before goes
	// on with the same state.
	Dir string
	// Progress is told what a person is waiting for; nil means nobody waits.
	Progress func(string)
	// Detached leaves the processes running when this program ends. Otherwise
	// they end with it, however it ends.
	Detached bool
	// TenantArgs, DirectoryArgs and ClusterArgs are added to the command lines.
	TenantArgs, DirectoryArgs, ClusterArgs []string
	// Wine adds a Windows node to the cluster that runs connector.exe under Wine.
	Wine bool
	// WithoutCluster leaves out the control plane and the operator: tenant and
	// directory only, for connectors that StartConnector starts.
	WithoutCluster bool
	// Programs is a directory that holds the built programs, as Build leaves
	// them; empty to build them into Dir.
	Programs string
}

// Of returns the testbed with another tenant as its own, for what is made for a
// tenant: samples and namespaces. It starts and stops nothing.
func (t *Testbed) Of(tenant *Tenant) *Testbed {
	other := *t
	other.Tenant, other.processes = tenant, nil
	return &other
}

// Testbed is a running system. Its methods may be called concurrently.
type Testbed struct {
	Dir        string
	Kubeconfig string
	Tenant     *Tenant
	Directory  DirectoryInfo

	opts      Options
	repo      string
	cluster   string // directory of the kubecluster binary and its links
	helm      string // the program
	processes []*Process
}

// DirectoryInfo is what the directory wrote when it was ready to serve.
type DirectoryInfo struct {
	Address string `json:"address"`
	CAFile  string `json:"caFile"`
}

// Start builds what is missing and starts directory, tenant and control plane.
// On error everything that was started has been stopped again.
func Start(ctx context.Context, opts Options) (_ *Testbed, err error) {
	repo, err := findRepository()
	if err != nil {
		return nil, err
	}
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("resolving the testbed's directory: %w", err)
	}
	built := opts.Programs != ""
	if !built {
		opts.Programs = filepath.Join(dir, "bin")
	}
	t := &Testbed{Dir: dir, opts: opts, repo: repo, Kubeconfig: filepath.Join(dir, "cluster", "kubeconfig")}
	for _, d := range []string{"bin", "cluster", "tenant", "directory", "logs", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			return nil, fmt.Errorf("making the testbed's directories: %w", err)
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Stop())
		}
	}()
	if !built {
		if err := t.build(ctx); err != nil {
			return nil, err
		}
	}
	if !opts.WithoutCluster {
		if err := t.findTools(ctx); err != nil {
			return nil, err
		}
	}
	if err := t.startDirectory(ctx); err != nil {
		return nil, err
	}
	if err := t.startTenant(ctx); err != nil {
		return nil, err
	}
	if opts.WithoutCluster {
		return t, nil
	}
	if err := t.startCluster(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// Stop ends everything that Start started and waits until it has ended.
func (t *Testbed) Stop() error {
	var errs []error
	for _, p := range slices.Backward(t.processes) {
		errs = append(errs, p.Stop())
	}
	t.processes = nil
	return errors.Join(errs...)
}

// findRepository walks up from the working directory to the module's root.
func findRepository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "PROJECT")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside a clone of the repository: no PROJECT file in this directory or above it")
		}
		dir = parent
	}
}

// Binary returns the path of one of the built programs.
func (t *Testbed) Binary(name string) string { return filepath.Join(t.opts.Programs, name) }

// Build compiles what testbeds without a cluster need into a directory, for
// Options.Programs of several of them.
func Build(ctx context.Context, dir string) error {
	repo, err := findRepository()
	if err != nil {
		return err
	}
	t := &Testbed{repo: repo, opts: Options{Programs: dir, WithoutCluster: true, Progress: func(string) {}}}
	return t.build(ctx)
}

// BuildAll is Build for testbeds with a cluster. What it leaves in the caches
// makes Start, with Options.Programs, need no network.
func BuildAll(ctx context.Context, dir string, progress func(string)) error {
	repo, err := findRepository()
	if err != nil {
		return err
	}
	t := &Testbed{repo: repo, opts: Options{Programs: dir, Progress: progress}}
	return errors.Join(t.build(ctx), t.findTools(ctx))
}

// build compiles the programs. Compiled packages
// are cached by the go command, so a second run takes a second or two.
func (t *Testbed) build(ctx context.Context) error {
	programs := map[string]string{"connector": "./connector", "tenant": "./hack/tenant", "directory": "./hack/directory"}
	if !t.opts.WithoutCluster {
		programs["operator"], programs["nameserver"] = ".", "./hack/nameserver"
	}
	if t.opts.Wine {
		programs["connector.exe"] = "./connector"
	}
	t.opts.Progress("building " + strings.Join(slices.Sorted(maps.Keys(programs)), ", "))
	for name, pkg := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", t.Binary(name), pkg)
		cmd.Dir = t.repo
		if filepath.Ext(name) == ".exe" {
			cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}

// findTools builds Helm and the control plane, which are cached by content.
func (t *Testbed) findTools(ctx context.Context) error {
	t.opts.Progress("building Helm from source (the first time takes minutes, later seconds)")
	helm, err := t.script(ctx, "hack", "helm", "build.sh")
	if err != nil {
		return fmt.Errorf("building Helm: %w", err)
	}
	t.helm = helm
	if bin := os.Getenv("KUBECLUSTER_BIN"); bin != "" {
		t.cluster = filepath.Dir(bin)
		return nil
	}
	t.opts.Progress("building the Kubernetes control plane from source (the first time takes minutes, later seconds)")
	t.cluster, err = t.script(ctx, "hack", "cluster", "build.sh")
	if err != nil {
		return fmt.Errorf("building the control plane: %w", err)
	}
	return nil
}

// script runs a script of the repository that prints where it put something.
func (t *Testbed) script(ctx context.Context, path ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(append([]string{t.repo}, path...)...))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

func (t *Testbed) startDirectory(ctx context.Context) error {
	t.opts.Progress("starting the directory")
	ready := filepath.Join(t.Dir, "run", "directory.json")
	args := append([]string{"--listen", "127.0.0.1:0", "--dir", filepath.Join(t.Dir, "directory"), "--ready-file", ready}, t.opts.DirectoryArgs...)
	return t.startWithReadyFile(ctx, "directory", args, ready, &t.Directory)
}

func (t *Testbed) startTenant(ctx context.Context) error {
	t.opts.Progress("starting the tenant")
	ready := filepath.Join(t.Dir, "run", "tenant.json")
	args := append([]string{"serve", "--dir", filepath.Join(t.Dir, "tenant"), "--tenant-id", DefaultTenantID, "--listen", "127.0.0.1", "--ready-file", ready}, t.opts.TenantArgs...)
	t.Tenant = &Tenant{}
	return t.startWithReadyFile(ctx, "tenant", args, ready, t.Tenant)
}

// RestartTenant ends the tenant and starts it again with the same state, as a
// cloud outage does.
func (t *Testbed) RestartTenant(ctx context.Context) error {
	if err := t.StopTenant(); err != nil {
		return err
	}
	return t.startTenant(ctx)
}

// StopTenant takes the cloud side away.
func (t *Testbed) StopTenant() error {
	for i, p := range t.processes {
		if p.Name == "tenant" {
			t.processes = append(t.processes[:i], t.processes[i+1:]...)
			return p.Stop()
		}
	}
	return nil
}

func (t *Testbed) startWithReadyFile(ctx context.Context, name string, args []string, ready string, into any) error {
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the old ready file of %s: %w", name, err)
	}
	p, err := t.start(name, t.Binary(name), args...)
	if err != nil {
		return err
	}
	return p.untilReady(ctx, ready, into)
}

func (t *Testbed) startCluster(ctx context.Context) error {
	t.opts.Progress("starting etcd, API server, controller manager, scheduler, a Linux node and a Windows node")
	dir := filepath.Join(t.Dir, "cluster")
	ready := filepath.Join(dir, "ready")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the old ready file of the cluster: %w", err)
	}
	args := append([]string{"up", "--dir", dir,
		"--image", NameServerImage + "=" + t.Binary("nameserver"),
		"--image", OperatorImage + "=" + t.Binary("operator"),
		"--image", ConnectorImage + "=" + t.Binary("connector")}, t.opts.ClusterArgs...)
	if t.opts.Wine {
		made, err := t.script(ctx, "hack", "wine", "build.sh")
		if err != nil {
			return fmt.Errorf("making a Wine prefix: %w", err)
		}
		args = append(args, "--wine", made)
	}
	p, err := t.start("kubecluster", filepath.Join(t.cluster, "kubecluster"), args...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return p.until(ctx, "ready", func() (bool, error) {
		_, err := os.Stat(ready)
		return err == nil, nil
	})
}

// StartTenant starts a further tenant beside the testbed's own.
// Further arguments are added to the command line.
func (t *Testbed) StartTenant(ctx context.Context, name, tenantID string, more ...string) (*Tenant, error) {
	ready := filepath.Join(t.Dir, "run", name+".json")
	args := []string{"serve", "--dir", filepath.Join(t.Dir, name), "--tenant-id", tenantID, "--listen", "127.0.0.1", "--ready-file", ready}
	args = append(args, more...)
	p, err := t.start(name, t.Binary("tenant"), args...)
	if err != nil {
		return nil, err
	}
	tenant := &Tenant{}
	return tenant, p.untilReady(ctx, ready, tenant)
}

// StartOperator runs the operator as a process beside the cluster, with the
// administrator's credentials. Tests that are about the operator's rights install it
// with its chart instead.
func (t *Testbed) StartOperator(args ...string) (*Process, error) {
	return t.start("operator", t.Binary("operator"), append([]string{"--kubeconfig=" + t.Kubeconfig}, args...)...)
}

// RunningDirectory is a further directory beside the testbed's own.
type RunningDirectory struct {
	Info DirectoryInfo
	*Process
}

// StartDirectory starts a further directory, with flags of its own. The caller
// stops it.
func (t *Testbed) StartDirectory(ctx context.Context, name string, args ...string) (*RunningDirectory, error) {
	dir := filepath.Join(t.Dir, name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the directory's folder: %w", err)
	}
	ready := filepath.Join(t.Dir, "run", name+".json")
	args = append([]string{"--listen", "127.0.0.1:0", "--dir", dir, "--ready-file", ready}, args...)
	d := &RunningDirectory{}
	p, err := t.start(name, t.Binary("directory"), args...)
	if err != nil {
		return nil, err
	}
	d.Process = p
	return d, p.untilReady(ctx, ready, &d.Info)
}
