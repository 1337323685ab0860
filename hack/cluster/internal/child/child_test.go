// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// roleVariable makes the test binary play a part instead of running tests.
const roleVariable = "CHILD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "parent":
		playParent()
	case "child":
		block() // holds the pipe open until it is killed
	default:
		os.Exit(m.Run())
	}
}

// playParent starts a child that inherits standard output, reports its
// process identifier and then waits to be killed.
func playParent() {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), roleVariable+"=child")
	command.Stdout = os.Stdout
	if err := Start(command); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(command.Process.Pid)
	block()
}

// block waits for a signal that nobody sends. An empty select would not do:
// the runtime would call it a deadlock and end the process.
func block() {
	never := make(chan os.Signal, 1)
	signal.Notify(never, syscall.SIGUSR1)
	<-never
}

func TestChildDiesWithAKilledParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), roleVariable+"=parent")
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(output)
	line, err := reader.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatalf("the parent said %q", line)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The pipe ends only when the child, its last writer, is gone; should it
	// live on, the test runs into its own deadline.
	if _, err := reader.ReadString('\n'); err == nil {
		t.Error("the child wrote something")
	}
	_ = parent.Wait()
}
