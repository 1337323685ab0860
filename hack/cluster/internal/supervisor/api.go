// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// questionTimeout bounds one question to the API server.
const questionTimeout = 3 * time.Second

// api asks the API server whether things are as they should be.
type api struct {
	client kubernetes.Interface
	began  time.Time
}

func newAPI(files layout) (*api, error) {
	config, err := clientcmd.BuildConfigFromFlags("", files.kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("reading the administrator's client configuration: %w", err)
	}
	config.Timeout = questionTimeout
	config.UserAgent = "kubecluster"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the administrator's client: %w", err)
	}
	return &api{client: client, began: time.Now()}, nil
}

// serves says nil when the API server is ready for everything.
func (a *api) serves(ctx context.Context) error {
	code := 0
	err := a.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&code).Error()
	if code != 0 && code != http.StatusOK {
		return fmt.Errorf("it answers with status %d", code)
	}
	return err
}

// showPoliciesToNodes lets nodes read what they need to enforce network policies.
// Other clusters give that to a program beside the kubelet; here it is in the node.
func (a *api) showPoliciesToNodes(ctx context.Context) error {
	const name = "kubecluster:network-policies"
	read := []string{"get", "list", "watch"}
	_, err := a.client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "namespaces"}, Verbs: read},
			{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: read},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err = a.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:nodes"}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// nodeIsReady says nil when the node is ready and has said so in this run: what
// an earlier run has left in etcd does not count.
func (a *api) nodeIsReady(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		node, err := a.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		lease, err := a.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.RenewTime == nil || lease.Spec.RenewTime.Before(&metav1.MicroTime{Time: a.began}) {
			return errors.New("it has not renewed its lease yet")
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && settled(node.Spec.Taints) {
				return nil
			}
		}
		return errors.New("it is not ready yet")
	}
}

// settled says whether the taints of a node that is not ready are gone: that
// takes the control plane a moment longer than the node.
func settled(taints []corev1.Taint) bool {
	return !slices.ContainsFunc(taints, func(taint corev1.Taint) bool {
		return taint.Key == corev1.TaintNodeNotReady || taint.Key == corev1.TaintNodeUnreachable
	})
}

// hasDefaultServiceAccount says nil when pods can be made in the namespace
// "default".
func (a *api) hasDefaultServiceAccount(ctx context.Context) error {
	_, err := a.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err
}
