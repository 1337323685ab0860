// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/servicetags"
)

// readTags is what was made of a file of service tags, and of which one.
type readTags struct {
	uid             types.UID
	resourceVersion string
	asked           v1alpha1.ServiceTags

	ranges  servicetags.Ranges
	problem error
}

// observeServiceTags finds the addresses of spec.egress.serviceTags. The file is
// large, so it is fetched and read only when the ConfigMap has changed; the watch
// on metadata starts the pass.
func (r *Reconciler) observeServiceTags(ctx context.Context, o *observation) error {
	asked := o.connector.Spec.Egress.ServiceTags
	if asked == nil {
		return nil
	}
	head := &metav1.PartialObjectMetadata{}
	head.SetGroupVersionKind(configMapKind)
	head, err := getOrNil(ctx, r.live, o.connector.Namespace, asked.Name, head)
	if err != nil {
		return err
	}
	if head == nil {
		o.serviceTagsProblem = &blockedError{
			reason:  v1alpha1.ReasonServiceTagsNotFound,
			message: fmt.Sprintf("ConfigMap %s, which spec.egress.serviceTags names, does not exist: create it with the published file under the key %s", asked.Name, asked.Key),
		}
		return nil
	}
	if before, ok := r.memory.serviceTags(o.connector.UID); ok && before.of(head, asked) {
		o.serviceTags, o.serviceTagsProblem = before.ranges, before.problem
		return nil
	}
	configMap, err := getOrNil(ctx, r.live, o.connector.Namespace, asked.Name, &corev1.ConfigMap{})
	if err != nil || configMap == nil {
		return err // it was deleted just now, which starts the next pass
	}
	read := readTags{uid: configMap.UID, resourceVersion: configMap.ResourceVersion, asked: *asked.DeepCopy()}
	read.ranges, read.problem = rangesOf(configMap, asked)
	r.memory.learnServiceTags(o.connector.UID, read)
	o.serviceTags, o.serviceTagsProblem = read.ranges, read.problem
	return nil
}

// of reports whether this was read of a ConfigMap as it is now, for the same tags.
func (t *readTags) of(configMap *metav1.PartialObjectMetadata, asked *v1alpha1.ServiceTags) bool {
	return t.uid == configMap.UID && t.resourceVersion == configMap.ResourceVersion &&
		t.asked.Name == asked.Name && t.asked.Key == asked.Key && slices.Equal(t.asked.Tags, asked.Tags)
}

// rangesOf reads the tags that are asked for. The error says what is wrong with
// the ConfigMap and what to do.
func rangesOf(configMap *corev1.ConfigMap, asked *v1alpha1.ServiceTags) (servicetags.Ranges, error) {
	file := configMap.BinaryData[asked.Key]
	if text := configMap.Data[asked.Key]; text != "" {
		file = []byte(text)
	}
	if len(file) == 0 {
		return servicetags.Ranges{}, &blockedError{
			reason:  v1alpha1.ReasonServiceTagsNotFound,
			message: fmt.Sprintf("ConfigMap %s has no key %s, which spec.egress.serviceTags names: add the published file there or correct the reference", asked.Name, asked.Key),
		}
	}
	names := make([]string, 0, len(asked.Tags))
	for _, tag := range asked.Tags {
		names = append(names, string(tag))
	}
	ranges, err := servicetags.Read(file, names)
	if err != nil {
		return servicetags.Ranges{}, &blockedError{
			reason:  v1alpha1.ReasonServiceTagsInvalid,
			message: fmt.Sprintf("key %s of ConfigMap %s, which spec.egress.serviceTags names, is of no use: %v", asked.Key, asked.Name, err),
		}
	}
	return ranges, nil
}

func (m *memory) serviceTags(uid types.UID) (readTags, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	read, ok := m.tags[uid]
	return read, ok
}

func (m *memory) learnServiceTags(uid types.UID, read readTags) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tags[uid] = read
}
