// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// wineLabel is the label and the taint of the node that runs Windows programs.
const wineLabel = "kubecluster.test/runtime"

// haveWine tells whether Windows programs can be run here. Where they must be, it
// says so without looking, so that what is missing fails rather than is left out.
func haveWine() bool {
	if os.Getenv("REQUIRE_WINE") != "" {
		return true
	}
	for _, program := range []string{"/usr/lib/wine/wine64", "x86_64-w64-mingw32-gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			return false
		}
	}
	return true
}

func needsWine(t *testing.T) {
	t.Helper()
	if !haveWine() {
		t.Skip("needs Wine: install wine64 and gcc-mingw-w64-x86-64")
	}
}

// onWine has the pods run as Windows programs.
func onWine(spec map[string]any) {
	pod, _ := spec["pod"].(map[string]any)
	if pod == nil {
		pod = map[string]any{}
		spec["pod"] = pod
	}
	pod["os"] = "Windows"
	pod["nodeSelector"] = map[string]any{wineLabel: "wine"}
	pod["tolerations"] = []any{map[string]any{"key": wineLabel, "operator": "Exists"}}
}

func TestTheWindowsProgramSignsUsersInRollsAndStops(t *testing.T) {
	needsWine(t)
	s := newScene(t, "windows-program", goodToken(t))
	s.apply(quickly, onWine)
	s.ready(2)
	nodes := s.kubectl("get", "pods", "-o", `jsonpath={range .items[*]}{.spec.nodeName} {end}`)
	if strings.TrimSpace(nodes) != "wine-0 wine-0" {
		t.Fatalf("the pods are on %s, want both on the node that runs Windows programs", nodes)
	}
	s.everyUserGetsTheRightAnswer()
	s.allAnswer(2)

	tr := s.startTraffic(2)
	s.kubectl("patch", "ptc/"+testbed.SampleName, "--type=merge", "-p", `{"spec":{"validation":{"timeoutSeconds":7}}}`)
	s.rolledOut(2)
	s.allAnswer(2)
	tr.end()
	if signIns, failures := tr.soFar(); len(failures) > 0 || signIns == 0 {
		t.Errorf("%d of %d sign-ins failed while Windows programs were replaced:\n%s", len(failures), signIns, strings.Join(failures, "\n"))
	}

	// Told to stop, it finishes what it holds and ends by itself: with code 0, long
	// before its time is up.
	pod := strings.Fields(s.kubectl("get", "pods", "-o", `jsonpath={.items[*].metadata.name}`))[0]
	watched := make(chan string, 1)
	began := time.Now()
	go func() {
		out, err := bed.Kubectl(s.ctx, nil, "-n", s.namespace, "logs", "--follow", pod)
		watched <- fmt.Sprint(out, err)
	}()
	s.kubectl("delete", "pod", pod, "--wait", "--grace-period=60")
	if took := time.Since(began); took > 50*time.Second {
		t.Errorf("it took %s to stop: it was killed", took)
	}
	if log := <-watched; !strings.Contains(log, "Closing the signalling links and finishing what is held") {
		t.Errorf("it was not told to stop; its log ends with\n%s", log[max(0, len(log)-2000):])
	}
	s.ready(2)
}

// Wine's LogonUserW says yes to everybody.
func TestALogonThatSaysYesToEverybodyIsRefusedService(t *testing.T) {
	needsWine(t)
	s := newScene(t, "windows-logon", goodToken(t))
	s.apply(quickly, onWine, func(spec map[string]any) {
		spec["replicas"] = 1
		spec["validation"] = map[string]any{"method": "LogonUser", "logonUser": map[string]any{"domains": []any{"contoso.example"}}}
	})
	s.eventually(3*time.Minute, "the resource says that the validator accepts anything", func() (bool, string) {
		c := s.resource().condition("Ready")
		return c.Status == "False" && strings.Contains(c.Message, "ValidatorAcceptsAnything"), fmt.Sprintf("%+v", c)
	})
	if r := s.signIn("alice@contoso.example", userPassword); r.Verdict == "success" {
		t.Errorf("a user was signed in: %+v", r)
	}
	if restarts := s.kubectl("get", "pods", "-o", `jsonpath={.items[*].status.containerStatuses[*].restartCount}`); restarts != "0" {
		t.Errorf("the connector was restarted %s times: it must stay, to say why", restarts)
	}
}
