// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package node is a Kubernetes node that runs every container as a process of
// this machine.
//
// It registers and heartbeats through virtual-kubelet's node controller, and
// hands each pod that the scheduler binds to it to a runner of package pod. It
// serves `kubectl logs` on its own loopback address. It can call itself a
// Windows node: labels, taints and the pod's own operating system then work as
// they do on one, while the processes are still those of this machine.
//
// [Main] is the whole program; the rest of the package is its parts.
package node

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
)

// RuntimeKey is the label, and the taint, of nodes whose runtime is Wine.
const RuntimeKey = "kubecluster.test/runtime"

// Values of Options.Runtime.
const (
	RuntimeProcess = "process"
	RuntimeWine    = "wine"
)

// Options are the node's flags.
type Options struct {
	// Name is the node's name, OS "linux" or "windows".
	Name, OS string
	// Kubeconfig is the client configuration of the node's own user.
	Kubeconfig string
	// Dir holds the pods' files and logs.
	Dir string
	// Address is the node's own, in front of which Port serves logs.
	Address netip.Addr
	Port    int
	// PodBlock is where pods get their addresses from.
	PodBlock netip.Prefix
	// Certificate, Key and ClientCA are files for serving logs.
	Certificate, Key, ClientCA string
	// Images maps image names to programs.
	Images process.Images
	// Runtime is what containers are: processes of this machine ("process"), or
	// Windows programs under Wine ("wine").
	Runtime string
	// Wine is the directory that hack/wine/build.sh prints, for that runtime.
	Wine string
	// Taints are put on the node when it registers for the first time.
	Taints []corev1.Taint
	// Isolate gives each pod namespaces of its own, and enforces network policies.
	Isolate bool
	// CrashBackoff and CrashBackoffMax bound the delays between restarts.
	CrashBackoff, CrashBackoffMax time.Duration
}

// Parse reads the flags.
func Parse(arguments []string) (Options, error) {
	options := Options{Images: process.Images{}}
	flags := flag.NewFlagSet("kubecluster node", flag.ContinueOnError)
	flags.StringVar(&options.Name, "name", "", "name of the node")
	flags.StringVar(&options.OS, "os", "linux", "operating system the node claims to have: linux or windows")
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "client configuration of the node")
	flags.StringVar(&options.Dir, "dir", "", "directory for the pods' files and logs")
	flags.TextVar(&options.Address, "address", netip.MustParseAddr("127.0.0.1"), "address of the node")
	flags.IntVar(&options.Port, "port", 10250, "port that serves container logs")
	flags.TextVar(&options.PodBlock, "pod-cidr", netip.Prefix{}, "block of the pods' addresses")
	flags.StringVar(&options.Certificate, "tls-cert-file", "", "serving certificate")
	flags.StringVar(&options.Key, "tls-private-key-file", "", "key of the serving certificate")
	flags.StringVar(&options.ClientCA, "client-ca-file", "", "authority of the API server's client certificate")
	flags.StringVar(&options.Runtime, "runtime", RuntimeProcess, "what runs containers: process, or wine, on a Windows node, which runs PROGRAM.exe")
	flags.StringVar(&options.Wine, "wine", "", "directory with a Wine prefix, as hack/wine/build.sh prints it")
	flags.BoolVar(&options.Isolate, "isolate", false, "give each pod a network namespace and enforce the egress of network policies (needs root)")
	flags.DurationVar(&options.CrashBackoff, "crash-backoff", time.Second, "delay before the second restart of a crashing container; doubles from there")
	flags.DurationVar(&options.CrashBackoffMax, "crash-backoff-max", 30*time.Second, "longest delay before a restart")
	flags.Func("image", "program for an image, NAME=/path; repeat for more", func(text string) error {
		name, path, err := process.ParseImage(text)
		options.Images[name] = path
		return err
	})
	flags.Func("taint", "taint of the node, KEY=VALUE:EFFECT; repeat for more", func(text string) error {
		taint, err := ParseTaint(text)
		options.Taints = append(options.Taints, taint)
		return err
	})
	if err := flags.Parse(arguments); err != nil {
		return Options{}, err
	}
	return options, options.validate()
}

// ParseTaint reads KEY=VALUE:EFFECT or KEY:EFFECT.
func ParseTaint(text string) (corev1.Taint, error) {
	rest, effect, _ := strings.Cut(text, ":")
	key, value, _ := strings.Cut(rest, "=")
	taint := corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)}
	effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
	if key == "" || !slices.Contains(effects, taint.Effect) {
		return corev1.Taint{}, fmt.Errorf("the taint %q is not of the form KEY=VALUE:EFFECT with NoSchedule, PreferNoSchedule or NoExecute", text)
	}
	return taint, nil
}

func (o Options) validate() error {
	var problems []error
	for name, value := range map[string]string{"name": o.Name, "kubeconfig": o.Kubeconfig, "dir": o.Dir, "tls-cert-file": o.Certificate, "tls-private-key-file": o.Key, "client-ca-file": o.ClientCA} {
		if value == "" {
			problems = append(problems, fmt.Errorf("--%s is required", name))
		}
	}
	if o.OS != string(corev1.Linux) && o.OS != string(corev1.Windows) {
		problems = append(problems, fmt.Errorf("--os is %q and has to be linux or windows", o.OS))
	}
	switch o.Runtime {
	case RuntimeProcess:
	case RuntimeWine:
		if o.OS != string(corev1.Windows) || o.Wine == "" || o.Isolate {
			problems = append(problems, errors.New("--runtime=wine needs --os=windows and --wine, and does not go with --isolate"))
		}
	default:
		problems = append(problems, fmt.Errorf("--runtime is %q and has to be process or wine", o.Runtime))
	}
	if !o.PodBlock.IsValid() {
		problems = append(problems, errors.New("--pod-cidr is required"))
	}
	return errors.Join(problems...)
}
