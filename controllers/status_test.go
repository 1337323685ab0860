// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

var testNow = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

// deploymentWith is a Deployment with so many pods, so many of them ready.
func deploymentWith(pods, ready int32) *appsv1.Deployment {
	return &appsv1.Deployment{Status: appsv1.DeploymentStatus{Replicas: pods, ReadyReplicas: ready, UpdatedReplicas: pods}}
}

// seen is an observation of n connectors that are all registered and ready.
func seen(n int32, change ...func(*observation, *plan, *outcome)) (observation, plan, outcome) {
	o := observation{connector: fixture.Connector(fixture.Replicas(n)), now: testNow}
	o.connector.Generation = 7
	p := plan{updated: map[int]bool{}}
	done := outcome{issued: map[int]trust.Identity{}}
	for i := range int(n) {
		o.instances = append(o.instances, instance{
			index: i, name: "corp-" + string(rune('0'+i)),
			identity:   &trust.Identity{ConnectorID: "id-" + string(rune('0'+i)), Thumbprint: "AB", NotAfter: testNow.AddDate(0, 0, 100-i)},
			deployment: deploymentWith(1, 1),
			pod:        runningPod(),
		})
		p.updated[i] = true
	}
	for _, c := range change {
		c(&o, &p, &done)
	}
	return o, p, done
}

// unregistered takes the identity of a connector away.
func unregistered(index int) func(*observation, *plan, *outcome) {
	return func(o *observation, p *plan, _ *outcome) {
		in := &o.instances[index]
		in.identity, in.deployment, in.pod = nil, nil, nil
		p.updated[index] = false
	}
}

// unready makes a connector unready, for what it reports.
func unready(index int, report *config.Status) func(*observation, *plan, *outcome) {
	return func(o *observation, _ *plan, _ *outcome) {
		o.instances[index].deployment = deploymentWith(1, 0)
		o.instances[index].report = report
	}
}

