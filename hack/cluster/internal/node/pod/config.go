// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pod runs one pod: a [Runner] gives it an address, writes its
// volumes, starts its containers as processes, watches them with probes,
// restarts what crashes, and publishes a status whenever something changed.
//
// A runner's life is [Runner.Run], top to bottom: admit, set up, init
// containers, containers, finish. Each container has a goroutine that walks
// its own cycle (find the program, resolve the environment, start, watch,
// back off). They share one record of what is observed, guarded by a mutex,
// from which the pure package status computes what the API server is told.
package pod

import (
	"context"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/address"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/backoff"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/objects"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
)

// Process is a running container.
type Process interface {
	// Pid identifies it to people.
	Pid() int
	// Exited is closed when it has ended and its output is complete.
	Exited() <-chan struct{}
	// Exit says how it ended, once Exited is closed.
	Exit() process.Exit
	// Terminate asks it to end; Kill ends it and all it has started.
	Terminate()
	Kill()
}

// Runtime starts containers. The error of a start becomes a container's
// termination message.
type Runtime interface {
	Start(spec process.Spec) (Process, error)
}

// Sandboxes makes what a pod's containers have to themselves and share.
type Sandboxes interface {
	// Open makes the pod's sandbox. The error is shown as the pod's event, and
	// Open is called again.
	Open(pod *corev1.Pod, address netip.Addr) (Sandbox, error)
}

// Sandbox runs the containers of one pod.
type Sandbox interface {
	Runtime
	// Close removes it. The containers have ended.
	Close()
}

// Images finds the program for an image name.
type Images interface {
	Find(image string) (path string, err error)
}

// Tokens mints service account tokens bound to a pod.
type Tokens interface {
	Token(ctx context.Context, pod *corev1.Pod, projection *corev1.ServiceAccountTokenProjection) (token string, expires time.Time, err error)
}

// Config is what all pods of a node share.
type Config struct {
	// OS is the node's operating system, as in spec.os.name.
	OS string
	// HostIP is the node's address.
	HostIP netip.Addr
	// APIServer is the API server's URL.
	APIServer string
	// PodDir and LogDir hold one directory per pod.
	PodDir, LogDir string
	// Backoff bounds the delays between restarts of a crashing container.
	Backoff backoff.Policy
	// Allocatable is what the node offers to pods that set no limits.
	Allocatable corev1.ResourceList

	// Runtime runs the containers of pods that have no sandbox.
	Runtime Runtime
	// Sandboxes gives each pod one; nil where pods share the machine.
	Sandboxes Sandboxes
	Images    Images
	Tokens    Tokens
	Objects   *objects.Cache
	Addresses *address.Pool
	Events    record.EventRecorder
	Log       logr.Logger
	// Publish takes a pod whose status has changed. It may block, and it must
	// not change the pod.
	Publish func(*corev1.Pod)
}
