// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/address"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/backoff"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/objects"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
)

// fakeProcess ends when told to.
type fakeProcess struct {
	pid      int
	obedient bool // ends when asked to
	once     sync.Once
	exited   chan struct{}
	exit     process.Exit
}

func (p *fakeProcess) Pid() int                { return p.pid }
func (p *fakeProcess) Exited() <-chan struct{} { return p.exited }
func (p *fakeProcess) Exit() process.Exit      { return p.exit }
func (p *fakeProcess) Kill()                   { p.end(process.Exit{Code: 137, Signal: 9}) }

func (p *fakeProcess) Terminate() {
	if p.obedient {
		p.end(process.Exit{})
	}
}

func (p *fakeProcess) end(exit process.Exit) {
	p.once.Do(func() {
		p.exit = exit
		close(p.exited)
	})
}

// world is a node with fake processes.
type world struct {
	config *Config

	mu        sync.Mutex // protects what follows
	images    map[string]bool
	stubborn  bool
	starts    []process.Spec
	startedAt []time.Time
	processes []*fakeProcess
	published []corev1.PodStatus
	tokens    int
	noTokens  bool
}

func (w *world) Start(spec process.Spec) (Process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(spec.Path, "broken") {
		return nil, errors.New("exec format error")
	}
	fmt.Fprintln(spec.Stdout, "hello")
	p := &fakeProcess{pid: 100 + len(w.processes), obedient: !w.stubborn, exited: make(chan struct{})}
	w.starts, w.startedAt, w.processes = append(w.starts, spec), append(w.startedAt, time.Now()), append(w.processes, p)
	return p, nil
}

func (w *world) Find(image string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.images[image] {
		return "", errors.New("no such image")
	}
	return "/bin/" + image, nil
}

// Token gives numbered tokens of an hour, bound to nothing.
func (w *world) Token(context.Context, *corev1.Pod, *corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noTokens {
		return "", time.Time{}, errors.New("no tokens today")
	}
	w.tokens++
	return fmt.Sprintf("token-%d", w.tokens), time.Now().Add(time.Hour), nil
}

func (w *world) publish(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = append(w.published, pod.Status)
}

// end ends the process started last.
func (w *world) end(code int) {
	w.mu.Lock()
	last := w.processes[len(w.processes)-1]
	w.mu.Unlock()
	last.end(process.Exit{Code: code})
}

// waitForStarts lets the bubble's clock run until so many processes were started.
func (w *world) waitForStarts(count int) {
	for {
		synctest.Wait()
		w.mu.Lock()
		started := len(w.starts)
		w.mu.Unlock()
		if started >= count {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// last is what the API server knows once everything is quiet.
func (w *world) last() corev1.PodStatus {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.published[len(w.published)-1]
}

func newWorld(t *testing.T) *world {
	t.Helper()
	addresses, err := address.NewPool(netip.MustParsePrefix("127.9.1.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{images: map[string]bool{"app": true, "setup": true, "broken": true}}
	w.config = &Config{
		OS: "linux", HostIP: netip.MustParseAddr("127.9.1.1"), APIServer: "https://127.9.0.1:6443",
		PodDir: filepath.Join(t.TempDir(), "pods"), LogDir: filepath.Join(t.TempDir(), "logs"),
		Backoff: backoff.Policy{Base: time.Second, Max: 4 * time.Second, ResetAfter: time.Minute},
		Runtime: w, Images: w, Tokens: w, Objects: objects.New(nil), Addresses: addresses,
		Events: &record.FakeRecorder{}, Log: logr.Discard(), Publish: w.publish,
	}
	return w
}

func newPod(change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{Name: "c", Image: "app"}}},
	}
	if change != nil {
		change(pod)
	}
	return pod
}

// run starts a runner in the bubble and sees to its end.
func (w *world) run(t *testing.T, pod *corev1.Pod) *Runner {
	t.Helper()
	runner := New(w.config, pod)
	go runner.Run()
	t.Cleanup(func() {
		runner.Stop(0)
		<-runner.Done()
	})
	return runner
}

func ready(status corev1.PodStatus) corev1.ConditionStatus {
	for _, condition := range status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status
		}
	}
	return "absent"
}

func TestRunnerGivesTheProcessWhatThePodSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, newPod(func(pod *corev1.Pod) {
			pod.Spec.Hostname = "corp-0"
			pod.Labels = map[string]string{"tier": "gold"}
			pod.Spec.Volumes = []corev1.Volume{{Name: "info", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
				Items: []corev1.DownwardAPIVolumeFile{{Path: "tier", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['tier']"}}},
			}}}}
			c := &pod.Spec.Containers[0]
			c.Command, c.Args = []string{"/manager", "run"}, []string{"--tier=/etc/info/tier", "--bind=$(POD_IP)"}
			c.VolumeMounts = []corev1.VolumeMount{{Name: "info", MountPath: "/etc/info"}}
			c.Env = []corev1.EnvVar{
				{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
				{Name: "INFO", Value: "/etc/info"},
			}
		}))
		status := w.last()
		if status.Phase != corev1.PodRunning || ready(status) != corev1.ConditionTrue || status.PodIP != "127.9.1.2" {
			t.Errorf("phase %s, ready %s, address %s", status.Phase, ready(status), status.PodIP)
		}
		dir := filepath.Join(w.config.PodDir, "u")
		want := process.Spec{
			Path: "/bin/app", Dir: dir, Args: []string{"run", "--tier=" + dir + "/volumes/info/tier", "--bind=127.9.1.2"},
			Env: []string{
				"HOME=" + dir, "HOSTNAME=corp-0", "INFO=" + dir + "/volumes/info",
				"KUBERNETES_SERVICE_HOST=127.9.0.1", "KUBERNETES_SERVICE_PORT=6443", "KUBERNETES_SERVICE_PORT_HTTPS=6443",
				"PATH=" + searchPath, "POD_IP=127.9.1.2",
			},
		}
		got := w.starts[0]
		got.Stdout, got.Stderr = nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("process (-want +got):\n%s", diff)
		}
		if data, err := os.ReadFile(filepath.Join(dir, "volumes/info/tier")); err != nil || string(data) != "gold" {
			t.Errorf("file in the volume: %q, %v", data, err)
		}
	})
}

func TestRunnerRestartsWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, newPod(nil))
		for starts := 2; starts <= 6; starts++ {
			synctest.Wait()
			w.end(2)
			w.waitForStarts(starts)
		}
		var pauses []time.Duration
		for i := 1; i < len(w.startedAt); i++ {
			pauses = append(pauses, w.startedAt[i].Sub(w.startedAt[i-1]))
		}
		want := []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second}
		if diff := cmp.Diff(want, pauses); diff != "" {
			t.Errorf("pauses between starts (-want +got):\n%s", diff)
		}
		status := w.last().ContainerStatuses[0]
		if status.RestartCount != 5 || status.State.Running == nil || status.LastTerminationState.Terminated.ExitCode != 2 {
			t.Errorf("status %+v", status)
		}
	})
}

func TestRunnerShowsACrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, newPod(nil))
		synctest.Wait()
		w.end(1) // restarted at once
		w.waitForStarts(2)
		w.end(1)
		status := w.last()
		waiting := status.ContainerStatuses[0].State.Waiting
		if waiting == nil || waiting.Reason != "CrashLoopBackOff" || status.Phase != corev1.PodRunning || ready(status) != corev1.ConditionFalse {
			t.Errorf("phase %s, ready %s, state %+v", status.Phase, ready(status), status.ContainerStatuses[0].State)
		}
		if restarts := status.ContainerStatuses[0].RestartCount; restarts != 1 {
			t.Errorf("%d restarts while waiting for the second, want 1", restarts)
		}
	})
}

