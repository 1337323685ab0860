// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestAskHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/ready" && r.URL.Query().Get("deep") == "1" && r.Header.Get("X-Probe") == "yes" && r.Host == "pod.test":
			w.WriteHeader(http.StatusNoContent)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/nowhere", http.StatusFound)
		default:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	host, port := split(t, server.Listener.Addr())
	container := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "health", ContainerPort: int32(port)}}}
	headers := []corev1.HTTPHeader{{Name: "X-Probe", Value: "yes"}, {Name: "Host", Value: "pod.test"}}

	tests := map[string]struct {
		action corev1.HTTPGetAction
		want   string
	}{
		"a status below 400 is a success": {
			action: corev1.HTTPGetAction{Path: "/ready?deep=1", Port: intstr.FromString("health"), HTTPHeaders: headers},
		},
		"a redirect is a success and is not followed": {
			action: corev1.HTTPGetAction{Path: "/moved", Port: intstr.FromInt(port)},
		},
		"an error status fails with the answer's text": {
			action: corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt(port)}, want: "503 not yet",
		},
		"plain HTTP behind an HTTPS probe fails": {
			action: corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt(port), Scheme: corev1.URISchemeHTTPS}, want: "HTTP response to HTTPS client",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ask, err := Prepare(&corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &test.action}}, container, host)
			if err != nil {
				t.Fatal(err)
			}
			err = ask(t.Context())
			if test.want == "" && err != nil {
				t.Errorf("failed: %v", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestAskTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port := split(t, listener.Addr())
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(port)}}}
	ask, err := Prepare(probe, &corev1.Container{}, host)
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(t.Context()); err != nil {
		t.Errorf("a listening port: %v", err)
	}
	_ = listener.Close()
	if err := ask(t.Context()); err == nil {
		t.Error("no error for a closed port")
	}
}

func TestPrepareRefusesWhatItCannotDo(t *testing.T) {
	tests := map[string]corev1.ProbeHandler{
		"an unknown port name":   {HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("nope")}},
		"a command":              {Exec: &corev1.ExecAction{Command: []string{"true"}}},
		"a gRPC health question": {GRPC: &corev1.GRPCAction{Port: 1}},
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Prepare(&corev1.Probe{ProbeHandler: handler}, &corev1.Container{}, "127.0.0.1"); err == nil {
				t.Error("no error")
			}
		})
	}
}

func split(t *testing.T, address net.Addr) (string, int) {
	t.Helper()
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return host, number
}
