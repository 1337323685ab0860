// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

func TestStatusReader(t *testing.T) {
	for name, tc := range map[string]struct {
		answer  http.HandlerFunc
		want    string // the message
		wantErr string
	}{
		"a connector that says why": {func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(config.Status{Reason: config.ReasonBootstrapFailing, Message: "the service answered 403"})
		}, "the service answered 403", ""},
		"a newer connector with fields unknown here": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"message":"hello","later":{"than":"us"}}`)
		}, "hello", ""},
		"a server of something else":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "", "not a connector's"},
		"a server that knows no status": {http.NotFound, "", "404"},
		"a server that sends us elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "", "302"},
		"a server that talks without end": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"message":"`+strings.Repeat("a", 1<<20)+`"}`)
		}, "", "not a connector's"},
		"a server that hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.answer)
			defer server.Close()
			status, err := newStatusReader().read(t.Context(), server.URL+config.StatusPath)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("got error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil || status.Message != tc.want {
				t.Errorf("got %q, %v; want %q", status.Message, err, tc.want)
			}
		})
	}
}

func TestStatusReaderWantsAnAddress(t *testing.T) {
	for _, address := range []string{"", "corp-0.passthrough", "127.0.0.1:80", "127.0.0.1/24"} {
		if _, err := newStatusReader().Report(t.Context(), address); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("%q: got error %v, want one about the address", address, err)
		}
	}
}

// slowReporter never answers before its context ends.
type slowReporter struct{ asked, most, now atomic.Int32 }

func (s *slowReporter) Report(ctx context.Context, _ string) (config.Status, error) {
	s.asked.Add(1)
	now := s.now.Add(1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	<-ctx.Done()
	s.now.Add(-1)
	return config.Status{}, errors.New("it does not answer on its status port")
}

func TestSilentConnectorsDoNotHoldUpAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reporter := &slowReporter{}
		r := &Reconciler{reports: reporter}
		o := observation{connector: fixture.Connector(fixture.Replicas(40))}
		for i := range 40 {
			o.instances = append(o.instances, instance{index: i, pod: runningPod()})
		}
		start := time.Now()
		r.observeReports(t.Context(), &o)
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("40 silent connectors held up the pass for %s", took)
		}
		if asked, most := reporter.asked.Load(), reporter.most.Load(); asked != reportsPerPass || most > reportsAtOnce {
			t.Errorf("%d connectors were asked, %d at once; want %d and at most %d", asked, most, reportsPerPass, reportsAtOnce)
		}
		if o.instances[0].reportProblem == nil || o.instances[39].reportProblem != nil {
			t.Error("it is not noted who did not answer")
		}
	})
}

func runningPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "corp-0-abc-xyz"},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "127.0.3.4"},
	}
}

func TestOnlyRunningConnectorsAreAsked(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*instance)
		want   int32
	}{
		"one that runs":              {func(*instance) {}, 1},
		"one without a pod":          {func(i *instance) { i.pod = nil }, 0},
		"one whose pod is starting":  {func(i *instance) { i.pod.Status.Phase = corev1.PodPending }, 0},
		"one without an address":     {func(i *instance) { i.pod.Status.PodIP = "" }, 0},
		"one whose pod is going":     {func(i *instance) { i.pod.DeletionTimestamp = &metav1.Time{Time: time.Now()} }, 0},
		"one that is ready":          {func(i *instance) { i.deployment = deploymentWith(1, 1) }, 1},
		"one whose Deployment waits": {func(i *instance) { i.deployment = deploymentWith(1, 0) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reporter := &slowReporter{}
				in := instance{pod: runningPod()}
				tc.change(&in)
				(&Reconciler{reports: reporter}).observeReports(t.Context(), &observation{connector: fixture.Connector(), instances: []instance{in}})
				if got := reporter.asked.Load(); got != tc.want {
					t.Errorf("asked %d times, want %d", got, tc.want)
				}
			})
		})
	}
}
