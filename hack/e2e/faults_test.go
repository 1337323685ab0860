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

// kill ends processes without a chance to say goodbye.
func kill(t *testing.T, pids ...int) []int {
	t.Helper()
	if len(pids) == 0 {
		t.Fatal("there is no process to kill")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("killing process %d: %v", pid, err)
		}
	}
	return pids
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
	identities := func() map[string]string {
		uids := map[string]string{}
		for line := range strings.Lines(s.kubectl("get", "secrets", "-o", `jsonpath={range .items[*]}{.metadata.name}={.metadata.uid}{"\n"}{end}`)) {
			name, uid, _ := strings.Cut(strings.TrimSpace(line), "=")
			uids[name] = uid
		}
		return uids
	}
	first := identities()
	if len(first) < 2 {
		t.Fatalf("%d Secrets, want two identities", len(first))
	}

	for _, fault := range []struct {
		name  string
		wreak func() (killed []int)
	}{
		{"a connector is killed", func() []int { return kill(t, processesOf(t, "connector")[:1]...) }},
		{"all connectors are killed", func() []int { return kill(t, processesOf(t, "connector")...) }},
		{"the operator is killed", func() []int { return kill(t, processesOf(t, "operator")...) }},
		{"the Windows node is killed", func() []int {
			// Its pods' processes die with it.
			pods := processesOf(t, "connector")
			kill(t, component(t, "windows-0"))
			return pods
		}},
		{"etcd is killed", func() []int { return kill(t, component(t, "etcd")) }},
		{"the operator is killed while scaling", func() []int {
			s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=3")
			killed := kill(t, processesOf(t, "operator")...)
			s.ready(3)
			before++
			s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=2")
			return killed
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s.converges(fault.wreak())
			if got := s.registrations(); got != before {
				t.Errorf("%d registrations, want %d: an identity was registered again", got, before)
			}
		})
	}
	now := identities()
	for name, uid := range first {
		if now[name] != uid {
			t.Errorf("identity Secret %s was replaced", name)
		}
	}
}

// converges waits until sign-ins work, the status is what it was before, none
// of the killed processes is still counted, and the operator proves that it
// works by mending something.
func (s *scene) converges(killed []int) {
	s.t.Helper()
	s.eventually(2*time.Minute, "sign-ins succeed again", func() (bool, string) {
		r, err := bed.Tenant.SignIn(s.ctx, "alice@contoso.example", userPassword)
		if err != nil {
			return false, err.Error()
		}
		return r.Verdict == "success", fmt.Sprintf("%+v", r)
	})
	s.eventually(3*time.Minute, "two connectors are ready and the operator runs", func() (bool, string) {
		out, err := bed.Kubectl(s.ctx, nil, "-n", s.namespace, "get", "ptc", testbed.SampleName, "-o", `jsonpath={.status.readyReplicas} {.status.conditions[?(@.type=="Ready")].status}`)
		if err != nil {
			return false, err.Error() // the API server may be away for a moment
		}
		running := slices.Concat(processesOf(s.t, "connector"), processesOf(s.t, "operator"))
		for _, pid := range killed {
			if slices.Contains(running, pid) {
				return false, fmt.Sprintf("process %d still runs", pid)
			}
		}
		return out == "2 True" && len(running) == 3, fmt.Sprintf("%s, %d processes", out, len(running))
	})
	service := "service/" + testbed.SampleName + "-connectors"
	uid := func() (string, error) {
		return bed.Kubectl(s.ctx, nil, "-n", s.namespace, "get", service, "-o", "jsonpath={.metadata.uid}")
	}
	before, err := uid()
	if err != nil {
		s.t.Fatal(err)
	}
	s.kubectl("delete", service)
	s.eventually(time.Minute, "the operator has made the Service again", func() (bool, string) {
		now, err := uid()
		return err == nil && now != "" && now != before, fmt.Sprint(now, err)
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
