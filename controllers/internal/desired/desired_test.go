// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

func TestHostnamesAreUniqueNetBIOSNames(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z][a-z0-9]{0,14}$`)
	seen := map[string]string{}
	for u := range 50 {
		uid := types.UID(fmt.Sprintf("3f0c1a52-8a55-4c8e-9a5e-6b7f1d2c%04d", u))
		for index := range 40 {
			name := desired.Hostname(uid, index)
			if !valid.MatchString(name) {
				t.Fatalf("%q is not a hostname of at most 15 characters", name)
			}
			if other, taken := seen[name]; taken {
				t.Fatalf("%s/%d and %s have the same hostname %s", uid, index, other, name)
			}
			seen[name] = fmt.Sprintf("%s/%d", uid, index)
		}
	}
	if a, b := desired.Hostname("x", 1), desired.Hostname("x", 1); a != b {
		t.Errorf("the hostname is not always the same: %s, %s", a, b)
	}
}

func TestMachineName(t *testing.T) {
	for name, tc := range map[string]struct{ namespace, want string }{
		"name and namespace":                      {"passthrough", "corp-1.passthrough"},
		"the longest that fits":                   {strings.Repeat("n", 57), "corp-1." + strings.Repeat("n", 57)},
		"a namespace that makes it too long":      {strings.Repeat("n", 58), "corp-1"},
		"a namespace as long as there can be one": {strings.Repeat("n", 63), "corp-1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := desired.MachineName(fixture.Connector(fixture.In(tc.namespace)), 1); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestCredentialSpecs(t *testing.T) {
	for name, tc := range map[string]struct {
		names []string
		want  [3]string
	}{
		"none":               {nil, [3]string{}},
		"one for all":        {[]string{"a"}, [3]string{"a", "a", "a"}},
		"one for each":       {[]string{"a", "b", "c"}, [3]string{"a", "b", "c"}},
		"more than replicas": {[]string{"a", "b", "c", "d"}, [3]string{"a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			pc := fixture.Connector(fixture.Replicas(3))
			pc.Spec.Identity.GMSACredentialSpecNames = tc.names
			for index, want := range tc.want {
				options := deployment(t, pc, index).Spec.Template.Spec.SecurityContext.WindowsOptions
				got := ""
				if options.GMSACredentialSpecName != nil {
					got = *options.GMSACredentialSpecName
				}
				if got != want {
					t.Errorf("connector %d: got %q, want %q", index, got, want)
				}
			}
		})
	}
}

func deployment(t *testing.T, pc *v1alpha1.PassthroughConnector, index int) *appsv1ac.DeploymentApplyConfiguration {
	t.Helper()
	files, err := desired.Files(pc, index, desired.Bundles{})
	if err != nil {
		t.Fatal(err)
	}
	return desired.Deployment(pc, desired.Instance{Index: index, Image: image, ConnectorID: connectorID, Files: files})
}

func TestMemoryLimitOfTheRuntimeFollowsThatOfTheContainer(t *testing.T) {
	for name, tc := range map[string]struct {
		resources v1alpha1.Resources
		os        v1alpha1.OS
		want      string
	}{
		"the default on Windows": {os: v1alpha1.OSWindows, want: "429496720"},
		"the default on Linux":   {os: v1alpha1.OSLinux, want: "107374160"},
		"a limit of the user's":  {resources: v1alpha1.Resources{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1000M")}}, want: "800000000"},
		"no limit of memory":     {resources: v1alpha1.Resources{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}},
		"requests alone":         {resources: v1alpha1.Resources{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}},
	} {
		t.Run(name, func(t *testing.T) {
			pc := fixture.Connector()
			pc.Spec.Pod.Resources, pc.Spec.Pod.OS = tc.resources, tc.os
			got := ""
			for _, env := range deployment(t, pc, 0).Spec.Template.Spec.Containers[0].Env {
				if *env.Name == "GOMEMLIMIT" {
					got = *env.Value
				}
			}
			if got != tc.want {
				t.Errorf("GOMEMLIMIT is %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPodIsReplacedWhenAndOnlyWhenItMustBe(t *testing.T) {
	base := func() (*v1alpha1.PassthroughConnector, desired.Bundles) {
		return fixture.Connector(), desired.Bundles{Service: bundlePEM}
	}
	template := func(pc *v1alpha1.PassthroughConnector, bundles desired.Bundles, id string) map[string]string {
		files, err := desired.Files(pc, 0, bundles)
		if err != nil {
			t.Fatal(err)
		}
		return desired.Deployment(pc, desired.Instance{Image: image, ConnectorID: id, Files: files}).Spec.Template.Annotations
	}
	pc, bundles := base()
	before := template(pc, bundles, connectorID)
	for name, tc := range map[string]struct {
		change func(*v1alpha1.PassthroughConnector, *desired.Bundles, *string)
		want   bool
	}{
		"a new timeout": {func(pc *v1alpha1.PassthroughConnector, _ *desired.Bundles, _ *string) {
			*pc.Spec.Validation.TimeoutSeconds = 5
		}, true},
		"a new CA bundle":    {func(_ *v1alpha1.PassthroughConnector, b *desired.Bundles, _ *string) { b.Service += bundlePEM }, true},
		"a new connector id": {func(_ *v1alpha1.PassthroughConnector, _ *desired.Bundles, id *string) { *id = "another" }, true},
		"another token Secret": {func(pc *v1alpha1.PassthroughConnector, _ *desired.Bundles, _ *string) {
			pc.Spec.Registration.TokenSecretRef.Name = "x"
		}, false},
		"more replicas": {func(pc *v1alpha1.PassthroughConnector, _ *desired.Bundles, _ *string) { *pc.Spec.Replicas = 9 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			pc, bundles := base()
			id := connectorID
			tc.change(pc, &bundles, &id)
			after := template(pc, bundles, id)
			if changed := fmt.Sprint(before) != fmt.Sprint(after); changed != tc.want {
				t.Errorf("the pod template's annotations changed: %t, want %t", changed, tc.want)
			}
		})
	}
}

func TestFilesAreWhatAConnectorAccepts(t *testing.T) {
	pc := fixture.Connector(everything)
	files, err := desired.Files(pc, 2, desired.Bundles{Service: bundlePEM, Forests: map[int]string{1: bundlePEM}})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := config.Parse([]byte(files["config.json"]))
	if err != nil {
		t.Fatalf("the connector refuses its configuration: %v", err)
	}
	for _, named := range []string{parsed.Service.CAFile, parsed.Validation.LDAP.Forests[1].CAFile} {
		if files[named] != bundlePEM {
			t.Errorf("the configuration names the file %q, which is not among the files", named)
		}
	}
	if parsed.Validation.LDAP.Forests[0].CAFile != "" {
		t.Error("a forest without a CA bundle was given one")
	}
	if want := "https://" + fixture.TenantID + ".pta.bootstrap.his.msappproxy.test"; parsed.Service.BootstrapURL != want {
		t.Errorf("the bootstrap URL is %s, want %s", parsed.Service.BootstrapURL, want)
	}
}

func TestFilesRefusesWhatTheConnectorWouldRefuse(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1alpha1.PassthroughConnector)
		want   string
	}{
		"a suffix in two forests": {func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Validation.LDAP.Forests = append(pc.Spec.Validation.LDAP.Forests, pc.Spec.Validation.LDAP.Forests[0])
		}, "contoso.example"},
		"a cloud that is not known":        {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Service.Cloud = "Moon" }, "spec.service.cloud"},
		"a custom cloud without endpoints": {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Service.Custom = nil }, "spec.service.custom"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := desired.Files(fixture.Connector(tc.change), 0, desired.Bundles{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestDisruptionBudgetsNeverBlockADrainForEver(t *testing.T) {
	for name, tc := range map[string]struct{ replicas, unavailable, want int32 }{
		"one alone may go":                 {1, 1, 0},
		"one of two may go":                {2, 1, 1},
		"one of forty may go":              {40, 1, 39},
		"as many as rollouts may take":     {5, 3, 2},
		"more than there are may go":       {2, 40, 0},
		"a limit that was not defaulted":   {3, 0, 2},
		"one alone that was not defaulted": {1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			pc := fixture.Connector(fixture.Replicas(tc.replicas))
			pc.Spec.Rollout.MaxUnavailable = nil
			if tc.unavailable > 0 {
				pc.Spec.Rollout.MaxUnavailable = &tc.unavailable
			}
			spec := desired.DisruptionBudget(pc).Spec
			if spec.MinAvailable.IntVal != tc.want || spec.MinAvailable.Type != intstr.Int || spec.MaxUnavailable != nil {
				t.Errorf("minAvailable is %s, maxUnavailable %v; want %d and none", spec.MinAvailable, spec.MaxUnavailable, tc.want)
			}
			if *spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
				t.Errorf("a broken connector blocks a drain: %s", *spec.UnhealthyPodEvictionPolicy)
			}
		})
	}
}

func TestRevisions(t *testing.T) {
	base := fixture.Connector()
	before := desired.NewRevision(base, image, desired.Bundles{Service: bundlePEM})
	for name, tc := range map[string]struct {
		change   func(*v1alpha1.PassthroughConnector)
		wantName bool // whether it is another revision
	}{
		"more replicas":           {func(pc *v1alpha1.PassthroughConnector) { *pc.Spec.Replicas = 9 }, false},
		"another token Secret":    {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Registration.TokenSecretRef.Name = "x" }, false},
		"another registration":    {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Service.Custom.RegistrationURL = "https://x.test" }, false},
		"another way to roll out": {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Rollout.Mode = v1alpha1.RolloutPaused }, false},
		"a pod label":             {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Pod.Labels = map[string]v1alpha1.LabelValue{"a": "b"} }, true},
		"an image":                {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Pod.Image = "other" }, true},
		"a gMSA":                  {func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Identity.GMSACredentialSpecNames = []string{"a"} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			pc := fixture.Connector()
			tc.change(pc)
			after := desired.NewRevision(pc, image, desired.Bundles{Service: bundlePEM})
			if changed := after.Name(pc) != before.Name(pc); changed != tc.wantName {
				t.Errorf("it is another revision: %t, want %t", changed, tc.wantName)
			}
			parsed, err := desired.ParseRevision(desired.ControllerRevision(pc, after, 1, nil).Data.Raw)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Name(pc) != after.Name(pc) {
				t.Errorf("what was written is read as revision %s, want %s", parsed.Name(pc), after.Name(pc))
			}
		})
	}
}

func TestDiscoveryReachesTheConnector(t *testing.T) {
	pc := fixture.Connector(func(pc *v1alpha1.PassthroughConnector) {
		forest := &pc.Spec.Validation.LDAP.Forests[0]
		forest.Servers, forest.StartTLS = nil, new(true)
		forest.Discovery = &v1alpha1.LDAPDiscovery{Domain: "corp.contoso.example", Site: "Berlin"}
	})
	files, err := desired.Files(pc, 0, desired.Bundles{})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := config.Parse([]byte(files["config.json"]))
	if err != nil {
		t.Fatal(err)
	}
	got := parsed.Validation.LDAP.Forests[0]
	want := config.Forest{Suffixes: got.Suffixes, StartTLS: true, Discovery: &config.Discovery{Domain: "corp.contoso.example", Site: "Berlin"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the forest (-want +got):\n%s", diff)
	}
}
