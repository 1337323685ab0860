// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// observeBundles reads the CA bundles that the specification refers to, from the
// API server: a cache of all ConfigMaps would be large, and a change is noticed
// by the watch on metadata.
func (r *Reconciler) observeBundles(ctx context.Context, o *observation) error {
	o.bundles.Forests = map[int]string{}
	if custom := o.connector.Spec.Service.Custom; custom != nil && custom.CABundleRef != nil {
		pem, err := r.bundle(ctx, o, "spec.service.custom.caBundleRef", custom.CABundleRef)
		if err != nil {
			return err
		}
		o.bundles.Service = pem
	}
	if o.connector.Spec.Validation.LDAP == nil {
		return nil
	}
	for i, forest := range o.connector.Spec.Validation.LDAP.Forests {
		if forest.CABundleRef == nil {
			continue
		}
		pem, err := r.bundle(ctx, o, fmt.Sprintf("spec.validation.ldap.forests[%d].caBundleRef", i), forest.CABundleRef)
		if err != nil {
			return err
		}
		o.bundles.Forests[i] = pem
	}
	return nil
}

// bundle reads one CA bundle. What is wrong with it becomes the observation's
// bundleProblem, unless there is one already.
func (r *Reconciler) bundle(ctx context.Context, o *observation, field string, ref *v1alpha1.ConfigMapKeyReference) (string, error) {
	configMap, err := getOrNil(ctx, r.live, o.connector.Namespace, ref.Name, &corev1.ConfigMap{})
	if err != nil {
		return "", err
	}
	var problem string
	switch {
	case configMap == nil:
		problem = fmt.Sprintf("ConfigMap %s, which %s names, does not exist: create it", ref.Name, field)
	case configMap.Data[ref.Key] == "":
		problem = fmt.Sprintf("ConfigMap %s has no key %s, which %s names: add it or correct the reference", ref.Name, ref.Key, field)
	case !x509.NewCertPool().AppendCertsFromPEM([]byte(configMap.Data[ref.Key])):
		problem = fmt.Sprintf("key %s of ConfigMap %s, which %s names, holds no PEM certificate: put the authority's certificates there", ref.Key, ref.Name, field)
	default:
		return configMap.Data[ref.Key], nil
	}
	if o.bundleProblem == nil {
		o.bundleProblem = &blockedError{reason: v1alpha1.ReasonCABundleNotFound, message: problem}
	}
	return "", nil
}

// observeToken reads the registration token if a connector has to be registered,
// and judges it. It is read from the API server and kept nowhere.
func (r *Reconciler) observeToken(ctx context.Context, o *observation) error {
	ref := o.connector.Spec.Registration.TokenSecretRef
	if !o.needsToken() || ref == nil {
		return nil
	}
	secret, err := getOrNil(ctx, r.live, o.connector.Namespace, ref.Name, &corev1.Secret{})
	if err != nil {
		return err
	}
	if secret == nil {
		o.tokenProblem = &blockedError{
			reason:  v1alpha1.ReasonTokenSecretNotFound,
			message: fmt.Sprintf("Secret %s, which spec.registration.tokenSecretRef names, does not exist: create it with a registration token under the key %s", ref.Name, ref.Key),
		}
		return nil
	}
	o.token = strings.TrimSpace(string(secret.Data[ref.Key]))
	if o.token == "" {
		o.tokenProblem = &blockedError{
			reason:  v1alpha1.ReasonTokenKeyMissing,
			message: fmt.Sprintf("Secret %s has no registration token under the key %s, which spec.registration.tokenSecretRef names: add it or correct the reference", ref.Name, ref.Key),
		}
		return nil
	}
	if err := enrolment.CheckToken(o.token, o.connector.Spec.TenantID, o.now); err != nil {
		reason, message := describe(err, v1alpha1.ReasonTokenMalformed)
		o.tokenProblem = &blockedError{reason: reason, message: fmt.Sprintf("%s; get a new one and put it into the Secret (Secret %s, key %s)", message, ref.Name, ref.Key)}
	}
	o.inputs = inputs(o)
	return nil
}

// needsToken reports whether a connector has neither an identity nor a Secret
// that stands in the way of one.
func (o *observation) needsToken() bool {
	for i := range o.instances {
		if o.instances[i].toRegister() {
			return true
		}
	}
	return false
}

// toRegister reports whether the connector has to be registered with the service.
func (i *instance) toRegister() bool {
	return i.identity == nil && (i.identityProblem == nil || i.expired != nil) && i.unsaved == nil
}

// inputs identifies what a registration would be made with, as a hash, since the
// token is among it. Of a sign-in it is only whether there is one: its token is
// another each time.
func inputs(o *observation) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d\n%s\n%t\n%s", o.connector.Generation, o.token, o.signIn.kept.refresh != "", o.bundles.Service)
	return hex.EncodeToString(h.Sum(nil))
}
