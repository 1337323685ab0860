// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package livetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	image = "livetest.test/server:dev"
	// patience bounds every wait; what it waits for takes seconds.
	patience = 90 * time.Second
)

// cluster is a running kubecluster.
type cluster struct {
	program, dir string
	client       kubernetes.Interface
	supervisor   *exec.Cmd
	output       *lockedBuffer
}

// lockedBuffer collects what the supervisor says.
type lockedBuffer struct {
	mu     sync.Mutex // protects buffer
	buffer bytes.Buffer
}

func (l *lockedBuffer) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(data)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// up brings the cluster up in its directory and waits for it.
func (c *cluster) up(t *testing.T) {
	t.Helper()
	c.output = &lockedBuffer{}
	c.supervisor = exec.Command(c.program, "up", "--dir", c.dir, "--image", image+"="+os.Args[0])
	c.supervisor.Stderr = c.output
	if err := c.supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if message, err := exec.CommandContext(ctx, c.program, "wait", "--dir", c.dir, "--timeout", patience.String()).CombinedOutput(); err != nil {
		t.Fatalf("waiting for the cluster: %v\n%s\n%s", err, message, c.output)
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
}

// pid reads a component's process identifier.
func (c *cluster) pid(t *testing.T, component string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, "run", component+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// pids lists all processes of the cluster: components and containers.
func (c *cluster) pids(t *testing.T) []int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dir, "run", "*.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, file := range files {
		all = append(all, c.pid(t, strings.TrimSuffix(filepath.Base(file), ".pid")))
	}
	pods, err := c.client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		if pods.Items[i].Status.Phase == corev1.PodRunning {
			all = append(all, podPID(t, &pods.Items[i]))
		}
	}
	return all
}

func podPID(t *testing.T, pod *corev1.Pod) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "process://"))
	if err != nil {
		t.Fatalf("pod %s: %v", pod.Name, err)
	}
	return pid
}

// gone says nil when no process of the list is alive any more.
func gone(pids []int) error {
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		// The state follows the name, which is in brackets. A zombie is dead.
		_, state, _ := strings.Cut(string(status), ") ")
		if err == nil && strings.HasPrefix(state, "Z") {
			continue
		}
		return fmt.Errorf("process %d is alive", pid)
	}
	return nil
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("killing process %d: %v", pid, err)
	}
}

// eventually asks until the answer is nil.
func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			t.Logf("%s: after %s", what, time.Since(began).Round(10*time.Millisecond))
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not after %s: %v", what, patience, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// get asks the program in a pod.
func get(ctx context.Context, pod *corev1.Pod, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8080"+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}
