// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package supervisor brings a cluster up in a directory and keeps it up.
//
// [Up] starts etcd, the API server, the controller manager, the scheduler and
// the nodes as processes of their own, all of them this same program under
// other names; it restarts what dies, and stops everything in order when its
// context ends. What the cluster knows is kept in the directory, so that the
// next Up in it goes on from there. [Wait] waits, from another process, until
// a cluster that somebody brings up is ready.
package supervisor

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
)

// maxNodes is how many address blocks a cluster has for its nodes.
const maxNodes = 15

// Options are the flags of Up.
type Options struct {
	// Dir holds everything the cluster keeps.
	Dir string
	// Images are handed to the nodes as they are: NAME=/path.
	Images []string
	// Nodes says how many nodes there are of each operating system.
	Nodes map[string]int
	// WindowsTaints are put on the Windows nodes: KEY=VALUE:EFFECT.
	WindowsTaints []string
	// Wine, if not empty, adds a Windows node that runs containers as Windows
	// programs under Wine: it is the directory that hack/wine/build.sh prints.
	Wine string
	// Isolate gives each pod namespaces of its own, and has network policies
	// enforced. It needs root, and a network namespace made for the cluster.
	Isolate bool
	// CrashBackoff and CrashBackoffMax bound the delays between restarts of
	// crashing containers.
	CrashBackoff, CrashBackoffMax time.Duration
}

// ParseUp reads the flags of Up.
func ParseUp(arguments []string) (Options, error) {
	options := Options{Nodes: map[string]int{"linux": 1, "windows": 1}}
	flags := flag.NewFlagSet("kubecluster up", flag.ContinueOnError)
	flags.StringVar(&options.Dir, "dir", "", "directory of the cluster; made if it does not exist (required)")
	flags.StringVar(&options.Wine, "wine", "", "add a Windows node, wine-0, that runs containers as Windows programs under Wine; the directory that hack/wine/build.sh prints")
	flags.BoolVar(&options.Isolate, "isolate", false, "give each pod a network namespace and enforce the egress of network policies; needs root and a network namespace of its own: unshare --net kubecluster up --isolate")
	flags.DurationVar(&options.CrashBackoff, "crash-backoff", time.Second, "delay before the second restart of a crashing container; doubles from there")
	flags.DurationVar(&options.CrashBackoffMax, "crash-backoff-max", 30*time.Second, "longest delay before a restart")
	flags.Func("image", "program that runs an image, NAME=/path; repeat for more", func(text string) error {
		name, path, err := process.ParseImage(text)
		options.Images = append(options.Images, name+"="+path)
		return err
	})
	flags.Func("node", "number of nodes of an operating system, OS=COUNT; default linux=1 and windows=1", func(text string) error {
		system, count, err := parseNodes(text)
		options.Nodes[system] = count
		return err
	})
	flags.Func("windows-taint", "taint of new Windows nodes, KEY=VALUE:EFFECT; repeat for more", func(text string) error {
		_, err := node.ParseTaint(text)
		options.WindowsTaints = append(options.WindowsTaints, text)
		return err
	})
	if err := flags.Parse(arguments); err != nil {
		return Options{}, err
	}
	if total := options.Nodes["linux"] + options.Nodes["windows"]; total > maxNodes {
		return Options{}, fmt.Errorf("%d nodes are more than the %d a cluster can have", total, maxNodes)
	}
	if options.Wine != "" && (options.Isolate || 2*options.Nodes["linux"] >= maxNodes) {
		return Options{}, errors.New("--wine does not go with --isolate, and takes the place of one Linux node of the most there can be")
	}
	return options, absolute(&options.Dir)
}

// WaitOptions are the flags of Wait.
type WaitOptions struct {
	Dir     string
	Timeout time.Duration
}

// ParseWait reads the flags of Wait.
func ParseWait(arguments []string) (WaitOptions, error) {
	var options WaitOptions
	flags := flag.NewFlagSet("kubecluster wait", flag.ContinueOnError)
	flags.StringVar(&options.Dir, "dir", "", "directory of the cluster (required)")
	flags.DurationVar(&options.Timeout, "timeout", 2*time.Minute, "how long to wait at most")
	if err := flags.Parse(arguments); err != nil {
		return WaitOptions{}, err
	}
	return options, absolute(&options.Dir)
}

func parseNodes(text string) (system string, count int, err error) {
	system, number, _ := strings.Cut(text, "=")
	count, err = strconv.Atoi(number)
	if err != nil || count < 0 || !slices.Contains([]string{"linux", "windows"}, system) {
		return "", 0, fmt.Errorf("%q is not of the form linux=COUNT or windows=COUNT", text)
	}
	return system, count, nil
}

func absolute(dir *string) error {
	if *dir == "" {
		return errors.New("--dir is required")
	}
	path, err := filepath.Abs(*dir)
	if err != nil {
		return fmt.Errorf("finding the cluster's directory: %w", err)
	}
	*dir = path
	return nil
}

// layout names the files of a cluster's directory.
type layout string

func (l layout) kubeconfig() string { return filepath.Join(string(l), "kubeconfig") }
func (l layout) ready() string      { return filepath.Join(string(l), "ready") }
func (l layout) progress() string   { return filepath.Join(string(l), "progress") }
func (l layout) lock() string       { return filepath.Join(string(l), "lock") }
func (l layout) state() string      { return filepath.Join(string(l), "cluster.json") }
func (l layout) etcd() string       { return filepath.Join(string(l), "etcd") }
func (l layout) pki() string        { return filepath.Join(string(l), "pki") }

func (l layout) pkiFile(name string) string  { return filepath.Join(l.pki(), name) }
func (l layout) node(name string) string     { return filepath.Join(string(l), "nodes", name) }
func (l layout) logFile(name string) string  { return filepath.Join(string(l), "logs", name+".log") }
func (l layout) pidFile(name string) string  { return filepath.Join(string(l), "run", name+".pid") }
func (l layout) userFile(name string) string { return filepath.Join(l.pki(), name+".kubeconfig") }

func (l layout) make() error {
	for _, dir := range []string{string(l), l.pki(), filepath.Join(string(l), "logs"), filepath.Join(string(l), "run")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the cluster's directory: %w", err)
		}
	}
	return nil
}

// writeFile replaces the file as a whole: readers never see half of it.
func writeFile(path string, data []byte) error {
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	return nil
}
