// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/retry"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/status"
)

// podsGetter makes status updates safe. Virtual-kubelet writes the whole
// object without a version, which would undo changes to labels and annotations
// and could reach a younger pod of the same name. Here, an update reads the
// object first and replaces only what is the node's in its status.
type podsGetter struct{ corev1client.PodsGetter }

func (g podsGetter) Pods(namespace string) corev1client.PodInterface {
	return podInterface{g.PodsGetter.Pods(namespace)}
}

type podInterface struct{ corev1client.PodInterface }

func (i podInterface) UpdateStatus(ctx context.Context, wanted *corev1.Pod, options metav1.UpdateOptions) (*corev1.Pod, error) {
	var updated *corev1.Pod
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		current, err := i.Get(ctx, wanted.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		updated = current
		if current.UID != wanted.UID {
			return nil // news of the old pod is no news of this one
		}
		replaceStatus(current, wanted.Status)
		updated, err = i.PodInterface.UpdateStatus(ctx, current, options)
		return err
	})
	return updated, err
}

// replaceStatus keeps the conditions that others have set.
func replaceStatus(current *corev1.Pod, wanted corev1.PodStatus) {
	foreign := status.Foreign(current.Status.Conditions)
	owned := wanted.DeepCopy()
	keep := owned.Conditions[:0]
	for _, condition := range owned.Conditions {
		if len(status.Foreign([]corev1.PodCondition{condition})) == 0 {
			keep = append(keep, condition)
		}
	}
	owned.Conditions = append(keep, foreign...)
	owned.QOSClass = current.Status.QOSClass
	current.Status = *owned
}
