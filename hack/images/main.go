// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command images builds the project's container images without a container
// engine and without Windows, as OCI layouts, and pushes them.
//
//	images build [--out=DIR] [--version=V] [--only=operator|connector] [--base=NAME=REFERENCE]...
//	images push LAYOUT REFERENCE
//	images roots
//
// The same sources, Go and base images give the same bytes. Each layout holds one
// index and, for each image in it, an SPDX document that refers to it. roots prints
// the certificates that the Linux images carry.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("use build, push or roots")
	}
	switch args[0] {
	case "build":
		return build(ctx, args[1:], stdout)
	case "push":
		if len(args) != 3 {
			return errors.New("use: images push LAYOUT REFERENCE")
		}
		return push(ctx, args[1], args[2], stdout)
	case "roots":
		_, err := stdout.Write(roots())
		return err
	default:
		return fmt.Errorf("there is no command %q: use build, push or roots", args[0])
	}
}

// build is the command of that name.
func build(ctx context.Context, args []string, stdout io.Writer) error {
	repository, err := findRepository()
	if err != nil {
		return err
	}
	b := &builder{repository: repository, compile: compile, bases: windowsBases()}
	flags := flag.NewFlagSet("images build", flag.ContinueOnError)
	out := flags.String("out", filepath.Join(repository, "dist", "images"), "`directory` that gets a layout for each image")
	flags.StringVar(&b.version, "version", "dev", "`version` that the programs and images carry")
	only := flags.String("only", "", "build the `image` operator or connector alone")
	flags.Func("base", "base image to use instead, `NAME=REFERENCE`, where NAME is ltsc2022 or ltsc2025; a digest in it makes the result reproducible", b.setBase)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if b.created, err = sourceDate(ctx, repository); err != nil {
		return err
	}
	known := false
	for _, p := range products() {
		if *only != "" && *only != p.name {
			continue
		}
		known = true
		digest, err := b.build(ctx, p, filepath.Join(*out, p.name))
		if err != nil {
			return fmt.Errorf("building the image %s: %w", p.name, err)
		}
		fmt.Fprintf(stdout, "%s %s@%s\n", filepath.Join(*out, p.name), p.repository, digest)
	}
	if !known {
		return fmt.Errorf("there is no image %q: use operator or connector", *only)
	}
	return nil
}

// sourceDate is the time that everything in the images has: that of the last
// commit, unless SOURCE_DATE_EPOCH says otherwise.
func sourceDate(ctx context.Context, repository string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		cmd := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct")
		cmd.Dir = repository
		out, err := cmd.Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("asking git for the time of the last commit (or set SOURCE_DATE_EPOCH): %w", err)
		}
		text = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the time of the sources: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// compile builds a program so that the same sources give the same bytes, wherever
// they are.
func compile(ctx context.Context, b *builder, pkg, goos, goarch, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+b.version, "-o", out, pkg)
	cmd.Dir = b.repository
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s for %s/%s: %w\n%s", pkg, goos, goarch, err, out)
	}
	return nil
}

// findRepository is the directory with the file PROJECT, here or above.
func findRepository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
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
