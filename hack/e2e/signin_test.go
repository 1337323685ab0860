// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// userPassword is the password of every user of the directory.
const userPassword = "Correct-Horse-7!"

func TestApplySignInScaleDelete(t *testing.T) {
	s := newScene(t, "main-job", goodToken(t))
	before := s.registrations()

	s.apply()
	r := s.ready(2)
	if len(r.Status.Connectors) != 2 {
		t.Errorf("status lists %d connectors, want 2", len(r.Status.Connectors))
	}
	s.podsAreWindowsPods(2)
	s.everyUserGetsTheRightAnswer()

	s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=3")
	s.ready(3)
	s.allAnswer(3)
	if got := s.registrations() - before; got != 3 {
		t.Errorf("the tenant registered %d connectors, want 3", got)
	}

	s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=1")
	s.ready(1)
	s.kubectl("scale", "ptc/"+testbed.SampleName, "--replicas=3")
	s.ready(3)
	if got := s.registrations() - before; got != 3 {
		t.Errorf("scaling down and up registered again: %d registrations, want 3", got)
	}

	children := func() string {
		return strings.TrimSpace(s.kubectl("get", "pods,deployments,services,secrets,configmaps,serviceaccounts", "-l", "app.kubernetes.io/instance="+testbed.SampleName, "-o", "name"))
	}
	if n := len(strings.Fields(children())); n != 4*3+2 {
		t.Errorf("%d children before the resource is deleted, want a pod, Deployment, Secret and ConfigMap for each of three connectors, a Service and a ServiceAccount:\n%s", n, children())
	}
	s.kubectl("delete", "ptc", testbed.SampleName, "--wait")
	// The garbage collector of a new cluster takes up to half a minute to notice
	// a new kind.
	s.eventually(90*time.Second, "nothing of the resource is left", func() (bool, string) {
		left := children()
		return left == "", left
	})
}

// everyUserGetsTheRightAnswer signs in one user of every kind the directory
// knows and compares what the sign-in page would show.
func (s *scene) everyUserGetsTheRightAnswer() {
	s.t.Helper()
	for name, want := range map[string]struct {
		user, password string
		verdict        string
		reason         string
		aadsts         int
	}{
		"a good user":           {"alice", userPassword, "success", "", 0},
		"a wrong password":      {"bob", "not-his-password", "failure", "1326", 50126},
		"an unknown user":       {"nobody", userPassword, "failure", "1326", 50126},
		"a disabled account":    {"dave", userPassword, "failure", "1331", 50057},
		"an expired password":   {"erin", userPassword, "failure", "1330", 50144},
		"a password to change":  {"frank", userPassword, "failure", "1907", 50144},
		"a locked account":      {"grace", userPassword, "failure", "1909", 50053},
		"outside logon hours":   {"heidi", userPassword, "failure", "1328", 80012},
		"a name in upper case":  {"CAROL", userPassword, "success", "", 0},
		"the password in lower": {"carol", strings.ToLower(userPassword), "failure", "1326", 50126},
	} {
		s.t.Run(name, func(t *testing.T) {
			got, err := bed.Tenant.SignIn(s.ctx, want.user+"@contoso.example", want.password)
			if err != nil {
				t.Fatal(err)
			}
			if got.Verdict != want.verdict || got.Reason != want.reason || got.AADSTS != want.aadsts {
				t.Errorf("%s, Win32 %q, AADSTS%d; want %s, %q, AADSTS%d (%s)",
					got.Verdict, got.Reason, got.AADSTS, want.verdict, want.reason, want.aadsts, got.Message)
			}
		})
	}
}

// allAnswer signs in until n different connectors have answered.
func (s *scene) allAnswer(n int) {
	s.t.Helper()
	seen := map[string]bool{}
	s.eventually(time.Minute, "every connector has answered", func() (bool, string) {
		r := s.signIn("alice@contoso.example", userPassword)
		if r.Verdict != "success" {
			s.t.Fatalf("alice was refused: %+v", r)
		}
		seen[r.ConnectorID] = true
		return len(seen) == n, strings.Join(keys(seen), " ")
	})
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

// podsAreWindowsPods checks the fields that a Windows node needs, on the pods
// that the Deployment controller really made.
func (s *scene) podsAreWindowsPods(n int) {
	s.t.Helper()
	var list struct {
		Items []struct {
			Spec struct {
				NodeName, Hostname           string
				OS                           struct{ Name string }
				NodeSelector                 map[string]string
				AutomountServiceAccountToken *bool
				SecurityContext              struct {
					RunAsNonRoot   bool
					WindowsOptions struct{ RunAsUserName, GMSACredentialSpecName string }
				}
				Volumes []json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(s.kubectl("get", "pods", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	if len(list.Items) != n {
		s.t.Fatalf("%d pods, want %d", len(list.Items), n)
	}
	hostnames := map[string]bool{}
	for _, pod := range list.Items {
		p := pod.Spec
		if p.NodeName != "windows-0" || p.OS.Name != "windows" || p.NodeSelector["kubernetes.io/os"] != "windows" {
			s.t.Errorf("pod on node %q, os %q, selector %v: want the Windows node", p.NodeName, p.OS.Name, p.NodeSelector)
		}
		if len(p.Hostname) == 0 || len(p.Hostname) > 15 || hostnames[p.Hostname] {
			s.t.Errorf("hostname %q is not unique or not 1 to 15 characters", p.Hostname)
		}
		hostnames[p.Hostname] = true
		if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken {
			s.t.Error("a service account token is mounted into the connector")
		}
		if p.SecurityContext.WindowsOptions.RunAsUserName != `NT AUTHORITY\NETWORK SERVICE` {
			s.t.Errorf("runs as %q", p.SecurityContext.WindowsOptions.RunAsUserName)
		}
	}
}
