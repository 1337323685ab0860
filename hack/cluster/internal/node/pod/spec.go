// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/kubeconfig"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/environ"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/mounts"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/process"
)

// searchPath is the PATH of a container; nothing of the node's own
// environment reaches it.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// processSpec says how to run the container's program: the image's program
// stands for the image's entry point, so the first word of spec.command, which
// names a file of the image, is left out.
func (c *container) processSpec(path string) (process.Spec, error) {
	r := c.runner
	pod := r.Pod()
	spec := containerNamed(pod, c.name)
	mappings, err := r.volumes.mappings(pod, spec)
	if err != nil {
		return process.Spec{}, err
	}
	if err := r.freshTermination(c.name); err != nil {
		return process.Spec{}, err
	}
	base, err := r.baseEnvironment(pod, spec)
	if err != nil {
		return process.Spec{}, err
	}
	variables, err := environ.Resolve(environ.Input{
		Pod: pod, Container: spec, Facts: r.facts(), Base: base, Objects: r.config.Objects.InNamespace(pod.Namespace),
	})
	if err != nil {
		return process.Spec{}, err
	}
	words := spec.Args
	if len(spec.Command) > 1 {
		words = append(spec.Command[1:len(spec.Command):len(spec.Command)], spec.Args...)
	}
	rewriter := mounts.NewRewriter(mappings)
	return process.Spec{
		Path: path, Dir: r.dir,
		Args: rewriter.RewriteAll(environ.ExpandAll(words, variables)),
		Env:  environ.List(rewritten(variables, base, rewriter)),
	}, nil
}

// rewritten leaves the node's own variables alone: they hold host paths.
func rewritten(variables, base map[string]string, rewriter *mounts.Rewriter) map[string]string {
	result := maps.Clone(variables)
	for name, value := range variables {
		if original, ok := base[name]; !ok || original != value {
			result[name] = rewriter.Rewrite(value)
		}
	}
	return result
}

// baseEnvironment is what every container gets. A container with service
// account credentials finds them through KUBECONFIG, because the fixed path
// where clients look for them cannot be provided without a mount namespace.
func (r *Runner) baseEnvironment(pod *corev1.Pod, spec *corev1.Container) (map[string]string, error) {
	server, err := url.Parse(r.config.APIServer)
	if err != nil {
		return nil, fmt.Errorf("the API server's URL is not valid: %w", err)
	}
	host, port, err := net.SplitHostPort(server.Host)
	if err != nil {
		return nil, fmt.Errorf("the API server's URL has no port: %w", err)
	}
	hostname := pod.Spec.Hostname
	if hostname == "" {
		hostname = pod.Name
	}
	variables := map[string]string{
		"PATH": searchPath, "HOME": r.dir, "HOSTNAME": hostname,
		"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "KUBERNETES_SERVICE_PORT_HTTPS": port,
	}
	credentials := r.volumes.serviceAccountDir(spec)
	if credentials == "" {
		return variables, nil
	}
	path := filepath.Join(r.dir, "kubeconfig-"+spec.Name)
	variables["KUBECONFIG"] = path
	return variables, kubeconfig.Write(path, kubeconfig.Config{
		Server: r.config.APIServer, Namespace: pod.Namespace,
		AuthorityFile: filepath.Join(credentials, corev1.ServiceAccountRootCAKey),
		TokenFile:     filepath.Join(credentials, corev1.ServiceAccountTokenKey),
	})
}

// freshTermination empties the file for the termination message.
func (r *Runner) freshTermination(container string) error {
	path := r.terminationPath(container)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the directory of termination messages: %w", err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return fmt.Errorf("making the file for the termination message: %w", err)
	}
	return nil
}
