// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// The tests in this package that need an API server start a real one, once, from
// the directory that KUBEBUILDER_ASSETS names (hack/cluster/build.sh prints one).

// plane is a running API server.
type plane struct {
	env    *envtest.Environment
	client client.WithWatch
	scheme *runtime.Scheme
}

var (
	planeOnce sync.Once
	planeErr  error
	running   plane
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard()) // tests that want a log pass a logger of their own
	code := m.Run()
	if running.env != nil {
		if err := running.env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		}
	}
	os.Exit(code)
}

// apiServer returns the API server. Without one the test is skipped, or fails
// where nothing may be skipped.
func apiServer(t *testing.T) plane {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		const why = "this test needs an API server: set KUBEBUILDER_ASSETS to the directory that hack/cluster/build.sh prints"
		if (os.Getenv("CI") != "" && os.Getenv("SKIP_CLUSTER") == "") || os.Getenv("REQUIRE_CLUSTER") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	planeOnce.Do(func() { planeErr = startPlane() })
	if planeErr != nil {
		t.Fatalf("starting the API server: %v", planeErr)
	}
	return running
}

func startPlane() error {
	running.scheme = runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(running.scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(running.scheme); err != nil {
		return err
	}
	running.env = &envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join("..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		Scheme:                   running.scheme,
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	config, err := running.env.Start()
	if err != nil {
		return err
	}
	running.client, err = client.NewWithWatch(config, client.Options{Scheme: running.scheme})
	return err
}

// newNamespace makes a namespace of the test's own, with labels.
func newNamespace(t *testing.T, c client.Client, labels map[string]string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Nothing that runs later shall work on what this test leaves.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.DeleteAllOf(ctx, &v1alpha1.PassthroughConnector{}, client.InNamespace(namespace.Name)); err != nil {
			t.Error(err)
		}
	})
	return namespace.Name
}
