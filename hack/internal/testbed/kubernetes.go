// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Names of the objects that config/samples refers to.
const (
	TokenSecret    = "tenant-admin"
	TokenKey       = "token"
	TenantCAMap    = "tenant-ca"
	DirectoryCAMap = "directory-ca"
	CAKey          = "ca.crt"
	SampleName     = "corp"
	sampleFile     = "config/samples/identity_v1alpha1_passthroughconnector_custom.yaml"
	namespaceFile  = "config/manager/namespace.yaml"
)

// The Helm release of the operator, and the folder of its chart.
const (
	Release     = "passthrough-connector-operator"
	ChartFolder = "charts/passthrough-connector-operator"
)

// KubectlPath is the kubectl that belongs to the cluster.
func (t *Testbed) KubectlPath() string { return filepath.Join(t.cluster, "kubectl") }

// Kubectl runs kubectl with the administrator's credentials and returns what
// it printed. stdin may be nil.
func (t *Testbed) Kubectl(ctx context.Context, stdin []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.KubectlPath(), args...)
	cmd.Dir = t.repo
	cmd.Env = append(os.Environ(), "KUBECONFIG="+t.Kubeconfig)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %v: %w: %s", args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// HelmPath is the pinned Helm, built from source (hack/helm).
func (t *Testbed) HelmPath() string { return t.helm }

// Helm runs Helm with the administrator's credentials and returns what it printed.
// Helm's own files are in the testbed's directory.
func (t *Testbed) Helm(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.helm, args...)
	cmd.Dir = t.repo
	cmd.Env = append(os.Environ(), "KUBECONFIG="+t.Kubeconfig)
	for _, home := range []string{"CACHE", "CONFIG", "DATA"} {
		cmd.Env = append(cmd.Env, "HELM_"+home+"_HOME="+filepath.Join(t.Dir, "helm", strings.ToLower(home)))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %v: %w: %s%s", args, err, bytes.TrimSpace(stderr.Bytes()), stdout.Bytes())
	}
	return stdout.String(), nil
}

// InstallOperator installs the operator with its chart and waits for it. Further
// arguments are Helm's, such as --set. A release that is there is upgraded.
func (t *Testbed) InstallOperator(ctx context.Context, args ...string) error {
	// Helm can make a namespace, but not with the labels of Pod Security.
	if _, err := t.Kubectl(ctx, nil, "apply", "--server-side", "-f", namespaceFile); err != nil {
		return err
	}
	// Without --reset-values an upgrade without values keeps those of the release.
	install := []string{"upgrade", "--install", "--reset-values", Release, ChartFolder, "--namespace", OperatorNamespace, "--wait", "--timeout", "3m"}
	_, err := t.Helm(ctx, append(install, args...)...)
	return err
}

// object is a Kubernetes object as JSON knows it.
type object = map[string]any

func meta(namespace, name string) object { return object{"namespace": namespace, "name": name} }

// Apply applies objects server-side.
func (t *Testbed) Apply(ctx context.Context, objects ...any) error {
	list := object{"apiVersion": "v1", "kind": "List", "items": objects}
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encoding the objects to apply: %w", err)
	}
	_, err = t.Kubectl(ctx, data, "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// PrepareNamespace makes a namespace with the objects that a
// PassthroughConnector refers to: the CA bundles of tenant and directory and a
// registration token (an empty token leaves that Secret out).
func (t *Testbed) PrepareNamespace(ctx context.Context, namespace, token string) error {
	tenantCA, err := t.Tenant.CA()
	if err != nil {
		return fmt.Errorf("reading the tenant's CA: %w", err)
	}
	directoryCA, err := os.ReadFile(t.Directory.CAFile)
	if err != nil {
		return fmt.Errorf("reading the directory's CA: %w", err)
	}
	objects := []any{
		object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{
			"name":   namespace,
			"labels": object{"pod-security.kubernetes.io/enforce": "restricted"},
		}},
		object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(namespace, TenantCAMap), "data": object{CAKey: tenantCA}},
		object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(namespace, DirectoryCAMap), "data": object{CAKey: string(directoryCA)}},
	}
	if token != "" {
		objects = append(objects, TokenSecretObject(namespace, token))
	}
	return t.Apply(ctx, objects...)
}

// TokenSecretObject is the Secret that holds a registration token.
func TokenSecretObject(namespace, token string) any {
	return object{
		"apiVersion": "v1", "kind": "Secret", "metadata": meta(namespace, TokenSecret),
		"data": object{TokenKey: base64.StdEncoding.EncodeToString([]byte(token))},
	}
}

// Sample reads the PassthroughConnector of config/samples and points it at
// this testbed's addresses, which differ from run to run.
func (t *Testbed) Sample(namespace string) (map[string]any, error) {
	sample, err := t.Manifest(sampleFile, namespace)
	if err != nil {
		return nil, err
	}
	spec := sample["spec"].(object)
	spec["service"].(object)["proxyURL"] = t.Tenant.Proxy
	forests := spec["validation"].(object)["ldap"].(object)["forests"].([]any)
	forests[0].(object)["servers"] = []any{"ldaps://" + t.Directory.Address}
	return sample, nil
}

// Manifest reads an object from a file of the repository and puts it in another
// namespace.
func (t *Testbed) Manifest(file, namespace string) (map[string]any, error) {
	data, err := os.ReadFile(filepath.Join(t.repo, file))
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	var manifest object
	if err := yaml.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	manifest["metadata"].(object)["namespace"] = namespace
	return manifest, nil
}
