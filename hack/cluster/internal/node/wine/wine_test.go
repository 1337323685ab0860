// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package wine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
)

// program is what the containers of the tests run. It says what it was given and
// ends with 7 when it is told to, or never.
const program = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	content, err := os.ReadFile(os.Args[1])
	fmt.Println(runtime.GOOS, os.Getenv("GREETING"), string(content), err)
	if s := <-signals; s == syscall.SIGTERM && os.Getenv("GREETING") != "deaf" {
		os.Exit(7)
	}
	select {}
}
`

// made is the directory with a prefix, or skips the test.
func made(t *testing.T) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "../../../../wine/build.sh")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		if os.Getenv("REQUIRE_WINE") != "" {
			t.Fatalf("Wine is required: %v", err)
		}
		t.Skipf("Wine is not there: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// lines gets what a program prints.
type lines chan string

func (l lines) Write(data []byte) (int, error) {
	l <- string(data)
	return len(data), nil
}

func TestContainersAreWindowsPrograms(t *testing.T) {
	runtime, err := New(made(t), filepath.Join(t.TempDir(), "wine"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, path := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	for name, content := range map[string]string{source: program, filepath.Join(dir, "file"): "content"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path+".exe", source)
	build.Env = append(os.Environ(), "GOOS=windows", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	start := func(greeting string) *Container {
		output := make(lines, 10)
		// The file by its path on this machine, as volumes are named.
		c, err := runtime.Start(process.Spec{
			Path: path, Args: []string{filepath.Join(dir, "file")}, Dir: dir,
			Env: []string{"GREETING=" + greeting, "HOME=" + dir}, Stdout: output, Stderr: output,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Kill(); <-c.Exited() })
		if got, want := <-output, "windows "+greeting+" content <nil>\n"; got != want {
			t.Fatalf("it printed %q, want %q", got, want)
		}
		return c
	}
	obedient, deaf := start("hello"), start("deaf")

	// Each has a Windows of its own: telling one is not telling the other.
	obedient.Terminate()
	<-obedient.Exited()
	if exit := obedient.Exit(); exit.Code != 7 {
		t.Errorf("told to end, it ended with %+v, want code 7", exit)
	}
	select {
	case <-deaf.Exited():
		t.Fatal("the other one ended, too")
	default:
	}
	deaf.Terminate()
	deaf.Kill()
	<-deaf.Exited()
	if exit := deaf.Exit(); exit.Signal == 0 {
		t.Errorf("killed, it ended with %+v", exit)
	}
	if left, err := os.ReadDir(runtime.dir); err != nil || len(left) != 0 {
		t.Errorf("%d prefixes are left, %v", len(left), err)
	}
}

func TestStartReportsAMissingProgram(t *testing.T) {
	runtime, err := New(made(t), filepath.Join(t.TempDir(), "wine"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Start(process.Spec{Path: filepath.Join(t.TempDir(), "absent")}); err == nil || !strings.Contains(err.Error(), "no Windows program") {
		t.Errorf("got %v", err)
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	if _, err := New(t.TempDir(), filepath.Join(t.TempDir(), "wine")); err == nil || !strings.Contains(err.Error(), "hack/wine/build.sh") {
		t.Errorf("got %v", err)
	}
}
