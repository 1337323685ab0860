// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

// What the manifests of hack/gmsawebhook agree on with these tests.
const (
	webhookImage     = "gmsawebhook:dev"
	webhookProgram   = "gmsawebhook"
	webhookNamespace = "gmsa-webhook"
	webhookFolder    = "hack/gmsawebhook/deploy"
	gmsaNamespace    = "gmsa"

	// hostnameLength is what a NetBIOS name may have.
	hostnameLength = 15
)

// TestADomainIdentityIsGivenToEachConnector takes the steps of an administrator
// who gives each connector a group managed service account of its own, with a
// webhook that admits pods by the rules of the windows-gmsa project, and looks at
// what the condition says after each. The webhook is a stand-in (hack/gmsawebhook).
func TestADomainIdentityIsGivenToEachConnector(t *testing.T) {
	s := newScene(t, gmsaNamespace, goodToken(t))
	s.startWebhook()
	s.apply(spec("identity", "gmsaCredentialSpecNames", []any{"gmsa-a", "gmsa-b"}))

	s.credentialSpec("False", "CredentialSpecNotFound", "GMSACredentialSpec gmsa-a")
	s.eventually(time.Minute, "the status says why there is no pod", func() (bool, string) {
		connectors := s.resource().Status.Connectors
		return len(connectors) > 0 && strings.Contains(connectors[0].Message, "cred spec gmsa-a does not exist"), fmt.Sprintf("%+v", connectors)
	})

	s.createCredentialSpecs("gmsa-a", "gmsa-b")
	s.makePodsNow("objects")
	s.credentialSpec("False", "CredentialSpecNotAllowed", "may not use GMSACredentialSpec gmsa-a")
	s.refused("not authorized to use cred spec gmsa-a")

	s.allowUse("gmsa-a")
	s.credentialSpec("False", "CredentialSpecNotAllowed", "may not use GMSACredentialSpec gmsa-b")
	s.refused("not authorized to use cred spec gmsa-b")
	s.hasAccount("gmsa-a")

	s.allowUse("gmsa-b")
	s.ready(2)
	s.credentialSpec("True", "CredentialSpecUsable", "were given their contents")
	s.hasAccount("gmsa-a")
	s.hasAccount("gmsa-b")
	s.podsAreWindowsPods(2) // the host names of the operator stayed
	s.allAnswer(2)

	t.Run("a webhook that does not see the pods", func(t *testing.T) {
		s := s.of(t)
		s.kubectl("label", "namespace", gmsaNamespace, "windows.k8s.io/disabled=true")
		s.eventually(time.Minute, "the webhook does not see pods", func() (bool, string) {
			pod, refused := s.dryRun(podOf("corp-connector", "gmsa-a"))
			return refused == "" && contentsOf(pod.Spec.SecurityContext) == "", refused
		})
		s.kubectl("delete", "pod", s.podOf("gmsa-a").Metadata.Name)
		s.credentialSpec("False", "CredentialSpecNotExpanded", "but was not given its contents")

		s.kubectl("label", "namespace", gmsaNamespace, "windows.k8s.io/disabled-")
		s.webhookSees()
		s.kubectl("delete", "pod", s.podOf("gmsa-a").Metadata.Name)
		s.credentialSpec("True", "CredentialSpecUsable", "were given their contents")
		s.hasAccount("gmsa-a")
	})
	t.Run("pods of others", func(t *testing.T) { s.of(t).podsOfOthers() })
}

