// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wine runs the containers of a Windows node as Windows programs under
// Wine, each in a prefix of its own: its registry, its system's processes, and
// nothing of other containers.
//
// The program of an image NAME=/path is /path.exe. It sees the files of this
// machine as drive Z:, on which it is started, so that paths which begin with a
// slash mean the same to it. It is asked to end as Windows asks a container's
// process: with CTRL_SHUTDOWN_EVENT.
package wine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/child"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
)

// Loader is the program that runs Windows programs, from Debian's package wine64.
const Loader = "/usr/lib/wine/wine64"

const (
	server   = "/usr/lib/wine/wineserver" // beside Loader
	shutdown = "shutdown.exe"             // of the made directory
	prefix   = "prefix"

	// helperTimeout bounds telling a program to end, and ending what is left of a
	// prefix.
	helperTimeout = 20 * time.Second
)

// Runtime starts containers. Create it with [New].
type Runtime struct{ made, dir string }

// New returns a runtime. made is the directory that hack/wine/build.sh prints;
// below dir, which is made, each container gets its prefix.
func New(made, dir string) (*Runtime, error) {
	for _, needed := range []string{Loader, filepath.Join(made, shutdown), filepath.Join(made, prefix, "system.reg")} {
		if _, err := os.Stat(needed); err != nil {
			return nil, fmt.Errorf("running containers under Wine: %w; install wine64 and give the directory that hack/wine/build.sh prints", err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("removing what an earlier node left: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the prefixes: %w", err)
	}
	return &Runtime{made: made, dir: dir}, nil
}

// Container is a running container.
type Container struct {
	*process.Process
	runtime *Runtime
	program string // its file's name
	prefix  string
	env     []string
	gone    chan struct{} // closed when nothing of it runs any more
}

// Start starts a container.
func (r *Runtime) Start(spec process.Spec) (*Container, error) {
	program := spec.Path + ".exe"
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("there is no Windows program for the image: %w", err)
	}
	own, err := os.MkdirTemp(r.dir, "")
	if err != nil {
		return nil, fmt.Errorf("making a prefix: %w", err)
	}
	c := &Container{runtime: r, program: filepath.Base(program), prefix: filepath.Join(own, prefix), gone: make(chan struct{})}
	if err := clone(filepath.Join(r.made, prefix), c.prefix); err != nil {
		return nil, errors.Join(fmt.Errorf("making a prefix: %w", err), os.RemoveAll(own))
	}
	c.env = append(slices.Clone(spec.Env), "WINEPREFIX="+c.prefix, "WINEDEBUG=-all")
	spec.Path, spec.Args, spec.Env = Loader, append([]string{program}, spec.Args...), c.env
	if c.Process, err = process.Start(spec); err != nil {
		return nil, errors.Join(err, os.RemoveAll(own))
	}
	go func() {
		<-c.Process.Exited()
		_ = c.helper(server, "--kill", "--wait")
		_ = os.RemoveAll(own)
		close(c.gone)
	}()
	return c, nil
}

// Exited is closed when the program has ended and nothing of its Windows is left.
func (c *Container) Exited() <-chan struct{} { return c.gone }

// Terminate tells the program that its container is being stopped. If that cannot
// be done the program is left to run into the end of its time, as it would be.
func (c *Container) Terminate() {
	go func() { _ = c.helper(Loader, filepath.Join(c.runtime.made, shutdown), c.program) }()
}

// helper runs a program in the container's prefix.
func (c *Container) helper(path string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, path, args...)
	command.Env = c.env
	if err := child.Start(command); err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	return command.Wait()
}

// clone makes a prefix like another. Files that Wine only reads are linked; those
// of the registry, which it writes, are copied.
func clone(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		case entry.Type()&fs.ModeSymlink != 0:
			destination, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(destination, target)
		case filepath.Ext(path) == ".reg":
			return copyFile(path, target)
		}
		if os.Link(path, target) == nil {
			return nil
		}
		return copyFile(path, target) // on another file system
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
