// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/objects"
)

// References lists every secret and config map that the pod's volumes and its
// containers' environments use, each once.
func References(pod *corev1.Pod) []objects.Key {
	var keys collector
	keys.namespace = pod.Namespace
	for i := range pod.Spec.Volumes {
		keys.volume(&pod.Spec.Volumes[i])
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		keys.environment(&container)
	}
	return keys.found
}

type collector struct {
	namespace string
	found     []objects.Key
}

func (c *collector) add(kind objects.Kind, name string) {
	key := objects.Key{Kind: kind, Namespace: c.namespace, Name: name}
	if !slices.Contains(c.found, key) {
		c.found = append(c.found, key)
	}
}

func (c *collector) volume(volume *corev1.Volume) {
	switch {
	case volume.Secret != nil:
		c.add(objects.Secrets, volume.Secret.SecretName)
	case volume.ConfigMap != nil:
		c.add(objects.ConfigMaps, volume.ConfigMap.Name)
	case volume.Projected != nil:
		for _, source := range volume.Projected.Sources {
			if source.Secret != nil {
				c.add(objects.Secrets, source.Secret.Name)
			}
			if source.ConfigMap != nil {
				c.add(objects.ConfigMaps, source.ConfigMap.Name)
			}
		}
	}
}

func (c *collector) environment(container *corev1.Container) {
	for _, source := range container.EnvFrom {
		if source.ConfigMapRef != nil {
			c.add(objects.ConfigMaps, source.ConfigMapRef.Name)
		}
		if source.SecretRef != nil {
			c.add(objects.Secrets, source.SecretRef.Name)
		}
	}
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			continue
		}
		if ref := variable.ValueFrom.ConfigMapKeyRef; ref != nil {
			c.add(objects.ConfigMaps, ref.Name)
		}
		if ref := variable.ValueFrom.SecretKeyRef; ref != nil {
			c.add(objects.Secrets, ref.Name)
		}
	}
}