// podsOfOthers holds the webhook to the rules on pods that the operator would
// not make. None of them runs.
func (s *scene) podsOfOthers() {
	const contents = `{"CmsPlugins":["ActiveDirectory"]}`
	for name, tc := range map[string]struct {
		change  func(*gmsaPod)
		refused string
	}{
		"as the connectors":             {func(*gmsaPod) {}, ""},
		"with a host name":              {func(p *gmsaPod) { p.Spec.Hostname = "own" }, ""},
		"another ServiceAccount":        {func(p *gmsaPod) { p.Spec.ServiceAccountName = "default" }, "service account default is not authorized"},
		"an account that is not theirs": {func(p *gmsaPod) { p.Spec.SecurityContext = named("gmsa-c") }, "cred spec gmsa-c does not exist"},
		"another account's contents":    {func(p *gmsaPod) { p.Spec.SecurityContext.WindowsOptions.GMSACredentialSpec = contents }, "not those of cred spec gmsa-a"},
		"contents without a name":       {func(p *gmsaPod) { p.Spec.SecurityContext.WindowsOptions = windowsOptions{"", contents} }, "does not name it"},
	} {
		s.t.Run(name, func(t *testing.T) {
			s := s.of(t)
			sent := podOf("corp-connector", "gmsa-a")
			tc.change(sent)
			pod, refused := s.dryRun(sent)
			if tc.refused != "" {
				if !strings.Contains(refused, tc.refused) {
					t.Errorf("the API server said %q, want %q", refused, tc.refused)
				}
				return
			}
			if refused != "" {
				t.Fatal(refused)
			}
			if got := accountIn(contentsOf(pod.Spec.SecurityContext)); got != "gmsa-a" {
				t.Errorf("the pod was given the account %q", got)
			}
			switch got := pod.Spec.Hostname; {
			case sent.Spec.Hostname != "" && got != sent.Spec.Hostname:
				t.Errorf("the host name is %q, want %q", got, sent.Spec.Hostname)
			case len(got) == 0 || len(got) > hostnameLength:
				t.Errorf("the host name %q is not 1 to %d characters", got, hostnameLength)
			}
		})
	}
	s.t.Run("an init container alone", func(t *testing.T) {
		s := s.of(t)
		sent := podOf("corp-connector", "")
		sent.Spec.InitContainers = []gmsaContainer{{Name: "prepare", Image: "registry.example/none", SecurityContext: named("gmsa-b")}}
		pod, refused := s.dryRun(sent)
		if refused != "" {
			t.Fatal(refused)
		}
		if got := contentsOf(pod.Spec.InitContainers[0].SecurityContext); got != "" {
			t.Errorf("it was given %q: the rules overlook init containers, which is why the operator names accounts for the pod", got)
		}
	})
}

// of is the scene of a subtest.
func (s *scene) of(t *testing.T) *scene {
	t.Helper()
	sub := *s
	sub.t = t
	return &sub
}

