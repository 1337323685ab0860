// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// Environment variables by which this program knows which part it plays.
const (
	programsVariable = "EGRESS_TEST_PROGRAMS" // set inside the network namespace
	probeVariable    = "EGRESS_TEST_PROBE"    // set in a pod's
)

// bed is the system under test; it is set before any test runs.
var bed *testbed.Testbed

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(probeVariable) != "":
		os.Exit(playProbe(os.Stdin, os.Stdout))
	case os.Getenv(programsVariable) != "":
		code, err := runInside(m, os.Getenv(programsVariable))
		if err != nil {
			fmt.Fprintln(os.Stderr, "egress:", err)
			code = 1
		}
		os.Exit(code)
	}
	why, required := missing()
	if why != "" {
		if required {
			fmt.Fprintln(os.Stderr, "egress: these tests must run here, but", why)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stderr, "egress: skipped:", why)
		os.Exit(0)
	}
	if err := runOutside(); err != nil {
		fmt.Fprintln(os.Stderr, "egress:", err)
		os.Exit(1)
	}
}

// missing says what the tests need and do not have, and whether that is a failure:
// REQUIRE_CLUSTER asks for the control plane, REQUIRE_ISOLATION for root as well.
func missing() (why string, required bool) {
	required = os.Getenv("REQUIRE_ISOLATION") != ""
	if os.Getenv("KUBECLUSTER_BIN") == "" {
		return "KUBECLUSTER_BIN is not set: run `make test`, which builds the control plane", required || os.Getenv("REQUIRE_CLUSTER") != ""
	}
	if os.Geteuid() != 0 {
		return "network namespaces need root: run `sudo make test`, or these tests alone", required
	}
	for program, source := range map[string]string{"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("the program %s is missing: install the package %s", program, source), required
		}
	}
	return "", required
}

// runOutside builds what is needed, which may take the network, and then runs
// this program again in a network namespace without any way out. The namespace
// has no name: it is gone when the last process in it has ended.
func runOutside() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	programs, err := os.MkdirTemp("", "passthrough-egress-programs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(programs)
	if err := testbed.BuildAll(ctx, programs, progress); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	inside := exec.CommandContext(ctx, self, os.Args[1:]...)
	inside.Env = append(os.Environ(), programsVariable+"="+programs)
	inside.Stdout, inside.Stderr = os.Stdout, os.Stderr
	// The signal is sent when the thread ends that started it.
	runtime.LockOSThread()
	inside.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	return inside.Run()
}

func progress(what string) { fmt.Fprintln(os.Stderr, "egress:", what) }

// Addresses of the world around the cluster. Those of 203.0.113.0/24 are kept
// for documentation; the last is where clouds have their machines' metadata.
const (
	httpsTenant      = "203.0.113.10"
	documentedTenant = "203.0.113.20"
	directoryHost    = "203.0.113.30"
	stranger         = "203.0.113.50"
	metadataHost     = "169.254.169.254"
)

// Domains of the second tenant; the first has those of the samples.
const (
	documentedService = "service.documented.test"
	documentedRelay   = "relay.documented.test"
)

// runInside lays out the world and runs the tests in it.
func runInside(m *testing.M, programs string) (_ int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	commands := []string{"link set lo up"}
	for _, address := range []string{httpsTenant, documentedTenant, directoryHost, stranger, metadataHost} {
		commands = append(commands, "addr add "+address+"/32 dev lo")
	}
	ip := exec.CommandContext(ctx, "ip", "-batch", "-")
	ip.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := ip.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("giving the network namespace its addresses: %w: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "passthrough-egress-")
	if err != nil {
		return 0, err
	}
	bed, err = testbed.Start(ctx, testbed.Options{
		Dir: dir, Progress: progress, Programs: programs,
		TenantArgs:    []string{"--listen", httpsTenant},
		DirectoryArgs: []string{"--listen", directoryHost + ":636"},
		ClusterArgs:   []string{"--isolate"},
	})
	if err != nil {
		return 0, fmt.Errorf("%w; logs stay in %s", err, filepath.Join(dir, "logs"))
	}
	defer func() {
		err = errors.Join(err, bed.Stop())
		if err == nil && os.Getenv("KEEP") == "" {
			err = os.RemoveAll(dir)
		}
	}()
	if err := startNameServer(ctx); err != nil {
		return 0, err
	}
	if err := bed.InstallOperator(ctx); err != nil {
		return 0, fmt.Errorf("%w; state stays in %s", err, dir)
	}
	code := m.Run()
	if code != 0 {
		return code, fmt.Errorf("tests failed; logs and state stay in %s", dir)
	}
	return code, nil
}

// startNameServer runs the cluster's DNS as a pod with the labels that it has
// everywhere.
func startNameServer(ctx context.Context) error {
	progress("starting the name server")
	pod := podObject("kube-system", "dns", map[string]any{"k8s-app": "kube-dns"},
		"--listen=$(POD_IP):53", "--zone=msappproxy.test="+httpsTenant, "--zone=servicebus.test="+httpsTenant,
		"--zone="+documentedService+"="+documentedTenant, "--zone="+documentedRelay+"="+documentedTenant)
	if err := bed.Apply(ctx, pod); err != nil {
		return err
	}
	_, err := bed.Kubectl(ctx, nil, "-n", "kube-system", "wait", "--for=condition=Ready", "pod/dns", "--timeout=60s")
	return err
}

// podObject is a pod that runs the name server, which is the smallest program
// that stays.
func podObject(namespace, name string, labels map[string]any, args ...any) any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": namespace, "name": name, "labels": labels},
		"spec": map[string]any{
			"os": map[string]any{"name": "linux"}, "nodeSelector": map[string]any{"kubernetes.io/os": "linux"},
			"automountServiceAccountToken": false,
			"securityContext":              map[string]any{"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
			"containers": []any{map[string]any{
				"name": "main", "image": testbed.NameServerImage, "args": args,
				"env":             []any{map[string]any{"name": "POD_IP", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "status.podIP"}}}},
				"securityContext": map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}}},
			}},
		},
	}
}
