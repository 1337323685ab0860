// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

const (
	connectorID = "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"
	image       = "ghcr.io/passthrough-dev/connector:dev"
	bundlePEM   = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
)

// everything sets every field that a pod can have.
func everything(pc *v1alpha1.PassthroughConnector) {
	pc.Spec.Replicas = ptr.To[int32](3)
	pc.Spec.Service.ProxyURL = "http://proxy.contoso.example:3128"
	pc.Spec.Identity.GMSACredentialSpecNames = []string{"gmsa-a", "gmsa-b", "gmsa-c"}
	pc.Spec.Validation.TimeoutSeconds = ptr.To[int32](8)
	pc.Spec.Validation.LDAP.Forests = append(pc.Spec.Validation.LDAP.Forests, v1alpha1.LDAPForest{
		UPNSuffixes: []v1alpha1.UPNSuffix{"fabrikam.example", "sales.fabrikam.example"},
		Servers:     []v1alpha1.LDAPServer{"ldaps://dc1.fabrikam.example:636", "ldaps://dc2.fabrikam.example:636"},
		CABundleRef: &v1alpha1.ConfigMapKeyReference{Name: "directory-ca", Key: "ca.crt"},
	})
	pc.Spec.Pod = v1alpha1.PodSpec{
		OS:               v1alpha1.OSWindows,
		Image:            "registry.contoso.example/connector:1",
		ImagePullPolicy:  corev1.PullAlways,
		ImagePullSecrets: []v1alpha1.ImagePullSecret{{Name: "registry"}},
		Resources: v1alpha1.Resources{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("0.5")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		},
		NodeSelector: map[string]v1alpha1.LabelValue{"node.kubernetes.io/windows-build": "10.0.20348"},
		Tolerations: []corev1.Toleration{
			{Key: "os", Operator: corev1.TolerationOpEqual, Value: "windows", Effect: corev1.TaintEffectNoSchedule},
			{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](60)},
		},
		TopologySpreadConstraints: []v1alpha1.TopologySpreadConstraint{
			{TopologyKey: corev1.LabelTopologyZone, MaxSkew: ptr.To[int32](2), WhenUnsatisfiable: corev1.DoNotSchedule},
		},
		Labels:                        map[string]v1alpha1.LabelValue{"team": "sign-in"},
		Annotations:                   map[string]v1alpha1.AnnotationValue{"example.com/note": "hello"},
		RuntimeClassName:              "windows-2022",
		PriorityClassName:             "sign-in",
		TerminationGracePeriodSeconds: ptr.To[int64](45),
	}
	pc.Spec.Service.Transport = v1alpha1.TransportAMQP
}

// imageOf is the image that a resource asks for, or the operator's.
func imageOf(pc *v1alpha1.PassthroughConnector) string {
	return desired.NewRevision(pc, image, desired.Bundles{}).Image
}

func TestGolden(t *testing.T) {
	for name, tc := range map[string]struct {
		pc      *v1alpha1.PassthroughConnector
		index   int
		bundles desired.Bundles
	}{
		"windows": {pc: fixture.Connector(), bundles: desired.Bundles{Service: bundlePEM}},
		"linux": {pc: fixture.Connector(func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Pod.OS = v1alpha1.OSLinux
			pc.Spec.Service = v1alpha1.ServiceSpec{Cloud: v1alpha1.CloudAzurePublic, Transport: v1alpha1.TransportWebSocket}
		})},
		"everything": {pc: fixture.Connector(everything), index: 2, bundles: desired.Bundles{Service: bundlePEM, Forests: map[int]string{1: bundlePEM}}},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := desired.Files(tc.pc, tc.index, tc.bundles)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, []any{
				desired.ServiceAccount(tc.pc),
				desired.Service(tc.pc),
				desired.DisruptionBudget(tc.pc),
				desired.ConfigMap(tc.pc, tc.index, files),
				desired.IdentitySecret(tc.pc, tc.index, connectorID, []byte("certificate"), []byte("key")),
				desired.Deployment(tc.pc, desired.Instance{Index: tc.index, Image: imageOf(tc.pc), Revision: "corp-0123456789", UpdatedAt: "2026-11-23T14:00:00Z", ConnectorID: connectorID, Files: files}),
			})
		})
	}
}

// golden compares objects, as YAML documents, with a file in testdata.
func golden(t *testing.T, name string, objects []any) {
	t.Helper()
	var documents []string
	for _, object := range objects {
		data, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, string(data))
	}
	got := []byte(strings.Join(documents, "---\n"))
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs (-want +got); run the test with -update if that is right:\n%s", file, cmp.Diff(string(want), string(got)))
	}
}
