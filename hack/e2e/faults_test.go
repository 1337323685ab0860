// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// processesOf lists the processes that run one of the built programs.
func processesOf(t *testing.T, program string) []int {
	t.Helper()
	exes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, exe := range exes {
		target, err := os.Readlink(exe)
		if err != nil || target != bed.Binary(program) {
			continue // a process that ended meanwhile, or is not ours
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(exe)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func kill(t *testing.T, pids ...int) {
	t.Helper()
	if len(pids) == 0 {
		t.Fatal("there is no process to kill")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("killing process %d: %v", pid, err)
		}
	}
}

func component(t *testing.T, name string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(bed.Dir, "cluster", "run", name+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestTheSystemConvergesAfterFaults(t *testing.T) {
	s := newScene(t, "faults", goodToken(t))
	s.apply()
	s.ready(2)
	before := s.registrations()
	identities := s.kubectl("get", "secrets", "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.uid}{\"\\n\"}{end}")

	for _, fault := range []struct {
		name  string
		wreak func(t *testing.T)
	}{
		{"a connector is killed", func(t *testing.T) { kill(t, processesOf(t, "connector")[:1]...) }},
		{"all connectors are killed", func(t *testing.T) { kill(t, processesOf(t, "connector")...) }},
		{"the operator is killed", func(t *testing.T) { kill(t, processesOf(t, "operator")...) }},
		{"the Windows node is killed", func(t *testing.T) { kill(t, component(t, "windows-0")) }},
		{"etcd is killed", func(t *testing.T) { kill(t, component(t, "etcd")) }},
		{"the operator is killed while scaling", func(t *testing.T) {
			s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=3")
			kill(t, processesOf(t, "operator")...)
			s.ready(3)
			before++
			s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=2")
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			old := slices.Concat(processesOf(t, "connector"), processesOf(t, "operator"))
			fault.wreak(t)
			s.converges(old)
			if got := s.registrations(); got != before {
				t.Errorf("%d registrations, want %d: an identity was registered again", got, before)
			}
		})
	}
	if now := s.kubectl("get", "secrets", "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.uid}{\"\\n\"}{end}"); !strings.HasPrefix(now, identities[:strings.Index(identities, "\n")]) {
		t.Errorf("identity Secrets were replaced:\nbefore:\n%s\nafter:\n%s", identities, now)
	}
}

// converges waits until sign-ins work and the status is what it was before.
func (s *scene) converges(old []int) {
	s.t.Helper()
	s.eventually(2*time.Minute, "sign-ins succeed again", func() (bool, string) {
		r, err := bed.Tenant.SignIn(s.ctx, "alice@contoso.example", userPassword)
		if err != nil {
			return false, err.Error()
		}
		return r.Verdict == "success", fmt.Sprintf("%+v (processes before: %v)", r, old)
	})
	s.eventually(3*time.Minute, "two connectors are ready and the operator works", func() (bool, string) {
		out, err := bed.Kubectl(s.ctx, nil, "-n", s.namespace, "get", "ptc", testbed.SampleName, "-o", `jsonpath={.status.readyReplicas} {.status.conditions[?(@.type=="Ready")].status}`)
		if err != nil {
			return false, err.Error() // the API server may be away for a moment
		}
		return out == "2 True" && len(processesOf(s.t, "connector")) == 2 && len(processesOf(s.t, "operator")) == 1, out
	})
}

func TestAValidatorThatSaysYesIsNotServed(t *testing.T) {
	s := newScene(t, "yes", goodToken(t))
	gullible, err := bed.StartDirectory(s.ctx, "gullible", "--accept-everything")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gullible.Stop(); err != nil {
			t.Error(err)
		}
	})
	ca, err := os.ReadFile(gullible.Info.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.Apply(s.ctx, map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": s.namespace, "name": testbed.DirectoryCAMap},
		"data":     map[string]any{testbed.CAKey: string(ca)},
	}); err != nil {
		t.Fatal(err)
	}
	s.apply(spec("replicas", 1), func(spec map[string]any) {
		forests := spec["validation"].(map[string]any)["ldap"].(map[string]any)["forests"].([]any)
		forests[0].(map[string]any)["servers"] = []any{"ldaps://" + gullible.Info.Address}
	})
	s.eventually(2*time.Minute, "the resource says that the validator accepts anything", func() (bool, string) {
		c := s.resource().condition("Ready")
		return c.Status == "False" && strings.Contains(c.Message, "ValidatorAcceptsAnything"), fmt.Sprintf("%+v", c)
	})
	r := s.signIn("alice@contoso.example", userPassword)
	if r.Verdict == "success" || r.AADSTS != 80001 {
		t.Errorf("a sign-in got %s, AADSTS%d; want a failure with AADSTS80001 because no connector serves", r.Verdict, r.AADSTS)
	}
}
