// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// demo holds what the steps share.
type demo struct {
	bed       *testbed.Testbed
	out       *printer
	namespace string
}

// user is one of the directory's synthetic users; all have the same password.
type user struct{ name, password, about string }

const password = "Correct-Horse-7!"

var users = []user{
	{"alice@contoso.example", password, "a good user"},
	{"bob@contoso.example", "not-his-password", "a wrong password"},
	{"nobody@contoso.example", password, "an unknown user"},
	{"dave@contoso.example", password, "disabled"},
	{"erin@contoso.example", password, "password expired"},
	{"frank@contoso.example", password, "must change the password"},
	{"grace@contoso.example", password, "locked out"},
	{"heidi@contoso.example", password, "outside logon hours"},
}

// show is the story: install, apply, sign in, scale, sign in, delete.
func (d *demo) show(ctx context.Context) error {
	steps := []struct {
		title string
		limit time.Duration
		run   func(context.Context) error
	}{
		{"Installing the operator with its Helm chart", 3 * time.Minute, d.install},
		{"Applying a PassthroughConnector with 2 replicas", 3 * time.Minute, func(ctx context.Context) error { return d.applyAndWait(ctx, 2) }},
		{"Signing users in through the tenant", time.Minute, d.signInEveryone},
		{"Scaling to 3 replicas with kubectl scale", 3 * time.Minute, d.scale},
		{"Deleting the resource", 2 * time.Minute, d.remove},
	}
	for _, s := range steps {
		d.out.step(s.title)
		if err := within(ctx, s.limit, s.run); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(s.title[:1])+s.title[1:], err)
		}
	}
	return nil
}

// kubectl shows a command as a user would type it, and what it prints.
func (d *demo) kubectl(ctx context.Context, args ...string) error {
	d.out.command("kubectl " + strings.Join(args, " "))
	printed, err := d.bed.Kubectl(ctx, nil, args...)
	if err != nil {
		return err
	}
	d.out.output(printed)
	return nil
}

func (d *demo) install(ctx context.Context) error {
	if err := d.bed.InstallOperator(ctx); err != nil {
		return err
	}
	d.out.command("helm upgrade --install " + testbed.Release + " " + testbed.ChartFolder + " --namespace " + testbed.OperatorNamespace + " --wait")
	token, err := d.bed.Tenant.Token(ctx, testbed.TokenRequest{})
	if err != nil {
		return err
	}
	if err := d.bed.PrepareNamespace(ctx, d.namespace, token); err != nil {
		return err
	}
	if err := d.kubectl(ctx, "get", "nodes", "-L", "kubernetes.io/os"); err != nil {
		return err
	}
	return d.kubectl(ctx, "-n", testbed.OperatorNamespace, "get", "pods", "-o", "wide")
}

func (d *demo) applyAndWait(ctx context.Context, replicas int) error {
	sample, err := d.bed.Sample(d.namespace)
	if err != nil {
		return err
	}
	if err := d.bed.Apply(ctx, sample); err != nil {
		return err
	}
	d.out.command("kubectl apply -f config/samples/…   (with this run's addresses)")
	if err := d.waitReady(ctx, replicas); err != nil {
		return err
	}
	if err := d.kubectl(ctx, "-n", d.namespace, "get", "ptc"); err != nil {
		return err
	}
	return d.kubectl(ctx, "-n", d.namespace, "get", "pods", "-o", "wide")
}

// waitReady waits until Ready is true for the wanted number of replicas and
// shows each new message of the condition on the way.
func (d *demo) waitReady(ctx context.Context, replicas int) error {
	var last string
	return poll(ctx, func() (bool, error) {
		printed, err := d.bed.Kubectl(ctx, nil, "-n", d.namespace, "get", "ptc", testbed.SampleName, "-o", "json")
		if err != nil {
			return false, err
		}
		var ptc struct {
			Metadata struct{ Generation int64 }
			Status   struct {
				ReadyReplicas int
				Conditions    []struct {
					Type, Status, Reason, Message string
					ObservedGeneration            int64
				}
			}
		}
		if err := json.Unmarshal([]byte(printed), &ptc); err != nil {
			return false, fmt.Errorf("reading what kubectl printed: %w", err)
		}
		for _, c := range ptc.Status.Conditions {
			if c.Type != "Ready" || c.ObservedGeneration != ptc.Metadata.Generation {
				continue
			}
			if c.Status == "True" && ptc.Status.ReadyReplicas == replicas {
				d.out.done(c.Message)
				return true, nil
			}
			if c.Message != last {
				last = c.Message
				d.out.waiting(c.Message)
			}
		}
		return false, nil
	})
}