// startWebhook installs the CRD and the webhook, and removes them in the end. The
// pod waits for a certificate, which can be made once it has an address.
func (s *scene) startWebhook() {
	s.t.Helper()
	build := exec.CommandContext(s.ctx, "go", "build", "-o", bed.Binary(webhookProgram), "../gmsawebhook")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("building the webhook: %v\n%s", err, out)
	}
	s.t.Cleanup(func() {
		s.cluster("delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", webhookNamespace, "--ignore-not-found")
		s.cluster("delete", "-f", webhookFolder+"/webhook.yaml", "-f", webhookFolder+"/crd.yaml", "--ignore-not-found", "--wait=false")
	})
	s.cluster("apply", "--server-side", "-f", webhookFolder+"/crd.yaml", "-f", webhookFolder+"/webhook.yaml")
	s.cluster("wait", "--for=condition=Established", "crd/gmsacredentialspecs.windows.k8s.io", "--timeout=1m")
	var address string
	s.eventually(time.Minute, "the webhook's pod has an address", func() (bool, string) {
		address = s.cluster("-n", webhookNamespace, "get", "pods", "-o", "jsonpath={.items[*].status.podIP}")
		return address != "", s.cluster("-n", webhookNamespace, "get", "pods")
	})
	certificate, key, err := cert.GenerateSelfSignedCertKey(address, nil, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	object := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
		"metadata": map[string]any{"namespace": webhookNamespace, "name": "gmsa-webhook"},
		"data":     map[string]any{"tls.crt": certificate, "tls.key": key},
	}
	if err := bed.Apply(s.ctx, object); err != nil {
		s.t.Fatal(err)
	}
	s.cluster("-n", webhookNamespace, "rollout", "status", "deployment/gmsa-webhook", "--timeout=2m")

	manifest, err := os.ReadFile(filepath.Join("..", "gmsawebhook", "deploy", "admission.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	bundle := base64.StdEncoding.EncodeToString(certificate)
	configured := strings.NewReplacer("ADDRESS", address, "{url:", "{caBundle: "+bundle+", url:").Replace(string(manifest))
	if _, err := bed.Kubectl(s.ctx, []byte(configured), "apply", "--server-side", "-f", "-"); err != nil {
		s.t.Fatal(err)
	}
	s.eventually(time.Minute, "the webhook sees pods", func() (bool, string) {
		_, refused := s.dryRun(podOf("default", "none"))
		return strings.Contains(refused, "cred spec none does not exist"), refused
	})
}

// webhookSees waits until pods are given contents again.
func (s *scene) webhookSees() {
	s.t.Helper()
	s.eventually(time.Minute, "the webhook sees pods", func() (bool, string) {
		pod, refused := s.dryRun(podOf("corp-connector", "gmsa-a"))
		return refused == "" && contentsOf(pod.Spec.SecurityContext) != "", refused
	})
}

// createCredentialSpecs makes objects of the documented shape, each for the
// account of its own name.
func (s *scene) createCredentialSpecs(names ...string) {
	s.t.Helper()
	for _, name := range names {
		object := map[string]any{
			"apiVersion": "windows.k8s.io/v1", "kind": "GMSACredentialSpec", "metadata": map[string]any{"name": name},
			"credspec": map[string]any{
				"ActiveDirectoryConfig": map[string]any{"GroupManagedServiceAccounts": []any{
					map[string]any{"Name": name, "Scope": "contoso.example"}, map[string]any{"Name": name, "Scope": "CONTOSO"},
				}},
				"CmsPlugins": []any{"ActiveDirectory"},
				"DomainJoinConfig": map[string]any{
					"DnsName": "contoso.example", "DnsTreeName": "contoso.example", "NetBiosName": "CONTOSO", "MachineAccountName": name,
					"Guid": "6f5e4d3c-2b1a-4908-8716-253443526171", "Sid": "S-1-5-21-1004336348-1177238915-682003330",
				},
			},
		}
		if err := bed.Apply(s.ctx, object); err != nil {
			s.t.Fatal(err)
		}
	}
}

// allowUse lets the connectors' ServiceAccount use one GMSACredentialSpec, as
// docs/rollouts.md says.
func (s *scene) allowUse(name string) {
	s.t.Helper()
	role := "use-" + name
	const group = "rbac.authorization.k8s.io"
	if err := bed.Apply(s.ctx, map[string]any{
		"apiVersion": group + "/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": role},
		"rules": []any{map[string]any{"apiGroups": []any{"windows.k8s.io"}, "resources": []any{"gmsacredentialspecs"}, "resourceNames": []any{name}, "verbs": []any{"use"}}},
	}, map[string]any{
		"apiVersion": group + "/v1", "kind": "RoleBinding", "metadata": map[string]any{"namespace": s.namespace, "name": role},
		"roleRef":  map[string]any{"apiGroup": group, "kind": "ClusterRole", "name": role},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "namespace": s.namespace, "name": testbed.SampleName + "-connector"}},
	}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.cluster("delete", "clusterrole", role) })
	s.makePodsNow(role)
}

// credentialSpec waits for what CredentialSpecUsable says. The operator asks
// again within a minute.
func (s *scene) credentialSpec(status, reason, message string) {
	s.t.Helper()
	s.eventually(2*time.Minute, "CredentialSpecUsable is "+status+" for "+reason+": "+message, func() (bool, string) {
		c := s.resource().condition("CredentialSpecUsable")
		return c.Status == status && c.Reason == reason && strings.Contains(c.Message, message), fmt.Sprintf("%+v", c)
	})
}

// refused waits until the API server has refused a pod for a reason. The status
// of a ReplicaSet keeps the first refusal; its events tell the later ones.
func (s *scene) refused(why string) {
	s.t.Helper()
	s.eventually(2*time.Minute, "a pod is refused: "+why, func() (bool, string) {
		events := s.kubectl("get", "events", "--field-selector=reason=FailedCreate", "-o", `jsonpath={range .items[*]}{.message}{"\n"}{end}`)
		return strings.Contains(events, why), events
	})
}

// makePodsNow touches the ReplicaSets, whose controller has backed off after
// refusals, so that it tries at once.
func (s *scene) makePodsNow(after string) {
	s.t.Helper()
	s.kubectl("annotate", "replicasets", "--all", "--overwrite", "e2e.passthrough.dev/after="+after)
}

