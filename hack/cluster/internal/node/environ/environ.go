// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package environ

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/downward"
)

// ErrNotFound is what an [Objects] returns, wrapped or not, for an object that
// does not exist: a reference marked optional may then be left out.
var ErrNotFound = errors.New("not found")

// Objects reads the objects of the pod's namespace.
type Objects interface {
	ConfigMap(name string) (*corev1.ConfigMap, error)
	Secret(name string) (*corev1.Secret, error)
}

// Input is what [Resolve] works from.
type Input struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	Facts     downward.Facts
	Objects   Objects
	// Base comes first; the container's own variables replace it.
	Base map[string]string
}

// Resolve returns the container's environment. An error says which reference
// could not be followed; it is worth trying again when the objects change.
func Resolve(in Input) (map[string]string, error) {
	variables := maps.Clone(in.Base)
	if variables == nil {
		variables = map[string]string{}
	}
	for _, source := range in.Container.EnvFrom {
		if err := addAll(variables, source, in.Objects); err != nil {
			return nil, err
		}
	}
	for _, variable := range in.Container.Env {
		value, present, err := valueOf(variable, variables, in)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", variable.Name, err)
		}
		if present {
			variables[variable.Name] = value
		}
	}
	return variables, nil
}

// List renders the variables as a process takes them, sorted.
func List(variables map[string]string) []string {
	list := make([]string, 0, len(variables))
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		list = append(list, name+"="+variables[name])
	}
	return list
}

func addAll(variables map[string]string, source corev1.EnvFromSource, objects Objects) error {
	switch {
	case source.ConfigMapRef != nil:
		object, err := objects.ConfigMap(source.ConfigMapRef.Name)
		if err != nil {
			return unlessOptional(err, source.ConfigMapRef.Optional, "configmap", source.ConfigMapRef.Name)
		}
		for key, value := range object.Data {
			variables[source.Prefix+key] = value
		}
	case source.SecretRef != nil:
		object, err := objects.Secret(source.SecretRef.Name)
		if err != nil {
			return unlessOptional(err, source.SecretRef.Optional, "secret", source.SecretRef.Name)
		}
		for key, value := range object.Data {
			variables[source.Prefix+key] = string(value)
		}
	}
	return nil
}

func valueOf(variable corev1.EnvVar, known map[string]string, in Input) (value string, present bool, err error) {
	from := variable.ValueFrom
	switch {
	case from == nil:
		return Expand(variable.Value, known), true, nil
	case from.FieldRef != nil:
		value, err = downward.Field(in.Pod, in.Facts, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = downward.Resource(in.Pod, in.Container.Name, in.Facts, from.ResourceFieldRef)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		object, err := in.Objects.ConfigMap(ref.Name)
		if err != nil {
			return "", false, unlessOptional(err, ref.Optional, "configmap", ref.Name)
		}
		value, present = object.Data[ref.Key]
		return value, present, keyError(present, ref.Optional, "configmap", ref.Name, ref.Key)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		object, err := in.Objects.Secret(ref.Name)
		if err != nil {
			return "", false, unlessOptional(err, ref.Optional, "secret", ref.Name)
		}
		data, present := object.Data[ref.Key]
		return string(data), present, keyError(present, ref.Optional, "secret", ref.Name, ref.Key)
	default:
		return "", false, errors.New("its kind of source is not supported by this node")
	}
}

func unlessOptional(err error, optional *bool, kind, name string) error {
	if optional != nil && *optional && errors.Is(err, ErrNotFound) {
		return nil
	}
	return fmt.Errorf("%s %q: %w", kind, name, err)
}

func keyError(present bool, optional *bool, kind, name, key string) error {
	if present || optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("%s %q has no key %q", kind, name, key)
}
