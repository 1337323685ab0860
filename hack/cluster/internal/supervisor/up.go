// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
)

// Up brings the cluster up and keeps it up until the context ends; it then
// stops everything and returns nil. Progress is written to messages, a line
// for each thing that happens.
func Up(ctx context.Context, options Options, messages io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the program itself: %w", err)
	}
	files := layout(options.Dir)
	if err := files.make(); err != nil {
		return err
	}
	unlock, err := lock(files.lock())
	if err != nil {
		return err
	}
	defer unlock()
	for _, stale := range []string{files.ready(), files.progress()} {
		if err := os.Remove(stale); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what the previous run left: %w", err)
		}
	}
	defer func() { _ = os.Remove(files.ready()) }()
	pidFile := files.pidFile("supervisor")
	if err := writeFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n")); err != nil {
		return err
	}
	defer func() { _ = os.Remove(pidFile) }()

	specs := nodes(options.Nodes)
	if options.Wine != "" {
		specs = append(specs, wineNode())
	}
	addresses, err := claimNetwork(ctx, files.state(), specs, options.Isolate)
	if err != nil {
		return err
	}
	defer func() { _ = addresses.claim.Close() }()
	if err := writeCredentials(files, addresses, specs); err != nil {
		return err
	}
	run := &run{files: files, program: program, progress: newProgress(files, messages)}
	defer run.stopAll()
	return run.start(ctx, options, addresses, specs)
}

// run is one run of a cluster: what was started, in the order of starting.
type run struct {
	files    layout
	program  string
	progress *progress
	stages   [][]*keeper
}

// start starts stage after stage, announces the cluster as ready, and waits
// for the context to end.
func (r *run) start(ctx context.Context, options Options, addresses *network, specs []nodeSpec) error {
	api, err := newAPI(r.files)
	if err != nil {
		return err
	}
	r.stage(etcdComponent(r.files, addresses))
	r.stage(apiServerComponent(r.files, addresses))
	if !r.wait(ctx, "the API server", api.serves) {
		return nil
	}
	if options.Isolate && !r.wait(ctx, "the nodes' right to read network policies", api.showPoliciesToNodes) {
		return nil
	}
	r.stage(controllerManagerComponent(r.files, options), schedulerComponent(r.files))
	var parts []component
	for _, spec := range specs {
		parts = append(parts, nodeComponent(r.files, addresses, options, spec))
	}
	r.stage(parts...)
	for _, spec := range specs {
		if !r.wait(ctx, "node "+spec.name, api.nodeIsReady(spec.name)) {
			return nil
		}
	}
	if !r.wait(ctx, "the default service account", api.hasDefaultServiceAccount) {
		return nil
	}
	if err := writeFile(r.files.ready(), []byte(r.progress.elapsed()+"\n")); err != nil {
		return err
	}
	r.progress.report("the cluster is ready; use it with: export KUBECONFIG=%s", r.files.kubeconfig())
	<-ctx.Done()
	return nil
}

// stage starts components together. They are stopped together, too, before
// those of earlier stages.
func (r *run) stage(components ...component) {
	var keepers []*keeper
	for _, c := range components {
		log := r.files.logFile(c.name)
		_ = os.Rename(log, log+".old") // of the previous run, if there was one
		k := &keeper{component: c, program: r.program, files: r.files, report: r.progress.report}
		k.start()
		keepers = append(keepers, k)
	}
	r.stages = append(r.stages, keepers)
}

func (r *run) stopAll() {
	r.progress.report("stopping")
	for _, stage := range slices.Backward(r.stages) {
		for _, k := range stage {
			k.stop()
		}
		for _, k := range stage {
			<-k.stopped
		}
	}
	r.progress.report("stopped")
}
