// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// helmsLabels are labels that only Helm writes: they say which release an object
// belongs to.
var helmsLabels = []string{"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}

// TestTheChartIsEqualToTheConfiguration compares what the chart renders with what
// kustomize builds from config/, object by object and field by field.
func TestTheChartIsEqualToTheConfiguration(t *testing.T) {
	for name, tc := range map[string]struct {
		values  string
		folders []string
	}{
		"as it comes":           {"", []string{"default"}},
		"with a network policy": {"networkPolicy: {enabled: true}", []string{"default", "network-policy"}},
	} {
		t.Run(name, func(t *testing.T) {
			chart, config := map[string]any{}, map[string]any{}
			for _, o := range objects(t, mustRender(t, tc.values)) {
				if _, hook := o.GetAnnotations()["helm.sh/hook"]; !hook {
					chart[key(o)] = withoutHelm(o.Object)
				}
			}
			for _, folder := range tc.folders {
				for _, o := range kustomize(t, folder) {
					if o.GetKind() != "Namespace" { // the user's, or Helm's --create-namespace
						config[key(o)] = withoutHelm(o.Object)
					}
				}
			}
			if len(chart) < 8 {
				t.Fatalf("the chart renders only %d objects", len(chart))
			}
			if diff := cmp.Diff(config, chart); diff != "" {
				t.Errorf("config/ and the chart differ (-config +chart):\n%s", diff)
			}
		})
	}
}

func key(o *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

// kustomize builds a folder of config/ and reads what came out as Helm's output is
// read.
func kustomize(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("..", "..", "config", folder))
	if err != nil {
		t.Fatal(err)
	}
	data, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return split(t, string(data))
}

// withoutHelm removes the labels and annotations that only Helm writes, wherever
// they are: selectors and pod templates have them too.
func withoutHelm(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			out[name] = withoutHelm(inner)
		}
		for _, label := range helmsLabels {
			delete(out, label)
		}
		if annotations, ok := out["annotations"].(map[string]any); ok {
			delete(annotations, "helm.sh/resource-policy")
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = withoutHelm(v[i])
		}
		return out
	default:
		return value
	}
}

// TestTheCRDIsTheGeneratedOne compares the CRD of the release with the generated
// file, and looks at what is added to it.
func TestTheCRDIsTheGeneratedOne(t *testing.T) {
	const name = "passthroughconnectors.identity.passthrough.dev"
	data, err := os.ReadFile("../../config/crd/bases/identity.passthrough.dev_passthroughconnectors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := yaml.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	crd := find(t, objects(t, mustRender(t, "")), "CustomResourceDefinition", name)
	if diff := cmp.Diff(want["spec"], crd.Object["spec"]); diff != "" {
		t.Errorf("the CRD (-generated +chart):\n%s", diff)
	}
	if got := crd.GetAnnotations()["helm.sh/resource-policy"]; got != "keep" {
		t.Errorf("the resource policy is %q: uninstalling would delete every connector", got)
	}
	gone := find(t, objects(t, mustRender(t, "crds: {keep: false}")), "CustomResourceDefinition", name)
	if got, ok := gone.GetAnnotations()["helm.sh/resource-policy"]; ok {
		t.Errorf("the resource policy is %q although it should not be kept", got)
	}
}
