// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

// roleVariable makes the test binary play a component or a supervisor.
const roleVariable = "SUPERVISOR_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "crash":
		fmt.Println("crashing")
		os.Exit(3)
	case "hold":
		unlock, err := lock(os.Args[1])
		fmt.Println(err)
		if err == nil {
			_, _ = os.Stdin.Read(make([]byte, 1)) // until the test closes it
			unlock()
		}
	}
}

func TestParseUp(t *testing.T) {
	options, err := ParseUp([]string{"--dir=x", "--image=a:1=/bin/a", "--node=windows=2", "--windows-taint=os=windows:NoSchedule", "--crash-backoff=10ms"})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("x")
	if err != nil {
		t.Fatal(err)
	}
	want := Options{
		Dir: dir, Images: []string{"a:1=/bin/a"}, Nodes: map[string]int{"linux": 1, "windows": 2}, WindowsTaints: []string{"os=windows:NoSchedule"},
		CrashBackoff: 10 * time.Millisecond, CrashBackoffMax: 30 * time.Second,
	}
	if diff := cmp.Diff(want, options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	tests := map[string]struct {
		arguments []string
		want      string
	}{
		"no directory":     {nil, "--dir is required"},
		"another system":   {[]string{"--dir=x", "--node=plan9=1"}, "not of the form linux=COUNT"},
		"too many nodes":   {[]string{"--dir=x", "--node=linux=15"}, "more than the 15"},
		"a relative image": {[]string{"--dir=x", "--image=a=b"}, "not of the form"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseUp(test.arguments); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestNodesKeepTheirAddressesWhenOthersAreAdded(t *testing.T) {
	addresses := &network{Block: 9}
	at := func(counts map[string]int) map[string]string {
		found := map[string]string{}
		for _, spec := range nodes(counts) {
			block := addresses.nodeBlock(spec.index)
			if !block.Contains(addresses.nodeAddress(spec.index)) || block.Contains(addresses.controlPlane()) {
				t.Errorf("block %s of %s", block, spec.name)
			}
			found[spec.name] = addresses.nodeAddress(spec.index).String()
		}
		return found
	}
	few, many := at(map[string]int{"linux": 1, "windows": 1}), at(map[string]int{"linux": 3, "windows": 1})
	if diff := cmp.Diff(map[string]string{"linux-0": "127.9.16.1", "windows-0": "127.9.32.1"}, few); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	for name, address := range few {
		if many[name] != address {
			t.Errorf("%s moved from %s to %s", name, address, many[name])
		}
	}
	distinct := map[string]bool{}
	for _, address := range many {
		distinct[address] = true
	}
	if len(distinct) != 4 {
		t.Errorf("addresses %v are not distinct", many)
	}
}

func TestClaimNetwork(t *testing.T) {
	state := filepath.Join(t.TempDir(), "cluster.json")
	specs := nodes(map[string]int{"linux": 1})
	first, err := claimNetwork(t.Context(), state, specs, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.claim.Close() })

	t.Run("another cluster gets another block", func(t *testing.T) {
		other, err := claimNetwork(t.Context(), filepath.Join(t.TempDir(), "cluster.json"), specs, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.claim.Close() }()
		if other.Block == first.Block {
			t.Errorf("both have the block %d", first.Block)
		}
	})
	if err := first.claim.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("the next run gets the same, except what was taken meanwhile", func(t *testing.T) {
		taken, err := net.Listen("tcp", first.endpoint(etcdName))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = taken.Close() }()
		next, err := claimNetwork(t.Context(), state, specs, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = next.claim.Close() }()
		if next.Block != first.Block || next.Ports[apiServerName] != first.Ports[apiServerName] || next.Ports["linux-0"] != first.Ports["linux-0"] {
			t.Errorf("was %+v, is %+v", first, next)
		}
		if next.Ports[etcdName] == first.Ports[etcdName] {
			t.Errorf("port %d was given although it is taken", next.Ports[etcdName])
		}
	})
}

func TestWriteCredentialsLetTheAdministratorIn(t *testing.T) {
	files := layout(t.TempDir())
	if err := files.make(); err != nil {
		t.Fatal(err)
	}
	addresses := &network{Block: 9, Ports: map[string]int{apiServerName: 6443}}
	specs := nodes(map[string]int{"windows": 1})
	for range 2 { // the second run keeps the authorities
		if err := writeCredentials(files, addresses, specs); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{files.kubeconfig(), files.userFile("windows-0"), files.userFile(schedulerName)} {
		config, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			t.Fatal(err)
		}
		if config.Host != "https://127.9.0.1:6443" || len(config.CertData) == 0 || len(config.KeyData) == 0 || len(config.CAData) == 0 {
			t.Errorf("%s leads to %s", path, config.Host)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

func TestKeeperStartsAgainWhatDies(t *testing.T) {
	t.Setenv(roleVariable, "crash")
	files := layout(t.TempDir())
	if err := files.make(); err != nil {
		t.Fatal(err)
	}
	reports := make(chan string, 10)
	k := &keeper{
		component: component{name: "part", argv: []string{"part"}, grace: time.Second}, program: os.Args[0], files: files,
		report: func(format string, arguments ...any) { reports <- fmt.Sprintf(format, arguments...) },
	}
	k.start()
	for range 2 {
		if report := <-reports; !strings.Contains(report, "part ended (exit status 3); starting it again in") {
			t.Errorf("report %q", report)
		}
	}
	k.stop()
	<-k.stopped
	data, err := os.ReadFile(files.logFile("part"))
	if err != nil || !bytes.HasPrefix(data, []byte("crashing\ncrashing\n")) {
		t.Errorf("log %q, %v", data, err)
	}
	if _, err := os.Stat(files.pidFile("part")); !os.IsNotExist(err) {
		t.Errorf("the pid file of a stopped component: %v", err)
	}
}

func TestLockIsHeldByOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if locked(path) {
		t.Error("locked before anybody came")
	}
	holder := exec.Command(os.Args[0], path)
	holder.Env = append(os.Environ(), roleVariable+"=hold")
	input, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("<nil>\n"))
	if _, err := output.Read(line); err != nil || string(line) != "<nil>\n" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	if !locked(path) {
		t.Error("not locked while another process holds it")
	}
	if _, err := lock(path); err == nil {
		t.Error("locked twice")
	}
	_ = input.Close()
	if err := holder.Wait(); err != nil {
		t.Fatal(err)
	}
	if locked(path) {
		t.Error("locked by a process that is gone")
	}
}

func TestWaitGivesUp(t *testing.T) {
	options := WaitOptions{Dir: t.TempDir(), Timeout: 50 * time.Millisecond}
	err := Wait(t.Context(), options, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "not ready after 50ms") {
		t.Errorf("error %v", err)
	}
}
