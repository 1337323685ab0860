// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package environ

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/downward"
)

func TestExpand(t *testing.T) {
	variables := map[string]string{"A": "1", "B_C": "$(A)", "EMPTY": ""}
	tests := map[string]struct{ text, want string }{
		"no reference":                   {"plain", "plain"},
		"one reference":                  {"--bind=$(A)", "--bind=1"},
		"two references side by side":    {"$(A)$(B_C)", "1$(A)"},
		"values are not expanded again":  {"$(B_C)", "$(A)"},
		"an empty value":                 {"<$(EMPTY)>", "<>"},
		"an unknown variable stays":      {"$(NOPE)-$(A)", "$(NOPE)-1"},
		"a doubled dollar is one":        {"$$(A) $$$$ $$$(A)", "$(A) $$ $1"},
		"an unclosed reference stays":    {"$(A", "$(A"},
		"a shell's syntax is not ours":   {"$A ${A} $", "$A ${A} $"},
		"a doubled dollar inside a name": {"$($$A)", "$($$A)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Expand(test.text, variables); got != test.want {
				t.Errorf("Expand(%q) = %q, want %q", test.text, got, test.want)
			}
		})
	}
}

type objects struct {
	configMaps map[string]map[string]string
	secrets    map[string]map[string][]byte
}

func (o objects) ConfigMap(name string) (*corev1.ConfigMap, error) {
	if data, ok := o.configMaps[name]; ok {
		return &corev1.ConfigMap{Data: data}, nil
	}
	return nil, fmt.Errorf("configmap: %w", ErrNotFound)
}

func (o objects) Secret(name string) (*corev1.Secret, error) {
	if data, ok := o.secrets[name]; ok {
		return &corev1.Secret{Data: data}, nil
	}
	return nil, fmt.Errorf("secret: %w", ErrNotFound)
}

func configMapKey(name, key string, optional bool) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional,
	}}
}

func secretKey(name, key string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key,
	}}
}

func TestResolve(t *testing.T) {
	known := objects{
		configMaps: map[string]map[string]string{"settings": {"level": "2", "mode": "a"}},
		secrets:    map[string]map[string][]byte{"login": {"user": []byte("svc")}},
	}
	tests := map[string]struct {
		container corev1.Container
		want      map[string]string
		wantError string
	}{
		"later variables see earlier ones and not the other way round": {
			container: corev1.Container{Env: []corev1.EnvVar{
				{Name: "LATE", Value: "$(EARLY)"}, {Name: "EARLY", Value: "$(HOME)/x"}, {Name: "AFTER", Value: "$(EARLY)"},
			}},
			want: map[string]string{"HOME": "/pod", "LATE": "$(EARLY)", "EARLY": "/pod/x", "AFTER": "/pod/x"},
		},
		"the container's own variables win over envFrom and the base": {
			container: corev1.Container{
				EnvFrom: []corev1.EnvFromSource{{Prefix: "S_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
				Env:     []corev1.EnvVar{{Name: "S_mode", Value: "b"}, {Name: "HOME", Value: "/other"}},
			},
			want: map[string]string{"HOME": "/other", "S_level": "2", "S_mode": "b"},
		},
		"values come from objects and from the pod itself": {
			container: corev1.Container{Env: []corev1.EnvVar{
				{Name: "USER", ValueFrom: secretKey("login", "user")},
				{Name: "LEVEL", ValueFrom: configMapKey("settings", "level", false)},
				{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
				{Name: "URL", Value: "http://$(POD_IP)/"},
			}},
			want: map[string]string{"HOME": "/pod", "USER": "svc", "LEVEL": "2", "POD_IP": "127.9.1.4", "URL": "http://127.9.1.4/"},
		},
		"what is optional may be absent": {
			container: corev1.Container{Env: []corev1.EnvVar{
				{Name: "A", ValueFrom: configMapKey("settings", "absent", true)}, {Name: "B", ValueFrom: configMapKey("absent", "x", true)},
			}},
			want: map[string]string{"HOME": "/pod"},
		},
		"a missing object is named": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: secretKey("absent", "x")}}},
			wantError: `variable A: secret "absent"`,
		},
		"a missing key is named": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: configMapKey("settings", "absent", false)}}},
			wantError: `configmap "settings" has no key "absent"`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Resolve(Input{
				Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, Container: &test.container, Objects: known,
				Facts: downward.Facts{PodIP: "127.9.1.4"}, Base: map[string]string{"HOME": "/pod"},
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
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListIsSorted(t *testing.T) {
	got := List(map[string]string{"B": "2", "A": "x=y"})
	if diff := cmp.Diff([]string{"A=x=y", "B=2"}, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}
