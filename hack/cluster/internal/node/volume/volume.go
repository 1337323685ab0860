// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package volume turns the volumes of a pod that carry API objects (secret,
// configMap, downwardAPI, projected) into files. It decides contents and modes
// and touches neither disk nor network.
package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/atomicdir"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/downward"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/environ"
)

// defaultMode is what the API server sets where a volume names no mode.
const defaultMode = 0o644

// Source is where contents come from.
type Source struct {
	Pod     *corev1.Pod
	Facts   downward.Facts
	Objects environ.Objects
	// Token returns a service account token for the projection.
	Token func(*corev1.ServiceAccountTokenProjection) (string, error)
}

// Carries says whether Build makes the volume's files.
func Carries(volume *corev1.Volume) bool {
	return volume.Secret != nil || volume.ConfigMap != nil || volume.DownwardAPI != nil || volume.Projected != nil
}

// Supported says whether this node can provide the volume at all.
func Supported(volume *corev1.Volume) bool {
	if volume.Projected != nil {
		for _, source := range volume.Projected.Sources {
			if source.Secret == nil && source.ConfigMap == nil && source.DownwardAPI == nil && source.ServiceAccountToken == nil {
				return false
			}
		}
	}
	return Carries(volume) || volume.EmptyDir != nil
}

// Build returns the volume's files. An error names the volume and what is
// missing; it is worth trying again when the objects change.
func Build(volume *corev1.Volume, source Source) (atomicdir.Payload, error) {
	payload, err := build(volume, source)
	if err != nil {
		return nil, fmt.Errorf("volume %q: %w", volume.Name, err)
	}
	return payload, nil
}

func build(volume *corev1.Volume, source Source) (atomicdir.Payload, error) {
	switch {
	case volume.Secret != nil:
		v := volume.Secret
		return source.secret(v.SecretName, v.Items, v.Optional, mode(v.DefaultMode))
	case volume.ConfigMap != nil:
		v := volume.ConfigMap
		return source.configMap(v.Name, v.Items, v.Optional, mode(v.DefaultMode))
	case volume.DownwardAPI != nil:
		return source.downward(volume.DownwardAPI.Items, mode(volume.DownwardAPI.DefaultMode))
	case volume.Projected != nil:
		return source.projected(volume.Projected)
	default:
		return nil, errors.New("its kind is not supported by this node")
	}
}

func (s Source) projected(projected *corev1.ProjectedVolumeSource) (atomicdir.Payload, error) {
	whole := atomicdir.Payload{}
	for _, source := range projected.Sources {
		part, err := s.projection(source, mode(projected.DefaultMode))
		if err != nil {
			return nil, err
		}
		maps.Copy(whole, part)
	}
	return whole, nil
}

func (s Source) projection(source corev1.VolumeProjection, fileMode fs.FileMode) (atomicdir.Payload, error) {
	switch {
	case source.Secret != nil:
		return s.secret(source.Secret.Name, source.Secret.Items, source.Secret.Optional, fileMode)
	case source.ConfigMap != nil:
		return s.configMap(source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional, fileMode)
	case source.DownwardAPI != nil:
		return s.downward(source.DownwardAPI.Items, fileMode)
	case source.ServiceAccountToken != nil:
		token, err := s.Token(source.ServiceAccountToken)
		if err != nil {
			return nil, fmt.Errorf("service account token: %w", err)
		}
		return atomicdir.Payload{source.ServiceAccountToken.Path: {Data: []byte(token), Mode: fileMode}}, nil
	default:
		return nil, errors.New("one of its sources is not supported by this node")
	}
}

func (s Source) secret(name string, items []corev1.KeyToPath, optional *bool, fileMode fs.FileMode) (atomicdir.Payload, error) {
	secret, err := s.Objects.Secret(name)
	if err != nil {
		return absent(err, optional, "secret", name)
	}
	return project(secret.Data, items, optional, fileMode, "secret", name)
}

func (s Source) configMap(name string, items []corev1.KeyToPath, optional *bool, fileMode fs.FileMode) (atomicdir.Payload, error) {
	configMap, err := s.Objects.ConfigMap(name)
	if err != nil {
		return absent(err, optional, "configmap", name)
	}
	data := maps.Clone(configMap.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, value := range configMap.Data {
		data[key] = []byte(value)
	}
	return project(data, items, optional, fileMode, "configmap", name)
}

func (s Source) downward(items []corev1.DownwardAPIVolumeFile, fileMode fs.FileMode) (atomicdir.Payload, error) {
	payload := atomicdir.Payload{}
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = downward.Field(s.Pod, s.Facts, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			value, err = downward.Resource(s.Pod, item.ResourceFieldRef.ContainerName, s.Facts, item.ResourceFieldRef)
		}
		if err != nil {
			return nil, err
		}
		payload[item.Path] = atomicdir.File{Data: []byte(value), Mode: override(item.Mode, fileMode)}
	}
	return payload, nil
}

// project picks the items, or everything if there are none.
func project(data map[string][]byte, items []corev1.KeyToPath, optional *bool, fileMode fs.FileMode, kind, name string) (atomicdir.Payload, error) {
	payload := atomicdir.Payload{}
	if len(items) == 0 {
		for key, value := range data {
			payload[key] = atomicdir.File{Data: value, Mode: fileMode}
		}
		return payload, nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok {
			if optional != nil && *optional {
				continue
			}
			return nil, fmt.Errorf("%s %q has no key %q", kind, name, item.Key)
		}
		payload[item.Path] = atomicdir.File{Data: value, Mode: override(item.Mode, fileMode)}
	}
	return payload, nil
}

func absent(err error, optional *bool, kind, name string) (atomicdir.Payload, error) {
	if optional != nil && *optional && errors.Is(err, environ.ErrNotFound) {
		return atomicdir.Payload{}, nil
	}
	return nil, fmt.Errorf("%s %q: %w", kind, name, err)
}

func mode(set *int32) fs.FileMode { return override(set, defaultMode) }

func override(set *int32, otherwise fs.FileMode) fs.FileMode {
	if set == nil {
		return otherwise
	}
	return fs.FileMode(*set).Perm()
}