func TestRunnerStops(t *testing.T) {
	tests := map[string]struct {
		stubborn bool
		wantTook time.Duration
		want     process.Exit
	}{
		"at once if the process obeys":         {wantTook: 0, want: process.Exit{}},
		"by killing it after the grace period": {stubborn: true, wantTook: 30 * time.Second, want: process.Exit{Code: 137, Signal: 9}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.stubborn = test.stubborn
				runner := w.run(t, newPod(nil))
				synctest.Wait()
				began := time.Now()
				runner.Stop(30 * time.Second)
				<-runner.Done()
				if took := time.Since(began); took != test.wantTook {
					t.Errorf("took %v, want %v", took, test.wantTook)
				}
				ended := w.last().ContainerStatuses[0].State.Terminated
				if ended == nil || ended.ExitCode != int32(test.want.Code) || len(w.processes) != 1 {
					t.Errorf("ended as %+v after %d starts", ended, len(w.processes))
				}
			})
		})
	}
}

func TestRunnerStopCanBeShortened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.stubborn = true
		runner := w.run(t, newPod(nil))
		synctest.Wait()
		began := time.Now()
		runner.Stop(30 * time.Second)
		runner.Stop(time.Hour)
		runner.Stop(2 * time.Second)
		<-runner.Done()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
	})
}

func TestRunnerSuspendsInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		runner := w.run(t, newPod(nil))
		before := w.last()
		runner.Suspend(time.Second)
		<-runner.Done()
		if diff := cmp.Diff(before, w.last()); diff != "" {
			t.Errorf("the API server was told of it:\n%s", diff)
		}
	})
}

func TestRunnerEndsJobs(t *testing.T) {
	tests := map[string]struct {
		policy corev1.RestartPolicy
		codes  []int
		want   corev1.PodPhase
	}{
		"success ends a pod that never restarts":      {corev1.RestartPolicyNever, []int{0}, corev1.PodSucceeded},
		"failure ends it too":                         {corev1.RestartPolicyNever, []int{3}, corev1.PodFailed},
		"failure is retried where that is the policy": {corev1.RestartPolicyOnFailure, []int{3, 0}, corev1.PodSucceeded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				runner := w.run(t, newPod(func(pod *corev1.Pod) { pod.Spec.RestartPolicy = test.policy }))
				for _, code := range test.codes {
					synctest.Wait()
					w.end(code)
				}
				<-runner.Done()
				if status := w.last(); status.Phase != test.want || ready(status) != corev1.ConditionFalse {
					t.Errorf("phase %s, ready %s; want %s and not ready", status.Phase, ready(status), test.want)
				}
				if got, err := w.config.Addresses.Allocate("127.9.1.2"); err != nil || got.String() != "127.9.1.2" {
					t.Errorf("the pod's address was not released: got %v, %v", got, err)
				}
			})
		})
	}
}

func TestRunnerRunsInitContainersFirstAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, newPod(func(pod *corev1.Pod) {
			pod.Spec.InitContainers = []corev1.Container{{Name: "i1", Image: "setup", Args: []string{"1"}}, {Name: "i2", Image: "setup", Args: []string{"2"}}}
		}))
		if status := w.last(); status.Phase != corev1.PodPending || len(w.starts) != 1 {
			t.Fatalf("phase %s after %d starts", status.Phase, len(w.starts))
		}
		for _, code := range []int{1, 0, 0} { // the first one is retried
			w.end(code)
			synctest.Wait()
		}
		var order []string
		for _, start := range w.starts {
			order = append(order, start.Path+strings.Join(start.Args, ""))
		}
		if diff := cmp.Diff([]string{"/bin/setup1", "/bin/setup1", "/bin/setup2", "/bin/app"}, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		if status := w.last(); status.Phase != corev1.PodRunning || status.InitContainerStatuses[0].RestartCount != 1 {
			t.Errorf("phase %s, init containers %+v", status.Phase, status.InitContainerStatuses)
		}
	})
}

func TestRunnerWaitsForAnImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, newPod(func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "late" }))
		reason := func() string { return w.last().ContainerStatuses[0].State.Waiting.Reason }
		if got := reason(); got != "ErrImagePull" {
			t.Errorf("reason %s", got)
		}
		time.Sleep(1500 * time.Millisecond)
		if got := reason(); got != "ImagePullBackOff" {
			t.Errorf("later reason %s", got)
		}
		w.mu.Lock()
		w.images["late"] = true
		w.mu.Unlock()
		time.Sleep(pullRetryMax)
		if status := w.last(); status.Phase != corev1.PodRunning {
			t.Errorf("phase %s after the image appeared", status.Phase)
		}
	})
}

func TestRunnerReportsAProgramThatCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		runner := w.run(t, newPod(func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Image, pod.Spec.RestartPolicy = "broken", corev1.RestartPolicyNever
		}))
		<-runner.Done()
		ended := w.last().ContainerStatuses[0].State.Terminated
		if ended == nil || ended.Reason != "StartError" || !strings.Contains(ended.Message, "exec format error") {
			t.Errorf("state %+v", ended)
		}
	})
}

func TestRunnerRejectsAnotherOperatingSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		runner := w.run(t, newPod(func(pod *corev1.Pod) { pod.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }))
		<-runner.Done()
		if status := w.last(); status.Phase != corev1.PodFailed || status.Reason != "PodOSNotSupported" || len(w.starts) != 0 {
			t.Errorf("phase %s, reason %s, %d starts", status.Phase, status.Reason, len(w.starts))
		}
	})
}

func TestRunnerHoldsWhatItCannotDo(t *testing.T) {
	tests := map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"a volume of another kind": {func(pod *corev1.Pod) {
			pod.Spec.Volumes = []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}}}
		}, `volume "host"`},
		"a command as probe": {func(pod *corev1.Pod) {
			pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}}
		}, "neither httpGet nor tcpSocket"},
		"a lifecycle hook": {func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{}}
		}, "lifecycle hook"},
		"a sidecar": {func(pod *corev1.Pod) {
			pod.Spec.InitContainers = []corev1.Container{{Name: "s", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}}
		}, "restart policy of its own"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.run(t, newPod(test.change))
				status := w.last()
				waiting := status.ContainerStatuses[0].State.Waiting
				if status.Phase != corev1.PodPending || waiting == nil || !strings.Contains(waiting.Message, test.want) {
					t.Errorf("phase %s, waiting %+v; want a pending pod that says %q", status.Phase, waiting, test.want)
				}
			})
		})
	}
}

func TestRunnerGoesOnAfterTheNodeWasRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, newPod(func(pod *corev1.Pod) {
			pod.Status = corev1.PodStatus{PodIP: "127.9.1.77", ContainerStatuses: []corev1.ContainerStatus{{
				Name: "c", RestartCount: 4, ContainerID: "process://5", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			}}}
		}))
		status := w.last()
		container := status.ContainerStatuses[0]
		if container.RestartCount != 5 || container.State.Running == nil || container.LastTerminationState.Terminated.ExitCode != 137 || status.PodIP != "127.9.1.77" {
			t.Errorf("address %s, container %+v", status.PodIP, container)
		}
	})
}

func TestRunnerRestartsForANewImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		runner := w.run(t, newPod(nil))
		synctest.Wait()
		runner.Update(newPod(func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "setup" }))
		status := w.last()
		if paths := []string{w.starts[0].Path, w.starts[len(w.starts)-1].Path}; !slices.Equal(paths, []string{"/bin/app", "/bin/setup"}) {
			t.Errorf("started %v", paths)
		}
		if status.ContainerStatuses[0].Image != "setup" || status.ContainerStatuses[0].RestartCount != 1 {
			t.Errorf("status %+v", status.ContainerStatuses[0])
		}
	})
}

func TestRunnerRemoveLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		runner := w.run(t, newPod(nil))
		synctest.Wait()
		if _, err := os.Stat(runner.logPath("c", 0)); err != nil {
			t.Errorf("no log: %v", err)
		}
		runner.Stop(0)
		<-runner.Done()
		if err := Remove(w.config, runner.Pod()); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{w.config.PodDir, w.config.LogDir} {
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("left in %s: %v, %v", dir, entries, err)
			}
		}
	})
}

func TestRunnerKeepsTokensFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, newPod(func(pod *corev1.Pod) {
			pod.Spec.Volumes = []corev1.Volume{{Name: "access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}},
			}}}}
			pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "access", MountPath: serviceAccountPath}}
		}))
		wantToken := func(want string) {
			t.Helper()
			synctest.Wait()
			data, err := os.ReadFile(filepath.Join(w.config.PodDir, "u/volumes/access/token"))
			if err != nil || string(data) != want {
				t.Errorf("after %v: token %q, %v; want %q", time.Now(), data, err, want)
			}
		}
		wantToken("token-1")
		if kubeconfig := "KUBECONFIG=" + filepath.Join(w.config.PodDir, "u/kubeconfig-c"); !slices.Contains(w.starts[0].Env, kubeconfig) {
			t.Errorf("environment %q has no %s", w.starts[0].Env, kubeconfig)
		}
		time.Sleep(47 * time.Minute)
		wantToken("token-1")
		time.Sleep(2 * time.Minute) // past four fifths of its life
		wantToken("token-2")
		w.mu.Lock()
		w.noTokens = true
		w.mu.Unlock()
		time.Sleep(2 * time.Hour)
		wantToken("token-2") // an old token is better than none
		w.mu.Lock()
		w.noTokens = false
		w.mu.Unlock()
		time.Sleep(time.Minute)
		wantToken("token-3")
	})
}

// TestRunnerRestartsWhatFailsItsProbes asks ports of the pod's address where
// nobody listens.
func TestRunnerRestartsWhatFailsItsProbes(t *testing.T) {
	closed := func(initialDelay int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:        corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9)}},
			InitialDelaySeconds: initialDelay, PeriodSeconds: 2, FailureThreshold: 3,
		}
	}
	tests := map[string]struct {
		change      func(*corev1.Container)
		wantAfter   time.Duration
		wantStarted bool
	}{
		"liveness, after as many failures as it may have": {
			change: func(c *corev1.Container) { c.LivenessProbe = closed(5) }, wantAfter: 9 * time.Second, wantStarted: true,
		},
		"startup, before which nothing else counts": {
			change:    func(c *corev1.Container) { c.StartupProbe, c.LivenessProbe = closed(0), closed(0) },
			wantAfter: 4 * time.Second,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.run(t, newPod(func(pod *corev1.Pod) { test.change(&pod.Spec.Containers[0]) }))
				before := w.last().ContainerStatuses[0]
				if *before.Started != test.wantStarted || before.Ready != test.wantStarted {
					t.Errorf("started %v, ready %v; want %v", *before.Started, before.Ready, test.wantStarted)
				}
				w.waitForStarts(2)
				if after := w.startedAt[1].Sub(w.startedAt[0]); after != test.wantAfter {
					t.Errorf("restarted after %v, want %v", after, test.wantAfter)
				}
			})
		})
	}
}

func TestRunnerIsNotReadyBeforeItsProbeSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, newPod(func(pod *corev1.Pod) {
			pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9)}}}
		}))
		time.Sleep(time.Minute)
		if status := w.last(); status.Phase != corev1.PodRunning || ready(status) != corev1.ConditionFalse || len(w.starts) != 1 {
			t.Errorf("phase %s, ready %s after %d starts; want a running pod that is not ready", status.Phase, ready(status), len(w.starts))
		}
	})
}
