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
	"time"

	"sigs.k8s.io/yaml"
)

// Names of the objects that config/samples refers to.
const (
	TokenSecret     = "tenant-admin"
	TokenKey        = "token"
	TenantCAMap     = "tenant-ca"
	DirectoryCAMap  = "directory-ca"
	CAKey           = "ca.crt"
	SampleName      = "corp"
	sampleFile      = "config/samples/identity_v1alpha1_passthroughconnector_custom.yaml"
	manifestsFolder = "config/default"
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

// InstallOperator applies config/default and waits for the operator.
func (t *Testbed) InstallOperator(ctx context.Context) error {
	if _, err := t.Kubectl(ctx, nil, "apply", "--server-side", "-k", manifestsFolder); err != nil {
		return err
	}
	if _, err := t.Kubectl(ctx, nil, "wait", "--for=condition=Established", "--timeout=60s", "crd/passthroughconnectors.identity.passthrough.dev"); err != nil {
		return err
	}
	_, err := t.Kubectl(ctx, nil, "-n", OperatorNamespace, "rollout", "status", "deployment", "--timeout=120s")
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
	data, err := os.ReadFile(filepath.Join(t.repo, sampleFile))
	if err != nil {
		return nil, fmt.Errorf("reading the sample: %w", err)
	}
	var sample object
	if err := yaml.Unmarshal(data, &sample); err != nil {
		return nil, fmt.Errorf("reading the sample %s: %w", sampleFile, err)
	}
	sample["metadata"].(object)["namespace"] = namespace
	spec := sample["spec"].(object)
	spec["service"].(object)["proxyURL"] = t.Tenant.Proxy
	forests := spec["validation"].(object)["ldap"].(object)["forests"].([]any)
	forests[0].(object)["servers"] = []any{"ldaps://" + t.Directory.Address}
	return sample, nil
}
