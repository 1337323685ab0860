// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// roleVariable makes the test binary play a container.
const roleVariable = "PROCESS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "print":
		dir, _ := os.Getwd()
		fmt.Println(strings.Join(os.Args[1:], ","), len(os.Environ()), filepath.Base(dir))
		os.Exit(3)
	case "obey", "refuse":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("listening")
		for range signals {
			if os.Getenv(roleVariable) == "obey" {
				os.Exit(0)
			}
			fmt.Println("refused")
		}
	}
}

// lines hands over each write, which is a line in these tests.
type lines chan string

func (l lines) Write(data []byte) (int, error) {
	l <- string(data)
	return len(data), nil
}

func mustStart(t *testing.T, role string, spec Spec) *Process {
	t.Helper()
	spec.Path = os.Args[0]
	spec.Env = []string{roleVariable + "=" + role}
	process, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	return process
}

func TestProcess(t *testing.T) {
	t.Run("gets its arguments, environment and directory, and its exit code is kept", func(t *testing.T) {
		var output bytes.Buffer
		dir := filepath.Join(t.TempDir(), "pod")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		process := mustStart(t, "print", Spec{Args: []string{"a", "b"}, Dir: dir, Stdout: &output, Stderr: &output})
		<-process.Exited()
		if diff := cmp.Diff(Exit{Code: 3}, process.Exit()); diff != "" {
			t.Errorf("exit (-want +got):\n%s", diff)
		}
		if got, want := output.String(), "a,b 1 pod\n"; got != want {
			t.Errorf("output %q, want %q", got, want)
		}
	})
	t.Run("ends by itself when terminated", func(t *testing.T) {
		output := make(lines, 10)
		process := mustStart(t, "obey", Spec{Stdout: output, Stderr: output})
		<-output
		process.Terminate()
		<-process.Exited()
		if diff := cmp.Diff(Exit{}, process.Exit()); diff != "" {
			t.Errorf("exit (-want +got):\n%s", diff)
		}
	})
	t.Run("is killed when it refuses", func(t *testing.T) {
		output := make(lines, 10)
		process := mustStart(t, "refuse", Spec{Stdout: output, Stderr: output})
		<-output
		process.Terminate()
		if got := <-output; got != "refused\n" {
			t.Fatalf("output %q", got)
		}
		process.Kill()
		<-process.Exited()
		if diff := cmp.Diff(Exit{Code: 137, Signal: 9}, process.Exit()); diff != "" {
			t.Errorf("exit (-want +got):\n%s", diff)
		}
	})
}

func TestStartReportsAMissingProgram(t *testing.T) {
	if _, err := Start(Spec{Path: filepath.Join(t.TempDir(), "absent")}); err == nil {
		t.Error("no error")
	}
}

func TestImages(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	images := Images{"ghcr.io/x/y:dev": os.Args[0], "short": os.Args[0], "plain": plain, "absent": "/nowhere/x"}
	tests := map[string]struct{ image, wantError string }{
		"a mapped name":                {image: "ghcr.io/x/y:dev"},
		"latest is the default tag":    {image: "short:latest"},
		"another tag is another image": {image: "ghcr.io/x/y:v2", wantError: "no program is mapped"},
		"a file that is no program":    {image: "plain", wantError: "not a program"},
		"a file that is not there":     {image: "absent", wantError: "cannot be read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path, err := images.Find(test.image)
			if test.wantError == "" && (err != nil || path != os.Args[0]) {
				t.Errorf("got %q, %v", path, err)
			}
			if test.wantError != "" && (err == nil || !strings.Contains(err.Error(), test.wantError)) {
				t.Errorf("error %v, want one with %q", err, test.wantError)
			}
		})
	}
}

func TestParseImage(t *testing.T) {
	name, path, err := ParseImage("ghcr.io/x/y:dev=/bin/true")
	if err != nil || name != "ghcr.io/x/y:dev" || path != "/bin/true" {
		t.Errorf("got %q, %q, %v", name, path, err)
	}
	for _, text := range []string{"x", "=/bin/true", "x=relative"} {
		if _, _, err := ParseImage(text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}