func (d *demo) signInEveryone(ctx context.Context) error {
	t := newTable("user", "expected", "verdict", "Win32", "AADSTS", "answered by", "latency")
	for _, u := range users {
		r, err := d.bed.Tenant.SignIn(ctx, u.name, u.password)
		if err != nil {
			return err
		}
		t.add(signInRow(u.about, r)...)
	}
	d.out.table(t)
	return nil
}

func signInRow(about string, r testbed.SignIn) []string {
	aadsts, reason := "-", "-"
	if r.AADSTS != 0 {
		aadsts = fmt.Sprintf("AADSTS%d", r.AADSTS)
	}
	if r.Reason != "" {
		reason = r.Reason
	}
	return []string{r.Username, about, r.Verdict, reason, aadsts, r.ConnectorName, fmt.Sprintf("%.0f ms", r.LatencyMS)}
}

// scale adds a third replica and signs in until each of the three has answered.
func (d *demo) scale(ctx context.Context) error {
	if err := d.kubectl(ctx, "-n", d.namespace, "scale", "ptc/"+testbed.SampleName, "--replicas=3"); err != nil {
		return err
	}
	if err := d.waitReady(ctx, 3); err != nil {
		return err
	}
	t := newTable("user", "expected", "verdict", "Win32", "AADSTS", "answered by", "latency")
	seen := map[string]bool{}
	err := poll(ctx, func() (bool, error) {
		r, err := d.bed.Tenant.SignIn(ctx, "alice@contoso.example", password)
		if err != nil {
			return false, err
		}
		if r.ConnectorID != "" && !seen[r.ConnectorID] {
			seen[r.ConnectorID] = true
			t.add(signInRow("a good user", r)...)
		}
		return len(seen) == 3, nil
	})
	if err != nil {
		return fmt.Errorf("only %d of 3 connectors answered: %w", len(seen), err)
	}
	d.out.table(t)
	return d.kubectl(ctx, "-n", d.namespace, "get", "ptc,deployments,secrets")
}

func (d *demo) remove(ctx context.Context) error {
	if err := d.kubectl(ctx, "-n", d.namespace, "delete", "ptc", testbed.SampleName); err != nil {
		return err
	}
	d.out.waiting("waiting for pods and identities to go (the garbage collector of a new cluster takes up to half a minute to notice a new kind)")
	err := poll(ctx, func() (bool, error) {
		printed, err := d.bed.Kubectl(ctx, nil, "-n", d.namespace, "get", "pods,deployments,secrets", "-l", "app.kubernetes.io/instance="+testbed.SampleName, "-o", "name")
		return strings.TrimSpace(printed) == "", err
	})
	if err != nil {
		return fmt.Errorf("pods or Secrets of the deleted resource are still there: %w", err)
	}
	return d.kubectl(ctx, "-n", d.namespace, "get", "pods,deployments,secrets")
}

func (d *demo) explainHowToLookAround() {
	d.out.step("It is yours: everything is left running")
	d.out.output(strings.Join([]string{
		"  cluster    export KUBECONFIG=" + d.bed.Kubeconfig,
		"             alias kubectl=" + d.bed.KubectlPath(),
		"             kubectl -n " + d.namespace + " get ptc,pods",
		"  sign-in    " + d.bed.Tenant.Web + "/          (agents: " + d.bed.Tenant.Web + "/agents)",
		"  users      " + userNames(),
		"             password of all of them: " + password,
		"  logs       " + filepath.Join(d.bed.Dir, "logs") + "; kubectl logs works for pods",
		"  the end    make demo-down",
	}, "\n"))
}

func userNames() string {
	var names []string
	for _, u := range users {
		if u.password == password && u.about != "an unknown user" {
			names = append(names, strings.TrimSuffix(u.name, "@contoso.example")+" ("+u.about+")")
		}
	}
	return strings.Join(names, ", ") + ", all @contoso.example"
}

// poll repeats a check twice a second until it holds, fails, or ctx ends.
func poll(ctx context.Context, check func() (bool, error)) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := check()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
