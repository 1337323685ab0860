// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package livetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const namespace = metav1.NamespaceDefault

// TestCluster is one story told in order: each part goes on from the last.
func TestCluster(t *testing.T) {
	program := os.Getenv("KUBECLUSTER_BIN")
	if program == "" {
		const why = `KUBECLUSTER_BIN is not set; run with KUBECLUSTER_BIN="$(hack/cluster/build.sh)/kubecluster" to try a real cluster`
		if os.Getenv("REQUIRE_CLUSTER") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	c := &cluster{program: program, dir: t.TempDir()}
	t.Cleanup(func() {
		if c.supervisor != nil && c.supervisor.ProcessState == nil {
			_ = c.supervisor.Process.Kill()
			_ = c.supervisor.Wait()
		}
	})
	c.up(t)
	told := t.Run("deployments become available on both nodes", c.testDeploy) &&
		t.Run("pods find their credentials", c.testCredentials) &&
		t.Run("logs can be read and followed", c.testLogs) &&
		t.Run("a changed config map reaches the file", c.testConfigMap) &&
		t.Run("a killed container is restarted", c.testKillContainer) &&
		t.Run("a killed node restarts its pods", c.testKillNode) &&
		t.Run("a killed etcd comes back", c.testKillEtcd) &&
		t.Run("an unknown image is waited for", c.testUnknownImage) &&
		t.Run("a pod for another operating system is rejected", c.testWrongOS) &&
		t.Run("a deleted pod is gone before its grace period is over", c.testDelete) &&
		t.Run("a killed supervisor takes everything along, and the next goes on", c.testKillSupervisor) &&
		t.Run("an interrupted supervisor leaves nothing running", c.testInterrupt)
	if !told {
		t.Fatalf("the supervisor said:\n%s", c.output)
	}
}

func deployment(system string) *appsv1.Deployment {
	labels := map[string]string{"app": "live", "os": system}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "live-" + system, Namespace: namespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(system)},
		},
	}
}

func podSpec(system string) corev1.PodSpec {
	return corev1.PodSpec{
		OS: &corev1.PodOS{Name: corev1.OSName(system)}, NodeSelector: map[string]string{corev1.LabelOSStable: system},
		Hostname: "live-" + system,
		Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "live"}}},
		}}}}},
		Containers: []corev1.Container{{
			Name: "server", Image: image, Args: []string{"$(POD_IP):8080", "/etc/live/greeting"},
			Env: []corev1.EnvVar{
				{Name: roleVariable, Value: "server"},
				{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			},
			VolumeMounts:   []corev1.VolumeMount{{Name: "config", MountPath: "/etc/live"}},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}}},
		}},
	}
}

// available says nil when the deployment is, with all it asks for.
func (c *cluster) available(system string) func(context.Context) error {
	return func(ctx context.Context) error {
		found, err := c.client.AppsV1().Deployments(namespace).Get(ctx, "live-"+system, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if found.Status.AvailableReplicas != *found.Spec.Replicas || found.Status.ObservedGeneration != found.Generation {
			return fmt.Errorf("%d replicas are available", found.Status.AvailableReplicas)
		}
		return nil
	}
}

// pod returns the one pod of a deployment.
func (c *cluster) pod(ctx context.Context, system string) (*corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=live,os=" + system})
	if err != nil {
		return nil, err
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("%d pods and not one", len(list.Items))
	}
	return &list.Items[0], nil
}

func (c *cluster) mustPod(t *testing.T, system string) *corev1.Pod {
	t.Helper()
	found, err := c.pod(t.Context(), system)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// restarted says nil when the pod's container was restarted and is ready again.
func (c *cluster) restarted(before *corev1.Pod, system string) func(context.Context) error {
	return func(ctx context.Context) error {
		now, err := c.pod(ctx, system)
		if err != nil {
			return err
		}
		status := now.Status.ContainerStatuses[0]
		if now.UID != before.UID {
			return errors.New("the pod was replaced")
		}
		if status.RestartCount <= before.Status.ContainerStatuses[0].RestartCount || !status.Ready {
			return fmt.Errorf("%d restarts, ready %v", status.RestartCount, status.Ready)
		}
		if ended := status.LastTerminationState.Terminated; ended == nil || ended.ExitCode != 137 {
			return fmt.Errorf("the last end was %+v, want exit code 137", ended)
		}
		_, err = get(ctx, now, "/healthz")
		return err
	}
}

func (c *cluster) setGreeting(t *testing.T, greeting string) {
	t.Helper()
	eventually(t, "writing the config map", func(ctx context.Context) error {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "live", Namespace: namespace}, Data: map[string]string{"greeting": greeting}}
		_, err := c.client.CoreV1().ConfigMaps(namespace).Update(ctx, object, metav1.UpdateOptions{})
		if apierrors.IsNotFound(err) {
			_, err = c.client.CoreV1().ConfigMaps(namespace).Create(ctx, object, metav1.CreateOptions{})
		}
		return err
	})
}