func TestConditions(t *testing.T) {
	type change = func(*observation, *plan, *outcome)
	all := func(changes ...change) []change { return changes }
	reachable := &enrolment.Error{Reason: v1alpha1.ReasonServiceUnreachable, Message: "the service cannot be reached", Retry: true}
	for name, tc := range map[string]struct {
		replicas       int32
		changes        []change
		wantReady      string // reason
		wantMessage    string // whole message of Ready
		wantRegistered string // reason
		wantWhy        string // whole message of Registered
	}{
		"all is well": {
			2, nil, v1alpha1.ReasonAllReady, "2 of 2 connectors are ready",
			v1alpha1.ReasonRegistered, "2 of 2 connectors are registered",
		},
		"one connector alone": {
			1, nil, v1alpha1.ReasonAllReady, "1 of 1 connector is ready",
			v1alpha1.ReasonRegistered, "1 of 1 connector is registered",
		},
		"one says why it is not ready": {
			3, all(unready(1, &config.Status{Reason: config.ReasonBootstrapFailing, Message: "the service refuses the certificate"})),
			v1alpha1.ReasonPartlyReady, "2 of 3 connectors are ready; corp-1: BootstrapFailing: the service refuses the certificate",
			v1alpha1.ReasonRegistered, "3 of 3 connectors are registered",
		},
		"none is ready": {
			1, all(unready(0, nil)), v1alpha1.ReasonNotReady, "0 of 1 connector is ready; corp-0: it is starting",
			v1alpha1.ReasonRegistered, "1 of 1 connector is registered",
		},
		"one still runs the earlier specification": {
			2, all(func(_ *observation, p *plan, _ *outcome) { p.updated[1] = false }),
			v1alpha1.ReasonUpdating, "2 of 2 connectors are ready; 1 of them run the current specification",
			v1alpha1.ReasonRegistered, "2 of 2 connectors are registered",
		},
		"registration goes on": {
			2, all(unregistered(1)), v1alpha1.ReasonPartlyReady, "1 of 2 connectors are ready; corp-1: it is not registered yet",
			v1alpha1.ReasonRegistering, "1 of 2 connectors are registered",
		},
		"one was registered in this pass": {
			2, all(unregistered(1), func(_ *observation, _ *plan, done *outcome) { done.issued[1] = trust.Identity{ConnectorID: "new"} }),
			v1alpha1.ReasonPartlyReady, "1 of 2 connectors are ready; corp-1: its Deployment has not been made yet",
			v1alpha1.ReasonRegistered, "2 of 2 connectors are registered",
		},
		"the service cannot be reached": {
			1, all(unregistered(0), func(_ *observation, _ *plan, done *outcome) {
				done.registrationProblem, done.retryAt = reachable, testNow.Add(time.Minute)
			}),
			v1alpha1.ReasonNotRegistered, "0 of 1 connector is ready; 0 of 1 connector is registered; the service cannot be reached; next attempt at 2026-11-23T14:01:00Z",
			v1alpha1.ReasonServiceUnreachable, "0 of 1 connector is registered; the service cannot be reached; next attempt at 2026-11-23T14:01:00Z",
		},
		"the pause after a failure": {
			2, all(unregistered(1), func(_ *observation, p *plan, _ *outcome) {
				p.registrationProblem, p.retryAt = reachable, testNow.Add(time.Minute)
			}),
			v1alpha1.ReasonPartlyReady, "1 of 2 connectors are ready; corp-1: it is not registered yet",
			v1alpha1.ReasonServiceUnreachable, "1 of 2 connectors are registered; the service cannot be reached; next attempt at 2026-11-23T14:01:00Z",
		},
		"a failure of a connector that is not asked for any more": {
			1, all(func(_ *observation, p *plan, _ *outcome) { p.registrationProblem = reachable }),
			v1alpha1.ReasonAllReady, "1 of 1 connector is ready",
			v1alpha1.ReasonRegistered, "1 of 1 connector is registered",
		},
		"an identity is damaged": {
			2, all(unregistered(1), func(o *observation, _ *plan, _ *outcome) {
				o.instances[1].identityProblem = &blockedError{reason: v1alpha1.ReasonIdentityInvalid, message: "Secret corp-1-identity is damaged"}
			}),
			v1alpha1.ReasonPartlyReady, "1 of 2 connectors are ready; corp-1: Secret corp-1-identity is damaged",
			v1alpha1.ReasonIdentityInvalid, "1 of 2 connectors are registered; Secret corp-1-identity is damaged",
		},
		"the specification cannot be put into effect": {
			2, all(func(_ *observation, p *plan, _ *outcome) {
				p.configurationProblem = &blockedError{reason: v1alpha1.ReasonConfigurationInvalid, message: "a suffix is in two forests"}
				p.updated = map[int]bool{}
			}),
			v1alpha1.ReasonConfigurationInvalid, "2 of 2 connectors are ready; a suffix is in two forests",
			v1alpha1.ReasonRegistered, "2 of 2 connectors are registered",
		},
		"a child belongs to somebody else": {
			1, all(func(_ *observation, _ *plan, done *outcome) {
				done.errs = []error{&blockedError{reason: v1alpha1.ReasonNameTaken, message: "Deployment corp-0 exists"}}
			}),
			v1alpha1.ReasonNameTaken, "1 of 1 connector is ready; Deployment corp-0 exists",
			v1alpha1.ReasonRegistered, "1 of 1 connector is registered",
		},
		"the API server refuses a child": {
			1, all(func(_ *observation, _ *plan, done *outcome) { done.errs = []error{errors.New("applying: quota")} }),
			v1alpha1.ReasonWriteFailed, "1 of 1 connector is ready; applying: quota",
			v1alpha1.ReasonRegistered, "1 of 1 connector is registered",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, p, done := seen(tc.replicas, tc.changes...)
			status := summarize(o, p, done)
			checkConditions(t, o.connector, status)
			for condition, want := range map[string][2]string{
				v1alpha1.ConditionReady:      {tc.wantReady, tc.wantMessage},
				v1alpha1.ConditionRegistered: {tc.wantRegistered, tc.wantWhy},
			} {
				got := meta.FindStatusCondition(status.Conditions, condition)
				if diff := cmp.Diff(want, [2]string{got.Reason, got.Message}); diff != "" {
					t.Errorf("%s (-want +got):\n%s", condition, diff)
				}
			}
		})
	}
}

