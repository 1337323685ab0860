// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// tokens asks the API server for tokens that die with their pod.
type tokens struct {
	client corev1client.ServiceAccountsGetter
}

// Token implements pod.Tokens.
func (t tokens) Token(ctx context.Context, owner *corev1.Pod, projection *corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: projection.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: owner.Name, UID: owner.UID},
	}}
	if projection.Audience != "" {
		request.Spec.Audiences = []string{projection.Audience}
	}
	name := owner.Spec.ServiceAccountName
	answer, err := t.client.ServiceAccounts(owner.Namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("asking for a token of the service account %s: %w", name, err)
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp.Time, nil
}