func (c *cluster) waitForGreeting(t *testing.T, greeting string, systems ...string) {
	t.Helper()
	for _, system := range systems {
		eventually(t, "the file on "+system, func(ctx context.Context) error {
			pod, err := c.pod(ctx, system)
			if err != nil {
				return err
			}
			got, err := get(ctx, pod, "/file")
			if err == nil && got != greeting {
				err = fmt.Errorf("the file has %q, want %q", got, greeting)
			}
			return err
		})
	}
}

func (c *cluster) testDeploy(t *testing.T) {
	c.setGreeting(t, "one")
	for _, system := range []string{"linux", "windows"} {
		if _, err := c.client.AppsV1().Deployments(namespace).Create(t.Context(), deployment(system), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, system := range []string{"linux", "windows"} {
		eventually(t, "available on "+system, c.available(system))
		if pod := c.mustPod(t, system); pod.Spec.NodeName != system+"-0" {
			t.Errorf("the pod for %s runs on %s", system, pod.Spec.NodeName)
		}
	}
	c.waitForGreeting(t, "one", "linux", "windows")
	if linux, windows := c.mustPod(t, "linux"), c.mustPod(t, "windows"); linux.Status.PodIP == windows.Status.PodIP {
		t.Errorf("both pods have the address %s", linux.Status.PodIP)
	}
}

func (c *cluster) testCredentials(t *testing.T) {
	got, err := get(t.Context(), c.mustPod(t, "windows"), "/whoami")
	if want := "system:serviceaccount:default:default"; err != nil || got != want {
		t.Errorf("the API server takes the pod for %q (%v), want %q", got, err, want)
	}
}

func (c *cluster) testLogs(t *testing.T) {
	pod := c.mustPod(t, "windows")
	want := fmt.Sprintf("serving on %s:8080 as live-windows\n", pod.Status.PodIP)
	data, err := c.client.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil || string(data) != want {
		t.Errorf("logs %q (%v), want %q", data, err, want)
	}
	_, err = c.client.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Previous: true}).DoRaw(t.Context())
	if err == nil {
		t.Error("a container that was never restarted has previous logs")
	}
	stream, err := c.client.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	line := make([]byte, len(want))
	if _, err := io.ReadFull(stream, line); err != nil || string(line) != want {
		t.Errorf("followed %q (%v), want %q", line, err, want)
	}
}

func (c *cluster) testConfigMap(t *testing.T) {
	c.setGreeting(t, "two")
	c.waitForGreeting(t, "two", "linux", "windows")
}

func (c *cluster) testKillContainer(t *testing.T) {
	before := c.mustPod(t, "windows")
	kill(t, podPID(t, before))
	eventually(t, "restarted", c.restarted(before, "windows"))
	data, err := c.client.CoreV1().Pods(namespace).GetLogs(before.Name, &corev1.PodLogOptions{Previous: true}).DoRaw(t.Context())
	if err != nil || !strings.HasPrefix(string(data), "serving on") {
		t.Errorf("previous logs %q, %v", data, err)
	}
}