// checkConditions checks the laws of a status: every condition is there, once,
// for the generation, with a reason and a message, and True says the right thing:
// one reason of each condition, and those of alsoGood.
func checkConditions(t *testing.T, pc *v1alpha1.PassthroughConnector, status v1alpha1.PassthroughConnectorStatus, alsoGood ...string) {
	t.Helper()
	want := map[string][]string{ // the reasons of True
		v1alpha1.ConditionReady:                {v1alpha1.ReasonAllReady},
		v1alpha1.ConditionRegistered:           {v1alpha1.ReasonRegistered},
		v1alpha1.ConditionRolledOut:            {v1alpha1.ReasonRolledOut},
		v1alpha1.ConditionVersionCurrent:       {v1alpha1.ReasonVersionCurrent},
		v1alpha1.ConditionCredentialSpecUsable: {v1alpha1.ReasonCredentialSpecUsable, v1alpha1.ReasonCredentialSpecNotUsed},
		v1alpha1.ConditionServiceHealthy:       {v1alpha1.ReasonServiceOk},
		v1alpha1.ConditionCertificatesCurrent:  {v1alpha1.ReasonAllCurrent},
		v1alpha1.ConditionEgressApplied:        {v1alpha1.ReasonEgressApplied, v1alpha1.ReasonEgressNotManaged},
	}
	if len(status.Conditions) != len(want) {
		t.Errorf("there are %d conditions, want %d", len(status.Conditions), len(want))
	}
	if status.ObservedGeneration != pc.Generation {
		t.Errorf("observedGeneration is %d, the generation is %d", status.ObservedGeneration, pc.Generation)
	}
	for kind, goodReasons := range want {
		c := meta.FindStatusCondition(status.Conditions, kind)
		switch {
		case c == nil:
			t.Errorf("there is no condition %s", kind)
			continue
		case c.ObservedGeneration != pc.Generation:
			t.Errorf("%s is for generation %d, the generation is %d", kind, c.ObservedGeneration, pc.Generation)
		case c.Message == "" || c.LastTransitionTime.IsZero():
			t.Errorf("%s has no message or time", kind)
		case (c.Status == metav1.ConditionTrue) != (slices.Contains(goodReasons, c.Reason) || slices.Contains(alsoGood, c.Reason)):
			t.Errorf("%s is %s for the reason %s", kind, c.Status, c.Reason)
		case strings.ContainsAny(c.Message, "\n\t"):
			t.Errorf("the message of %s has several lines: %q", kind, c.Message)
		}
	}
	for _, c := range status.Connectors {
		if (c.Message == "") != *c.Ready {
			t.Errorf("%s: ready is %t with the message %q", c.Name, *c.Ready, c.Message)
		}
	}
}

func TestStatusNumbers(t *testing.T) {
	o, p, done := seen(3, unready(1, nil), unregistered(2))
	status := summarize(o, p, done)
	if *status.Replicas != 2 || *status.ReadyReplicas != 1 || *status.UpdatedReplicas != 2 {
		t.Errorf("replicas %d, ready %d, updated %d; want 2, 1, 2", *status.Replicas, *status.ReadyReplicas, *status.UpdatedReplicas)
	}
	if want := testNow.AddDate(0, 0, 99); !status.CertificatesUntil.Time.Equal(want) {
		t.Errorf("certificates last until %s, want %s", status.CertificatesUntil, want)
	}
	if want := "app.kubernetes.io/name=passthrough-connector,identity.passthrough.dev/connector=corp"; status.Selector != want {
		t.Errorf("the selector is %s, want %s", status.Selector, want)
	}
	if len(status.Connectors) != 3 || status.Connectors[2].ConnectorID != "" || status.Connectors[0].ConnectorID != "id-0" {
		t.Errorf("connectors: %+v", status.Connectors)
	}
}

func TestStatusKeepsTheTimeOfTheLastChangeAndNothingElse(t *testing.T) {
	o, p, done := seen(2)
	first := summarize(o, p, done)
	o.connector.Status = first
	o.connector.Status.Conditions = append(o.connector.Status.Conditions, metav1.Condition{Type: "Foreign", Status: metav1.ConditionTrue})
	o.now = testNow.Add(time.Hour)
	if diff := cmp.Diff(first, summarize(o, p, done)); diff != "" {
		t.Errorf("nothing happened, and the status changed (-before +after):\n%s", diff)
	}
	o.instances[0].deployment = deploymentWith(1, 0)
	changed := meta.FindStatusCondition(summarize(o, p, done).Conditions, v1alpha1.ConditionReady)
	if !changed.LastTransitionTime.Time.Equal(o.now) {
		t.Errorf("the change is dated %s, want %s", changed.LastTransitionTime, o.now)
	}
}