// hasAccount waits for a pod that names a GMSACredentialSpec, and holds what it
// was given against the object.
func (s *scene) hasAccount(name string) {
	s.t.Helper()
	var pod *gmsaPod
	s.eventually(3*time.Minute, "a pod names "+name, func() (bool, string) {
		pod = s.podOf(name)
		return pod != nil, s.kubectl("get", "pods")
	})
	var given, want any
	if err := json.Unmarshal([]byte(contentsOf(pod.Spec.SecurityContext)), &given); err != nil {
		s.t.Fatalf("pod %s was given %q: %v", pod.Metadata.Name, contentsOf(pod.Spec.SecurityContext), err)
	}
	if err := json.Unmarshal([]byte(s.cluster("get", "gmsacredentialspec", name, "-o", "jsonpath={.credspec}")), &want); err != nil {
		s.t.Fatal(err)
	}
	if fmt.Sprint(given) != fmt.Sprint(want) || accountIn(contentsOf(pod.Spec.SecurityContext)) != name {
		s.t.Errorf("pod %s was given %v, want %v", pod.Metadata.Name, given, want)
	}
}

// podOf is a pod that names a GMSACredentialSpec and is not being deleted; nil
// if there is none.
func (s *scene) podOf(name string) *gmsaPod {
	s.t.Helper()
	var list struct{ Items []gmsaPod }
	if err := json.Unmarshal([]byte(s.kubectl("get", "pods", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	for i := range list.Items {
		p := &list.Items[i]
		if p.Metadata.DeletionTimestamp == "" && p.Spec.SecurityContext != nil && p.Spec.SecurityContext.WindowsOptions.GMSACredentialSpecName == name {
			return p
		}
	}
	return nil
}

// gmsaPod is what the tests write and read of a pod.
type gmsaPod struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name              string `json:"name"`
		DeletionTimestamp string `json:"deletionTimestamp,omitempty"`
	} `json:"metadata"`
	Spec struct {
		OS                 map[string]string `json:"os"`
		Hostname           string            `json:"hostname,omitempty"`
		ServiceAccountName string            `json:"serviceAccountName"`
		SecurityContext    *gmsaSecurity     `json:"securityContext,omitempty"`
		InitContainers     []gmsaContainer   `json:"initContainers,omitempty"`
		Containers         []gmsaContainer   `json:"containers"`
	} `json:"spec"`
}

type gmsaContainer struct {
	Name            string        `json:"name"`
	Image           string        `json:"image"`
	SecurityContext *gmsaSecurity `json:"securityContext,omitempty"`
}

type gmsaSecurity struct {
	RunAsNonRoot   bool           `json:"runAsNonRoot"`
	WindowsOptions windowsOptions `json:"windowsOptions,omitzero"`
}

type windowsOptions struct {
	GMSACredentialSpecName string `json:"gmsaCredentialSpecName,omitempty"`
	GMSACredentialSpec     string `json:"gmsaCredentialSpec,omitempty"`
}

func named(credentialSpec string) *gmsaSecurity {
	return &gmsaSecurity{RunAsNonRoot: true, WindowsOptions: windowsOptions{GMSACredentialSpecName: credentialSpec}}
}

// podOf is a Windows pod of a ServiceAccount, with an account unless it is empty.
func podOf(serviceAccount, credentialSpec string) *gmsaPod {
	p := &gmsaPod{APIVersion: "v1", Kind: "Pod"}
	p.Metadata.Name = "trial"
	p.Spec.OS = map[string]string{"name": "windows"}
	p.Spec.ServiceAccountName = serviceAccount
	p.Spec.SecurityContext = named(credentialSpec)
	p.Spec.Containers = []gmsaContainer{{Name: "main", Image: "registry.example/none"}}
	return p
}

func contentsOf(s *gmsaSecurity) string {
	if s == nil {
		return ""
	}
	return s.WindowsOptions.GMSACredentialSpec
}

// accountIn is the account that contents are for; "" for none.
func accountIn(contents string) string {
	var c struct {
		DomainJoinConfig struct{ MachineAccountName string }
	}
	if json.Unmarshal([]byte(contents), &c) != nil {
		return ""
	}
	return c.DomainJoinConfig.MachineAccountName
}

// dryRun has the API server admit a pod and not keep it. It returns the pod as
// it would be, or why it is refused.
func (s *scene) dryRun(pod *gmsaPod) (admitted *gmsaPod, refused string) {
	s.t.Helper()
	data, err := json.Marshal(pod)
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := bed.Kubectl(s.ctx, data, "-n", s.namespace, "create", "--dry-run=server", "-o", "json", "-f", "-")
	if err != nil {
		return nil, err.Error()
	}
	admitted = &gmsaPod{}
	if err := json.Unmarshal([]byte(out), admitted); err != nil {
		s.t.Fatal(err)
	}
	return admitted, ""
}
