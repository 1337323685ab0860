// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/atomicdir"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/environ"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/objects"
)

type known struct{}

func (known) ConfigMap(name string) (*corev1.ConfigMap, error) {
	if name != "settings" {
		return nil, fmt.Errorf("configmap: %w", environ.ErrNotFound)
	}
	return &corev1.ConfigMap{Data: map[string]string{"config.json": "{}"}, BinaryData: map[string][]byte{"blob": {0}}}, nil
}

func (known) Secret(name string) (*corev1.Secret, error) {
	if name != "identity" {
		return nil, fmt.Errorf("secret: %w", environ.ErrNotFound)
	}
	return &corev1.Secret{Data: map[string][]byte{"tls.crt": []byte("c"), "tls.key": []byte("k")}}, nil
}

func name(n string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: n} }

// connector is the shape of volume that a connector pod mounts.
var connector = corev1.ProjectedVolumeSource{DefaultMode: new(int32(0o440)), Sources: []corev1.VolumeProjection{
	{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: name("settings")}},
	{Secret: &corev1.SecretProjection{LocalObjectReference: name("identity"), Items: []corev1.KeyToPath{
		{Key: "tls.crt", Path: "identity/tls.crt"}, {Key: "tls.key", Path: "identity/tls.key", Mode: new(int32(0o400))},
	}}},
	{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
	{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
		{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}},
	}}},
}}

func TestBuild(t *testing.T) {
	file := func(text string, mode int) atomicdir.File {
		return atomicdir.File{Data: []byte(text), Mode: override(new(int32(mode)), 0)}
	}
	tests := map[string]struct {
		source    corev1.VolumeSource
		want      atomicdir.Payload
		wantError string
	}{
		"a whole config map, text and bytes": {
			source: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: name("settings")}},
			want:   atomicdir.Payload{"config.json": file("{}", 0o644), "blob": file("\x00", 0o644)},
		},
		"some keys of a secret under other names": {
			source: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "identity", DefaultMode: new(int32(0o400)), Items: []corev1.KeyToPath{{Key: "tls.key", Path: "k"}}}},
			want:   atomicdir.Payload{"k": file("k", 0o400)},
		},
		"everything projected into one directory": {
			source: corev1.VolumeSource{Projected: &connector},
			want: atomicdir.Payload{
				"config.json": file("{}", 0o440), "blob": file("\x00", 0o440), "token": file("jwt", 0o440), "name": file("p", 0o440),
				"identity/tls.crt": file("c", 0o440), "identity/tls.key": file("k", 0o400),
			},
		},
		"an optional object that is absent": {
			source: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "absent", Optional: new(true)}},
			want:   atomicdir.Payload{},
		},
		"an object that is absent is named": {
			source:    corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "absent"}},
			wantError: `volume "v": secret "absent"`,
		},
		"a key that is absent is named": {
			source:    corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "identity", Items: []corev1.KeyToPath{{Key: "ca", Path: "ca"}}}},
			wantError: `has no key "ca"`,
		},
		"a volume of another kind": {
			source:    corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}},
			wantError: "not supported",
		},
	}
	for label, test := range tests {
		t.Run(label, func(t *testing.T) {
			got, err := Build(&corev1.Volume{Name: "v", VolumeSource: test.source}, Source{
				Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, Objects: known{},
				Token: func(*corev1.ServiceAccountTokenProjection) (string, error) { return "jwt", nil },
			})
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("error %v, want one with %q", err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildPassesTheTokensErrorOn(t *testing.T) {
	refused := errors.New("refused")
	_, err := Build(&corev1.Volume{VolumeSource: corev1.VolumeSource{Projected: &connector}}, Source{
		Pod: &corev1.Pod{}, Objects: known{},
		Token: func(*corev1.ServiceAccountTokenProjection) (string, error) { return "", refused },
	})
	if !errors.Is(err, refused) {
		t.Errorf("error %v, want %v", err, refused)
	}
}

func TestSupported(t *testing.T) {
	tests := map[string]struct {
		source corev1.VolumeSource
		want   bool
	}{
		"an empty directory":      {corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, true},
		"a projection":            {corev1.VolumeSource{Projected: &connector}, true},
		"a directory of the host": {corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}, false},
		"a projection of something new": {corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{}},
		}}}, false},
	}
	for label, test := range tests {
		t.Run(label, func(t *testing.T) {
			if got := Supported(&corev1.Volume{VolumeSource: test.source}); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: corev1.PodSpec{
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{Projected: &connector}},
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "identity"}}},
		},
		InitContainers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: name("more")}}}}},
		Containers: []corev1.Container{{Env: []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: name("login")},
		}}}}},
	}}
	want := []objects.Key{
		{Kind: objects.ConfigMaps, Namespace: "ns", Name: "settings"},
		{Kind: objects.Secrets, Namespace: "ns", Name: "identity"},
		{Kind: objects.ConfigMaps, Namespace: "ns", Name: "more"},
		{Kind: objects.Secrets, Namespace: "ns", Name: "login"},
	}
	if diff := cmp.Diff(want, References(pod)); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}