func TestExplain(t *testing.T) {
	waiting := func(reason, message string) *corev1.Pod {
		pod := runningPod()
		pod.Status.Phase = corev1.PodPending
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Image: "x:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
		return pod
	}
	crashing := waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container")
	crashing.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 2, Message: "reading\nno tenant\n"}
	ended := runningPod()
	ended.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}}
	unschedulable := runningPod()
	unschedulable.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no Windows node"}}}
	evicted := runningPod()
	evicted.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory"}
	going := runningPod()
	going.DeletionTimestamp = &metav1.Time{Time: testNow}
	refused := deploymentWith(0, 0)
	refused.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "violates PodSecurity"}}
	for name, tc := range map[string]struct {
		deployment *appsv1.Deployment
		pod        *corev1.Pod
		report     *config.Status
		problem    error
		want       string
	}{
		"no pod yet":                       {deploymentWith(0, 0), nil, nil, nil, "its pod has not been made yet"},
		"a pod that is not admitted":       {refused, nil, nil, nil, "its pod cannot be made: violates PodSecurity"},
		"a pod that cannot be scheduled":   {deploymentWith(1, 0), unschedulable, nil, nil, "its pod cannot be scheduled: no Windows node"},
		"an image that cannot be pulled":   {deploymentWith(1, 0), waiting("ErrImagePull", "a long story"), nil, nil, "its image x:1 cannot be pulled (ImagePullBackOff): check spec.pod.image and imagePullSecrets; kubectl describe pod says more"},
		"the pause before the next pull":   {deploymentWith(1, 0), waiting("ImagePullBackOff", "Back-off"), nil, nil, "its image x:1 cannot be pulled (ImagePullBackOff): check spec.pod.image and imagePullSecrets; kubectl describe pod says more"},
		"a container that is being made":   {deploymentWith(1, 0), waiting("ContainerCreating", ""), nil, nil, "its pod is being started"},
		"a container that cannot be made":  {deploymentWith(1, 0), waiting("CreateContainerConfigError", "runs as root"), nil, nil, "its container waits: CreateContainerConfigError: runs as root"},
		"a connector that keeps ending":    {deploymentWith(1, 0), crashing, nil, nil, "it keeps ending (CrashLoopBackOff) with exit code 2 (its configuration is refused); its last words: no tenant; kubectl logs says more"},
		"a connector that has ended":       {deploymentWith(1, 0), ended, nil, nil, "it ended with exit code 1; kubectl logs says more"},
		"a pod that was evicted":           {deploymentWith(1, 0), evicted, nil, nil, "its pod failed: Evicted low on memory"},
		"a pod that is being replaced":     {deploymentWith(1, 0), going, nil, nil, "its pod is being replaced"},
		"a connector that says why":        {deploymentWith(1, 0), runningPod(), &config.Status{Reason: "NoLink", Message: "no link is attached"}, nil, "NoLink: no link is attached"},
		"a connector with a reason only":   {deploymentWith(1, 0), runningPod(), &config.Status{Reason: "NoLink"}, nil, "it reports NoLink"},
		"a connector that has become well": {deploymentWith(1, 0), runningPod(), &config.Status{Ready: true, Message: "serving"}, nil, "it is becoming ready"},
		"a connector that does not answer": {deploymentWith(1, 0), runningPod(), nil, errors.New("it does not answer on its status port"), "it is starting: it does not answer on its status port"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &instance{identity: &trust.Identity{}, deployment: tc.deployment, pod: tc.pod, report: tc.report, reportProblem: tc.problem}
			if got := explain(in, outcome{}); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestForeignTextIsBounded(t *testing.T) {
	o, p, done := seen(1, unready(0, &config.Status{Message: strings.Repeat("word\n", 10000)}))
	status := summarize(o, p, done)
	if n := len(status.Connectors[0].Message); n > connectorMessageLimit {
		t.Errorf("a connector's message has %d bytes", n)
	}
	checkConditions(t, o.connector, status)
}