func (c *cluster) testKillNode(t *testing.T) {
	before := c.mustPod(t, "linux")
	process := podPID(t, before)
	kill(t, c.pid(t, "linux-0"))
	eventually(t, "the pod's process is gone", func(context.Context) error { return gone([]int{process}) })
	eventually(t, "restarted", c.restarted(before, "linux"))
	if after := c.mustPod(t, "linux"); after.Status.PodIP != before.Status.PodIP {
		t.Errorf("the pod's address changed from %s to %s", before.Status.PodIP, after.Status.PodIP)
	}
}

func (c *cluster) testKillEtcd(t *testing.T) {
	kill(t, c.pid(t, "etcd"))
	c.setGreeting(t, "three")
	c.waitForGreeting(t, "three", "linux", "windows")
	for _, system := range []string{"linux", "windows"} {
		eventually(t, "available on "+system, c.available(system))
	}
}

func (c *cluster) testUnknownImage(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "unknown", Namespace: namespace}, Spec: podSpec("linux")}
	pod.Spec.Containers[0].Image = "livetest.test/unknown"
	if _, err := c.client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "waiting for its image", func(ctx context.Context) error {
		found, err := c.client.CoreV1().Pods(namespace).Get(ctx, "unknown", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(found.Status.ContainerStatuses) != 1 || found.Status.ContainerStatuses[0].State.Waiting == nil {
			return errors.New("it has no waiting state")
		}
		if waiting := found.Status.ContainerStatuses[0].State.Waiting; waiting.Reason != "ImagePullBackOff" || !strings.Contains(waiting.Message, "livetest.test/unknown") {
			return fmt.Errorf("it waits for %s: %s", waiting.Reason, waiting.Message)
		}
		return nil
	})
	c.deletePod(t, "unknown")
}

func (c *cluster) testWrongOS(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "wrong", Namespace: namespace}, Spec: podSpec("windows")}
	pod.Spec.NodeName, pod.Spec.NodeSelector = "linux-0", nil // past the scheduler
	if _, err := c.client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "rejected", func(ctx context.Context) error {
		found, err := c.client.CoreV1().Pods(namespace).Get(ctx, "wrong", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if found.Status.Phase != corev1.PodFailed || found.Status.Reason != "PodOSNotSupported" {
			return fmt.Errorf("phase %s, reason %q", found.Status.Phase, found.Status.Reason)
		}
		return nil
	})
	c.deletePod(t, "wrong")
}

// deletePod deletes with the usual grace period.
func (c *cluster) deletePod(t *testing.T, name string) {
	t.Helper()
	if err := c.client.CoreV1().Pods(namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.waitUntilGone(t, name)
}

// waitUntilGone wants the pod gone well within its grace period of 30 seconds.
func (c *cluster) waitUntilGone(t *testing.T, name string) {
	t.Helper()
	began := time.Now()
	eventually(t, "pod "+name+" is gone", func(ctx context.Context) error {
		_, err := c.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is still there"), err)
	})
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}

func (c *cluster) testDelete(t *testing.T) {
	pod := c.mustPod(t, "linux")
	background := metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}
	if err := c.client.AppsV1().Deployments(namespace).Delete(t.Context(), "live-linux", background); err != nil {
		t.Fatal(err)
	}
	c.waitUntilGone(t, pod.Name)
	if err := gone([]int{podPID(t, pod)}); err != nil {
		t.Error(err)
	}
	eventually(t, "its files are removed", func(context.Context) error {
		entries, err := os.ReadDir(filepath.Join(c.dir, "nodes", "linux-0", "pods"))
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("left: %v", entries)
		}
		return err
	})
}

func (c *cluster) testKillSupervisor(t *testing.T) {
	before, pids := c.mustPod(t, "windows"), c.pids(t)
	kill(t, c.supervisor.Process.Pid)
	_ = c.supervisor.Wait()
	eventually(t, "every process is gone", func(context.Context) error { return gone(pids) })
	c.up(t)
	eventually(t, "restarted", c.restarted(before, "windows"))
	c.waitForGreeting(t, "three", "windows")
}

func (c *cluster) testInterrupt(t *testing.T) {
	pids := c.pids(t)
	if err := c.supervisor.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.supervisor.Wait(); err != nil {
		t.Errorf("the supervisor ended with %v", err)
	}
	if err := gone(pids); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "ready")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the sign that the cluster is ready: %v", err)
	}
}
